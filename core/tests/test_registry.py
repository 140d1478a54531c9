from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import attrs
import pytest

from brokersync.catalogue import catalogue
from brokersync.config import BrokerSettings, Settings
from brokersync.discovery import Discovered, Problem
from brokersync.errors import BrokerConfigError, BrokerNotInstalledError, BrokerPluginError
from brokersync.events import Event, PluginRefused
from brokersync.manifest import Manifest, parse_manifests
from brokersync.plugin import BrokerCredentials, ProviderSpec, Secret, hookimpl
from brokersync.registry import ProviderRegistry, ProviderState

from .conftest import MANIFEST

HEAD = """
import attrs
from brokersync.plugin import BrokerCredentials, ProviderSpec, Secret, hookimpl
def spec(cls): return ProviderSpec(credentials=cls, create=lambda context: None)
"""


def manifest_of(key: str = "private", **changes: Any) -> Manifest:
    text = f"""
key = "{key}"
display_name = "Private"
contract = 1
environments = ["live"]
auth = ["password"]
licence = "MIT"
docs = "https://broker.example"
support = "https://broker.example/help"
[[user_fields]]
name = "username"
label = "User"
help = "Your name."
[[user_fields]]
name = "password"
label = "Password"
help = "Sealed."
secret = true
[[sources]]
name = "history"
precedence = 1
"""
    return attrs.evolve(parse_manifests(text, "test")[0], **changes)


@attrs.frozen(kw_only=True)
class Credentials(BrokerCredentials):
    username: str
    password: Secret


class Plugin:
    """A plugin object that answers with whatever it is given."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    @hookimpl
    def brokersync_provider(self, broker: str) -> Any:
        return self.answer


SPEC = ProviderSpec(credentials=Credentials, create=lambda context: pytest.fail("nobody asked for a provider"))


class Heard(list[Event]):
    def __call__(self, event: Event) -> None:
        self.append(event)


def row(registry: ProviderRegistry, key: str, distribution: str | None = None) -> Any:
    rows = [row for row in registry.listing() if row.key == key and distribution in (None, row.distribution)]
    assert len(rows) == 1, rows
    return rows[0]


def test_an_installed_broker_is_loaded_with_its_manifest_and_spec(site: Any) -> None:
    site.plugin("alpha")
    registry = ProviderRegistry.installed()
    assert "alpha" in registry.keys()  # noqa: SIM118  keys() is the promise, a registry is no mapping
    loaded = registry.load("alpha")
    assert loaded.manifest is registry.manifest("alpha")
    assert isinstance(loaded.spec, ProviderSpec)
    assert (loaded.distribution, loaded.version) == ("brokersync-alpha", "1.0")
    assert registry.load("alpha") is loaded


def test_only_the_asked_for_plugin_is_imported(site: Any) -> None:
    wanted, other = site.plugin("alpha"), site.plugin("beta")
    registry = ProviderRegistry.installed()
    registry.listing()
    registry.manifest("alpha")
    assert wanted not in sys.modules
    registry.load("alpha")
    assert wanted in sys.modules
    assert other not in sys.modules


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import a_module_that_nobody_has", "ModuleNotFoundError: No module named 'a_module_that_nobody_has'"),
        ("def (", "SyntaxError"),
        ("class Odd(BaseException): pass\nraise Odd('a\\nb')", "Odd: a b"),
        ("x = 1", "has no brokersync_provider marked with @hookimpl"),
        ("def brokersync_provider(broker): return None", "marked with @hookimpl"),
        (HEAD + "@hookimpl\ndef brokersync_provider(broker): return None", "answers nothing for this key"),
        (HEAD + "@hookimpl\ndef brokersync_provider(broker): return {}", "answers a dict for this key"),
        (HEAD + "@hookimpl\nasync def brokersync_provider(broker): return None", "hooks are plain functions"),
        (HEAD + "@hookimpl\ndef brokersync_provider(broker): return ProviderSpec()", "needs create or statements"),
        (HEAD + "@hookimpl\ndef brokersync_provider(broker): raise SystemExit('gone')", "SystemExit: gone"),
        (HEAD + "@hookimpl\ndef brokersync_provider(key): return None", "PluginValidationError"),
        (HEAD + "@hookimpl\ndef brokersync_provdier(broker): return None", "brokersync_provdier"),
        (HEAD + "class C: pass\n@hookimpl\ndef brokersync_provider(broker): return spec(C)", "no attrs class"),
        (
            HEAD + "class C(BrokerCredentials): pass\n@hookimpl\ndef brokersync_provider(broker): return spec(C)",
            "differ in: password, username",
        ),
        (
            HEAD + "@attrs.frozen\nclass C(BrokerCredentials):\n  username: str\n  password: str\n"
            "@hookimpl\ndef brokersync_provider(broker): return spec(C)",
            "the field password must be secret",
        ),
        (
            HEAD + "@attrs.frozen\nclass C(BrokerCredentials):\n  username: Secret\n  password: Secret\n"
            "@hookimpl\ndef brokersync_provider(broker): return spec(C)",
            "the field username must be secret",
        ),
        (
            HEAD + "@attrs.frozen\nclass C(BrokerCredentials):\n  username: 'Unknown'\n  password: Secret\n"
            "@hookimpl\ndef brokersync_provider(broker): return spec(C)",
            "reading its credentials class failed with NameError",
        ),
        (
            HEAD + "@hookimpl\ndef brokersync_provider(broker): return ProviderSpec(statements=lambda key: None)",
            "its spec no credentials class",
        ),
    ],
)
def test_a_broken_plugin_is_refused_with_its_reason_and_the_others_work(site: Any, code: str, reason: str) -> None:
    site.plugin("bad", package="brokersync_bad_code", code=code)
    site.plugin("good")
    heard = Heard()
    registry = ProviderRegistry.installed(events=heard)
    with pytest.raises(BrokerPluginError) as caught:
        registry.load("bad")
    assert reason in caught.value.message
    assert "brokersync-bad 1.0" in caught.value.message
    assert caught.value.provider == "bad"
    assert registry.load("good").manifest.key == "good"
    assert row(registry, "bad").state is ProviderState.REFUSED
    assert row(registry, "bad").reason == caught.value.message
    assert row(registry, "good").state is ProviderState.AVAILABLE
    assert [event for event in heard if event.provider == "bad"] == [
        PluginRefused(provider="bad", distribution="brokersync-bad", reason=caught.value.message)
    ]


def test_a_refused_plugin_is_not_tried_again(site: Any) -> None:
    tries = site.folder.parent / "tries"
    site.plugin("bad", code=f"with open({str(tries)!r}, 'a') as f: f.write('x')\nraise ValueError")
    registry = ProviderRegistry.installed()
    for _ in range(2):
        with pytest.raises(BrokerPluginError, match="ValueError"):
            registry.load("bad")
    assert tries.read_text() == "x"


def test_an_interrupt_during_an_import_passes_and_is_not_remembered(site: Any) -> None:
    pressed = site.folder.parent / "pressed"
    pressed.touch()
    site.plugin(
        "alpha",
        code=f"import pathlib\np = pathlib.Path({str(pressed)!r})\nif p.exists(): p.unlink(); raise KeyboardInterrupt\n"
        + HEAD
        + "@attrs.frozen\nclass C(BrokerCredentials):\n  username: str\n  password: Secret\n"
        "@hookimpl\ndef brokersync_provider(broker): return spec(C)",
    )
    registry = ProviderRegistry.installed()
    with pytest.raises(KeyboardInterrupt):
        registry.load("alpha")
    assert registry.load("alpha").manifest.key == "alpha"


@pytest.mark.parametrize(("contract", "says"), [(7, "newer than this brokersync's 1"), (-1, "older")])
def test_a_plugin_of_another_contract_is_refused_before_its_code_runs(site: Any, contract: int, says: str) -> None:
    package = site.plugin(
        "alpha",
        code="raise RuntimeError('ran')",
        manifest=_site_manifest().replace("contract = 1", f"contract = {contract}"),
    )
    registry = ProviderRegistry.installed()
    for ask in (registry.load, registry.manifest):
        with pytest.raises(BrokerPluginError, match=says) as caught:
            ask("alpha")
        assert caught.value.remedy.startswith("Update")
    assert package not in sys.modules


def _site_manifest() -> str:
    return (
        'key = "{key}"\ndisplay_name = "B"\ncontract = 1\nenvironments = ["live"]\nauth = ["none"]\nlicence = "MIT"\n'
        'docs = "https://broker.example"\nsupport = "https://broker.example"\n[[sources]]\nname = "h"\nprecedence = 1\n'
    )


def test_an_unreadable_manifest_refuses_its_plugin_alone(site: Any) -> None:
    site.plugin("bad", manifest="key = ")
    site.plugin("good")
    registry = ProviderRegistry.installed()
    with pytest.raises(BrokerPluginError, match="not TOML"):
        registry.manifest("bad")
    with pytest.raises(BrokerPluginError, match="not TOML"):
        registry.load("bad")
    assert registry.load("good")


def test_a_manifest_that_does_not_describe_its_key_is_refused(site: Any) -> None:
    site.plugin("alpha", manifest=_site_manifest().replace("{key}", "other"))
    with pytest.raises(BrokerPluginError, match="does not describe the key"):
        ProviderRegistry.installed().load("alpha")


def test_each_member_of_a_family_is_asked_for_by_its_own_key(site: Any) -> None:
    shared = _site_manifest().replace('key = "{key}"\n', "")
    site.package(
        "family_of_two",
        code=HEAD + "@hookimpl\ndef brokersync_provider(broker):\n"
        "  return ProviderSpec(statements=lambda key: None) if broker == 'fam-a' else None",
        manifest=shared + '[[brokers]]\nkey = "fam-a"\n[[brokers]]\nkey = "fam-b"\n',
    )
    site.metadata(
        "family",
        {
            "METADATA": "Metadata-Version: 2.1\nName: family\nVersion: 1\n",
            "entry_points.txt": "[brokersync.providers]\nfam-a = family_of_two\nfam-b = family_of_two\n",
        },
    )
    registry = ProviderRegistry.installed()
    assert registry.load("fam-a").manifest.key == "fam-a"
    with pytest.raises(BrokerPluginError, match="answers nothing for this key"):
        registry.load("fam-b")


def test_a_label_is_the_broker_called_by_another_name(site: Any) -> None:
    labels = '[[labels]]\nkey = "gamma"\ndisplay_name = "Gamma Trading"\n'
    site.plugin("alpha", manifest=MANIFEST + labels)
    other = site.plugin("beta")
    registry = ProviderRegistry.installed()
    assert (registry.manifest("gamma").key, registry.manifest("gamma").display_name) == ("alpha", "Gamma Trading")
    loaded = registry.load("gamma")
    assert (loaded.manifest.key, loaded.manifest.display_name) == ("alpha", "Gamma Trading")
    assert loaded.spec is registry.load("alpha").spec
    assert registry.manifest("alpha").display_name != "Gamma Trading"
    assert "gamma" not in {listed.key for listed in registry.listing()}
    assert other not in sys.modules


def test_a_label_hides_no_broker_that_is_offered_under_its_key(site: Any) -> None:
    labels = '[[labels]]\nkey = "beta"\ndisplay_name = "Beta of Alpha"\n'
    site.plugin("alpha", manifest=MANIFEST + labels)
    site.plugin("beta")
    assert ProviderRegistry.installed().load("beta").manifest.key == "beta"


def test_a_label_of_a_broker_that_is_not_installed_says_how_to_get_it() -> None:
    entry = next(entry for entry in catalogue().values() if entry.labels)
    with pytest.raises(BrokerNotInstalledError) as caught:
        ProviderRegistry().load(entry.labels[0])
    assert f"pip install {entry.distribution}" in caught.value.remedy


def test_two_distributions_with_one_key_are_both_refused_and_both_named(site: Any) -> None:
    one = site.plugin("alpha", distribution="brokersync-one")
    two = site.plugin("alpha", distribution="brokersync-two")
    heard = Heard()
    registry = ProviderRegistry.installed(events=heard)
    for ask in (registry.load, registry.manifest):
        with pytest.raises(BrokerPluginError) as caught:
            ask("alpha")
        assert "brokersync-one 1.0 and brokersync-two 1.0" in caught.value.message
        assert "[brokers.alpha] distribution =" in caught.value.remedy
    assert {one, two}.isdisjoint(sys.modules)
    assert row(registry, "alpha", "brokersync-one").state is ProviderState.REFUSED
    assert row(registry, "alpha", "brokersync-two").state is ProviderState.REFUSED
    assert {
        event.distribution for event in heard if isinstance(event, PluginRefused) and event.provider == "alpha"
    } == {
        "brokersync-one",
        "brokersync-two",
    }


def test_a_pin_settles_which_of_two_distributions_counts(site: Any) -> None:
    other, wanted = (
        site.plugin("alpha", distribution="brokersync-one"),
        site.plugin("alpha", distribution="brokersync-two"),
    )
    registry = ProviderRegistry.installed(Settings(brokers={"alpha": BrokerSettings(distribution="Brokersync_Two")}))
    assert registry.load("alpha").distribution == "brokersync-two"
    assert wanted in sys.modules
    assert other not in sys.modules
    assert row(registry, "alpha", "brokersync-one").state is ProviderState.REFUSED
    assert row(registry, "alpha", "brokersync-two").state is ProviderState.AVAILABLE


def test_a_pin_to_a_distribution_that_does_not_offer_the_broker_names_those_that_do(site: Any) -> None:
    site.plugin("alpha", distribution="brokersync-one")
    registry = ProviderRegistry.installed(Settings(brokers={"alpha": BrokerSettings(distribution="elsewhere")}))
    with pytest.raises(BrokerConfigError, match="pinned to the distribution 'elsewhere'") as caught:
        registry.load("alpha")
    assert "brokersync-one 1.0" in caught.value.remedy


def test_one_distribution_offering_two_modules_for_a_key_is_refused(site: Any) -> None:
    site.metadata(
        "twice",
        {
            "METADATA": "Metadata-Version: 2.1\nName: twice\nVersion: 1\n",
            "entry_points.txt": "[brokersync.providers]\nalpha = one_module\nalpha = other_module\n",
        },
    )
    with pytest.raises(BrokerPluginError, match="offered more than once, by twice 1;"):
        ProviderRegistry.installed().load("alpha")


def test_a_broker_of_this_process_passes_the_same_hook_and_the_same_checks() -> None:
    registry = ProviderRegistry()
    loaded = registry.register(Plugin(SPEC), manifest_of())
    assert registry.load("private") is loaded
    assert registry.manifest("private") == manifest_of()
    assert registry.keys() == ("private",)
    assert row(registry, "private").state is ProviderState.AVAILABLE
    with pytest.raises(BrokerPluginError, match="answers nothing"):
        registry.register(Plugin(None), manifest_of("other"))
    with pytest.raises(BrokerPluginError, match="newer"):
        registry.register(Plugin(SPEC), manifest_of("other", contract=9))
    assert registry.keys() == ("private",)


def test_a_module_can_be_registered() -> None:
    module = ModuleType("private_broker")
    module.brokersync_provider = Plugin(SPEC).brokersync_provider  # type: ignore[attr-defined]  # modules take any name
    assert ProviderRegistry().register(module, manifest_of()).spec is SPEC


def test_a_key_is_registered_once(site: Any) -> None:
    site.plugin("alpha")
    registry = ProviderRegistry.installed()
    with pytest.raises(BrokerPluginError, match="offered already: brokersync-alpha"):
        registry.register(Plugin(SPEC), manifest_of("alpha"))
    registry.register(Plugin(SPEC), manifest_of())
    with pytest.raises(BrokerPluginError, match="offered already: registered in process"):
        registry.register(Plugin(SPEC), manifest_of())


def test_two_registries_share_nothing() -> None:
    ProviderRegistry().register(Plugin(SPEC), manifest_of())
    assert ProviderRegistry().keys() == ()


def test_an_optional_field_needs_a_default_somewhere() -> None:
    optional = tuple(attrs.evolve(field, required=field.secret) for field in manifest_of().user_fields)
    with pytest.raises(BrokerPluginError, match="the optional field username has no default"):
        ProviderRegistry().register(Plugin(SPEC), manifest_of(user_fields=optional))
    given = tuple(attrs.evolve(field, default=None if field.secret else "me") for field in optional)
    assert ProviderRegistry().register(Plugin(SPEC), manifest_of(user_fields=given))


def test_optional_secrets_and_defaults_of_the_class_are_understood() -> None:
    @attrs.frozen(kw_only=True)
    class Optional(BrokerCredentials):
        username: str = "me"
        password: Secret | None = None

    optional = tuple(attrs.evolve(field, required=False) for field in manifest_of().user_fields)
    spec = ProviderSpec(credentials=Optional, create=SPEC.create)
    assert ProviderRegistry().register(Plugin(spec), manifest_of(user_fields=optional))


def test_an_error_about_a_plugin_says_where_to_report_it() -> None:
    with pytest.raises(BrokerPluginError) as caught:
        ProviderRegistry().register(Plugin(None), manifest_of())
    assert caught.value.report_to == "https://broker.example/help"


def test_a_known_broker_that_is_not_installed_names_the_distribution_to_get() -> None:
    key, entry = next(iter(catalogue().items()))
    with pytest.raises(BrokerNotInstalledError) as caught:
        ProviderRegistry().load(key)
    assert f"pip install {entry.distribution}" in caught.value.remedy
    assert caught.value.provider == key


@pytest.mark.parametrize("asked", ["Alpha", "alhpa", " alpha"])
def test_an_almost_right_key_is_answered_with_the_right_one(site: Any, asked: str) -> None:
    site.plugin("alpha")
    registry = ProviderRegistry.installed()
    with pytest.raises(BrokerNotInstalledError) as caught:
        registry.load(asked)
    assert "Did you mean 'alpha'" in caught.value.remedy
    assert "Installed: alpha" in caught.value.remedy


def test_an_almost_right_key_of_a_known_broker_says_how_to_get_it() -> None:
    key, entry = next(iter(catalogue().items()))
    with pytest.raises(BrokerNotInstalledError) as caught:
        ProviderRegistry().load(key.upper())
    assert f"Did you mean {key!r}? Get it with `pip install {entry.distribution}`." in caught.value.remedy


def test_with_nothing_installed_an_unknown_broker_says_how_to_get_one() -> None:
    with pytest.raises(BrokerNotInstalledError) as caught:
        ProviderRegistry().load("zzz")
    assert "No broker is installed yet" in caught.value.remedy
    assert all(f"pip install {entry.distribution}" in caught.value.remedy for entry in catalogue().values())


def test_a_long_list_of_installed_brokers_is_cut_short() -> None:
    registry = ProviderRegistry()
    for number in range(25):
        registry.register(Plugin(SPEC), manifest_of(f"broker-{number}"))
    with pytest.raises(BrokerNotInstalledError, match="and 5 more"):
        registry.load("zzz")


def test_a_key_whose_entry_point_is_broken_says_so_instead_of_not_installed() -> None:
    heard = Heard()
    broken = Problem("brokersync-x", "its entry point must name the plugin's module, not 'a:b'", "x")
    registry = ProviderRegistry(Discovered((), (broken,)), events=heard)
    with pytest.raises(BrokerPluginError, match="must name the plugin's module"):
        registry.load("x")
    assert row(registry, "x").state is ProviderState.REFUSED
    assert [type(event) for event in heard] == [PluginRefused]


def test_an_unreadable_distribution_is_mentioned_when_a_broker_is_missing() -> None:
    registry = ProviderRegistry(Discovered((), (Problem("brokersync-odd", "its entry points are not UTF-8"),)))
    with pytest.raises(BrokerNotInstalledError, match="Installed but unreadable: brokersync-odd"):
        registry.load("odd")
