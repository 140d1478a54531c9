"""A plugin's code: imported, asked through its hook, and checked against its manifest."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import MappingProxyType
from typing import Final

import attrs

from brokersync.discovery import Offer, refusal
from brokersync.errors import BrokerPluginError
from brokersync.fields import credentials_fault
from brokersync.findings import Finding
from brokersync.hookspecs import new_manager
from brokersync.manifest import Manifest
from brokersync.provider import ProviderSpec
from brokersync.redaction import Redactor

# a mask for every "a" of a text hides nothing and tells the secret
_SHORTEST: Final = 4


@attrs.frozen(kw_only=True)
class LoadedProvider:
    """A plugin's manifest and code for one broker, checked against each other."""

    manifest: Manifest
    spec: ProviderSpec
    distribution: str
    version: str
    plugin: object = attrs.field(default=None, repr=False, eq=False)


@contextmanager
def _border(offer: Offer, doing: str) -> Iterator[None]:
    """Plugin load: whatever a plugin's own code raises, even SystemExit, leaves out this plugin and nothing else."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        told = " ".join(str(error).split())[:300]
        raise refusal(offer, f"{doing} failed with {type(error).__name__}" + (f": {told}" if told else "")) from error


def imported(offer: Offer) -> object:
    """The plugin's module. Raises `BrokerPluginError`."""
    with _border(offer, f"importing {offer.module!r}"):
        return import_module(offer.module)


def checked_against(manifest: Manifest, plugin: object, offer: Offer) -> LoadedProvider:
    """What the plugin answers, if it fits its manifest. Raises `BrokerPluginError`."""
    try:
        spec = _asked(plugin, offer)
        with _border(offer, "reading its credentials class"):
            fault = credentials_fault(spec, manifest)
        if fault:
            raise refusal(offer, fault)
    except BrokerPluginError as error:
        error.report_to = manifest.support
        raise
    return LoadedProvider(
        manifest=manifest, spec=spec, distribution=offer.distribution, version=offer.version, plugin=plugin
    )


def findings_of(loaded: LoadedProvider, settings: Mapping[str, str]) -> Sequence[Finding]:
    """What the plugin itself finds wrong; see `brokersync_doctor`. Raises `BrokerPluginError`."""
    key = loaded.manifest.key
    offer = Offer(key, type(loaded.plugin).__name__, loaded.distribution, loaded.version)
    manager = new_manager()
    with _border(offer, "its hook brokersync_doctor"):
        manager.register(loaded.plugin)
        answers = manager.hook.brokersync_doctor(broker=key, settings=MappingProxyType(dict(settings)))
        found = [one for answer in answers for one in answer]
    if not all(isinstance(one, Finding) for one in found):
        raise refusal(offer, "its hook brokersync_doctor answers with something else than findings")
    secret = {field.name for field in loaded.manifest.operator_fields if field.secret}
    redact = Redactor(value for name, value in settings.items() if name in secret and len(value) >= _SHORTEST)
    return [attrs.evolve(one, message=_line(one.message, redact), remedy=_line(one.remedy, redact)) for one in found]


def _line(text: object, redact: Redactor) -> str:
    """What a plugin says, as one line that no terminal takes for a command, without the operator's secrets."""
    return redact("".join(sign for sign in " ".join(str(text).split()) if sign.isprintable()))


def _asked(plugin: object, offer: Offer) -> ProviderSpec:
    """The plugin's own answer to the hook, through a manager that knows no other plugin."""
    manager = new_manager()
    with _border(offer, "its hook"):
        manager.register(plugin, name=offer.module)
        manager.check_pending()
        answer = manager.hook.brokersync_provider(broker=offer.key)
    if isinstance(answer, ProviderSpec):
        return answer
    if inspect.iscoroutine(answer):
        answer.close()
        raise refusal(offer, "its hook brokersync_provider is async; hooks are plain functions")
    if not manager.hook.brokersync_provider.get_hookimpls():
        raise refusal(offer, f"{offer.module!r} has no brokersync_provider marked with @hookimpl")
    told = "nothing" if answer is None else f"a {type(answer).__name__}"
    raise refusal(offer, f"its hook brokersync_provider answers {told} for this key instead of a ProviderSpec")
