from __future__ import annotations

import gc
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import importlib_metadata
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brokersync import discovery, manifest
from brokersync.discovery import Discovered, Offer, Problem, discover, read_manifest, read_manifests, same_distribution
from brokersync.errors import BrokerPluginError

METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nText.\n"


def found(key: str) -> list[Offer]:
    return [offer for offer in discover().offers if offer.key == key]


def problems_of(distribution: str) -> list[Problem]:
    return [problem for problem in discover().problems if same_distribution(problem.distribution, distribution)]


def test_an_installed_plugin_is_listed_with_module_distribution_and_version(site: Any) -> None:
    site.plugin("alpha-broker", distribution="Some.Alpha-Plugin", package="some_alpha")
    assert found("alpha-broker") == [Offer("alpha-broker", "some_alpha", "Some.Alpha-Plugin", "1.0")]


def test_a_listing_imports_no_plugin(site: Any) -> None:
    package = site.plugin("alpha", code="raise RuntimeError('imported')")
    assert found("alpha")
    assert package not in sys.modules


def test_one_distribution_may_offer_many_keys(site: Any) -> None:
    site.metadata(
        "family",
        {
            "METADATA": METADATA.format(name="family", version="1.0"),
            "entry_points.txt": "[console_scripts]\nx = y:z\n"
            "[brokersync.providers]\n# two\nfam-a=family\n fam-b = family\n",
        },
    )
    assert [offer.key for offer in discover().offers if offer.distribution == "family"] == ["fam-a", "fam-b"]
    assert problems_of("family") == []


def test_a_distribution_on_the_path_twice_is_listed_once(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    site.plugin("alpha")
    monkeypatch.setattr(sys, "path", [str(site.folder), *sys.path, str(site.folder)])
    assert len(found("alpha")) == 1


def test_the_first_of_two_versions_on_the_path_counts(
    site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.plugin("alpha", distribution="brokersync-alpha")
    other = tmp_path / "other" / "brokersync_alpha-2.0.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text(METADATA.format(name="brokersync-alpha", version="2.0"))
    monkeypatch.syspath_prepend(tmp_path / "other")
    assert found("alpha") == []


def test_a_folder_left_behind_by_an_uninstall_does_not_shadow_the_distribution(site: Any) -> None:
    site.metadata("brokersync-alpha", {"entry_points.txt": "[brokersync.providers]\nold = gone\n"}, version="0.1")
    site.plugin("alpha")
    assert found("alpha")
    assert found("old") == []


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"entry_points.txt": "[brokersync.providers]\nbroken = broken\n"}, "name and version"),
        (
            {"METADATA": b"\xff\xfe\x00", "entry_points.txt": "[brokersync.providers]\nbroken = broken\n"},
            "name and version",
        ),
        ({"METADATA": METADATA, "entry_points.txt": "[brokersync.providers]\nBroken = broken\n"}, "lower-case"),
        ({"METADATA": METADATA, "entry_points.txt": b"[brokersync.providers]\nbr\xffken = broken\n"}, "lower-case"),
        (
            {"METADATA": METADATA, "entry_points.txt": "[brokersync.providers]\nbroken\n"},
            "must name the plugin's module",
        ),
        ({"METADATA": METADATA, "entry_points.txt": "[brokersync.providers]\nbroken = a:b\n"}, "not 'a:b'"),
    ],
)
def test_a_broken_distribution_is_a_problem_and_costs_only_itself(
    site: Any, files: dict[str, str | bytes], reason: str
) -> None:
    filled = {
        name: text.format(name="broken-one", version="1.0") if isinstance(text, str) else text
        for name, text in files.items()
    }
    site.metadata("broken-one", filled)
    site.plugin("alpha")
    assert found("alpha")
    assert found("broken") == []
    listed = [problem for problem in discover().problems if "broken" in problem.distribution]
    assert len(listed) == 1
    assert reason in listed[0].reason


def test_an_unreadable_distribution_that_is_no_plugin_is_nobodys_problem(site: Any) -> None:
    site.metadata("strange", {"entry_points.txt": b"[console_scripts]\n\xff = \xfe\n"})
    assert [problem for problem in discover().problems if "strange" in problem.distribution] == []


# importlib_metadata leaves the archive open until its objects are collected, which must not happen in another test
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_distributions_in_a_zip_file_are_found_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "plugins.zip"
    with zipfile.ZipFile(archive, "w") as pack:
        pack.writestr("zipped-3.1.dist-info/METADATA", METADATA.format(name="zipped", version="3.1"))
        pack.writestr("zipped-3.1.dist-info/entry_points.txt", "[brokersync.providers]\nzip-broker = zipped_plugin\n")
        pack.writestr("zipped_plugin/__init__.py", "raise RuntimeError('imported')")
        pack.writestr("zipped_plugin/provider.toml", _manifest("zip-broker"))
    monkeypatch.syspath_prepend(archive)
    (offer,) = found("zip-broker")
    assert offer == Offer("zip-broker", "zipped_plugin", "zipped", "3.1")
    assert read_manifest(offer).key == "zip-broker"
    assert "zipped_plugin" not in sys.modules
    gc.collect()


@pytest.mark.parametrize("name", ["evil\x1b[2J", "two words", "é", ""])
def test_a_name_that_could_be_no_distributions_is_not_shown(site: Any, name: str) -> None:
    files = {
        "METADATA": METADATA.format(name=name, version="1.0"),
        "entry_points.txt": "[brokersync.providers]\nodd = odd\n",
    }
    site.metadata("odd", files)
    assert found("odd") == []
    (problem,) = problems_of("odd-1.0.dist-info")
    assert "does not tell its name and version" in problem.reason
    assert problem.distribution == "odd-1.0.dist-info"


@pytest.mark.parametrize("name", ["entry_points.txt", "METADATA"])
def test_metadata_without_end_is_read_to_a_bound(site: Any, name: str) -> None:
    files: dict[str, str | bytes] = {
        "METADATA": METADATA.format(name="odd", version="1.0"),
        "entry_points.txt": "[brokersync.providers]\nodd = odd\n",
    }
    info = site.metadata("odd", files)
    os.truncate(info / name, 1024**3)
    if name == "METADATA":
        assert [offer.key for offer in found("odd")] == ["odd"]
    else:
        assert "longer than" in problems_of("odd")[0].reason


class _Finder:
    """A finder of somebody's own, as a frozen application may have."""

    def __init__(self, dist: importlib_metadata.Distribution) -> None:
        self._dist = dist

    def find_spec(self, *_: object) -> None:
        return None

    def find_distributions(self, context: object = None) -> list[importlib_metadata.Distribution]:
        return [self._dist]


class _Distribution(importlib_metadata.Distribution):
    def __init__(self, files: dict[str, str | Exception]) -> None:
        self._files = files

    def read_text(self, filename: str) -> str | None:
        content = self._files.get(filename)
        if isinstance(content, Exception):
            raise content
        return content

    def locate_file(self, path: Any) -> Any:
        raise NotImplementedError


def test_distributions_of_a_foreign_finder_are_found(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    site.plugin("alpha")
    dist = _Distribution(
        {
            "METADATA": METADATA.format(name="frozen", version="1"),
            "entry_points.txt": "[brokersync.providers]\nfrozen-broker = frozen_plugin\n",
        }
    )
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, _Finder(dist)])
    assert found("frozen-broker") == [Offer("frozen-broker", "frozen_plugin", "frozen", "1")]
    assert found("alpha")


def test_an_unreadable_distribution_of_a_foreign_finder_costs_only_itself(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.plugin("alpha")
    unreadable = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    dist = _Distribution({"METADATA": METADATA.format(name="frozen", version="1"), "entry_points.txt": unreadable})
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, _Finder(dist)])
    assert found("alpha")
    assert any("not UTF-8" in problem.reason for problem in discover().problems)


_NAMES = st.sampled_from(["brokersync-a", "brokersync_a", "Brokersync.A", "plain", "other-plugin"])
_INSTALLED = st.lists(
    st.tuples(st.integers(0, 2), _NAMES, st.sampled_from(["1.0", "2.0"]), st.booleans(), st.booleans()), max_size=8
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(installed=_INSTALLED)
def test_the_listing_is_that_of_importlib_metadata(
    installed: list[tuple[int, str, str, bool, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("path")
    folders = [root / str(number) for number in range(3)]
    for folder in folders:
        folder.mkdir()
    taken: set[tuple[int, str]] = set()
    for number, name, version, offers, complete in installed:
        normalised = name.lower().replace("_", "-").replace(".", "-")
        if (number, normalised) in taken:
            continue  # which of two in one folder counts is left to the file system's order
        taken.add((number, normalised))
        info = folders[number] / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        if complete:
            (info / "METADATA").write_text(METADATA.format(name=name, version=version))
        if offers:
            (info / "entry_points.txt").write_text(f"[brokersync.providers]\n{normalised}-x{number} = module\n")
    with pytest.MonkeyPatch.context() as patch:
        for folder in folders:
            patch.syspath_prepend(folder)
        theirs = importlib_metadata.entry_points(group="brokersync.providers")
        ours = discover()
    expected = {(entry.name, entry.value) for entry in theirs}
    listed = {(offer.key, offer.module) for offer in ours.offers}
    without_facts = {problem.key for problem in ours.problems if "name and version" in problem.reason}
    assert listed <= expected
    assert {key for key, _ in expected - listed} == without_facts


def _manifest(key: str) -> str:
    return f"""
key = "{key}"
display_name = "B"
contract = 1
environments = ["live"]
auth = ["none"]
licence = "MIT"
docs = "https://broker.example"
support = "https://broker.example"
[[sources]]
name = "history"
precedence = 1
"""


def test_a_manifest_is_read_without_importing_the_plugin(site: Any) -> None:
    package = site.plugin("alpha", code="raise RuntimeError('imported')")
    (offer,) = found("alpha")
    assert read_manifest(offer).display_name == "A made-up broker"
    assert package not in sys.modules


def test_a_manifest_is_read_from_the_top_level_package_of_a_deep_module(site: Any) -> None:
    site.package("deep_plugin", code="raise RuntimeError('imported')", manifest=_manifest("deep"))
    offer = Offer("deep", "deep_plugin.brokers.one", "deep", "1.0")
    assert read_manifest(offer).key == "deep"
    assert "deep_plugin" not in sys.modules


def test_a_manifest_of_a_package_without_init_is_read(site: Any) -> None:
    folder = site.package("bare_plugin", manifest=_manifest("bare"))
    (folder / "__init__.py").unlink()
    assert read_manifest(Offer("bare", "bare_plugin", "bare", "1.0")).key == "bare"


def test_a_family_describes_many_brokers_in_one_file(site: Any) -> None:
    head, sources = _manifest("x").split("[[sources]]")
    shared = "".join(line for line in head.splitlines(keepends=True) if not line.startswith(("key", "display_name")))
    text = shared + "[[sources]]" + sources
    text += '[[brokers]]\nkey = "fam-a"\ndisplay_name = "A"\n[[brokers]]\nkey = "fam-b"\ndisplay_name = "B"\n'
    site.package("family_plugin", manifest=text)
    offer = Offer("fam-b", "family_plugin", "family", "1.0")
    assert [manifest.key for manifest in read_manifests(offer)] == ["fam-a", "fam-b"]
    assert read_manifest(offer).display_name == "B"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "has no provider.toml"),
        ("key = ", "not TOML"),
        ("key = 'x'", "'display_name' is missing"),
        (_manifest("other"), "does not describe the key"),
        (_manifest("x").replace("contract = 1", "contract = 9\nnovelty = 1"), "newer than this brokersync's 1"),
        (_manifest("x") + "\nnovelty = 1", "novelty"),
    ],
)
def test_an_unusable_manifest_names_distribution_and_reason(site: Any, text: str | None, reason: str) -> None:
    site.package("faulty_plugin", manifest=text)
    with pytest.raises(BrokerPluginError) as caught:
        read_manifest(Offer("x", "faulty_plugin", "brokersync-faulty", "1.2"))
    assert "brokersync-faulty 1.2" in str(caught.value)
    assert reason in str(caught.value)
    assert caught.value.provider == "x"


def test_a_manifest_that_is_not_text_names_the_distribution(site: Any) -> None:
    folder = site.package("faulty_plugin")
    (folder / "provider.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BrokerPluginError, match=r"brokersync-faulty .* is not UTF-8"):
        read_manifest(Offer("x", "faulty_plugin", "brokersync-faulty", "1.2"))


def test_a_missing_package_and_a_single_module_are_refused(site: Any) -> None:
    (site.folder / "single_module.py").write_text("")
    with pytest.raises(BrokerPluginError, match="'nowhere_at_all' is not installed"):
        read_manifest(Offer("x", "nowhere_at_all", "d", "1"))
    with pytest.raises(BrokerPluginError, match="single module"):
        read_manifest(Offer("x", "single_module", "d", "1"))


def test_a_package_that_can_not_be_looked_up_is_refused(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "specless_plugin", type(sys)("specless_plugin"))
    with pytest.raises(BrokerPluginError, match="can not be looked up: ValueError"):
        read_manifest(Offer("x", "specless_plugin", "d", "1"))


def test_an_empty_path_entry_means_the_working_directory(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    site.plugin("alpha")
    monkeypatch.chdir(site.folder)
    monkeypatch.setattr(sys, "path", ["", *(entry for entry in sys.path if entry != str(site.folder))])
    assert found("alpha")


def test_what_is_no_text_on_the_import_path_is_ignored(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    site.plugin("alpha")
    monkeypatch.setattr(sys, "path", [None, site.folder / "elsewhere", *sys.path])
    assert found("alpha")


def test_a_key_is_the_same_thing_in_metadata_and_manifest() -> None:
    assert discovery._KEY.pattern == manifest._KEY.pattern


def test_nothing_installed_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/no/such/folder"])
    assert discover() == Discovered((), ())
