"""Installed plugins, each loaded alone, checked, and refused alone; only what is asked for is ever imported."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from importlib import import_module
from typing import Final, Self, get_args, get_type_hints

import attrs

from brokersync.catalogue import not_installed
from brokersync.config import Settings
from brokersync.discovery import Discovered, Offer, contract_fault, discover, read_manifests, refusal, same_distribution
from brokersync.errors import BrokerConfigError, BrokerPluginError
from brokersync.events import EventSink, PluginRefused, no_events
from brokersync.hookspecs import new_manager
from brokersync.manifest import Manifest
from brokersync.provider import ProviderSpec
from brokersync.secret import Secret
from brokersync.types import BrokerCredentials

_DEFAULTS: Final = Settings()
_NOTHING: Final = Discovered((), ())
_IN_PROCESS: Final = "registered in process"


class ProviderState(StrEnum):
    """`available` means that nothing speaks against it so far; the code itself is checked when it is loaded."""

    AVAILABLE = "available"
    REFUSED = "refused"


@attrs.frozen(kw_only=True)
class ProviderListing:
    """A broker key of one installed distribution, and whether it can be used.

    `key` is empty for a distribution that can not be read at all.
    """

    key: str
    distribution: str
    version: str
    state: ProviderState
    reason: str = ""


@attrs.frozen(kw_only=True)
class LoadedProvider:
    """A plugin's manifest and code for one broker, checked against each other."""

    manifest: Manifest
    spec: ProviderSpec
    distribution: str
    version: str


class ProviderRegistry:
    """The brokers that can be used: those of installed distributions, and those registered in this process.

    A broken, incompatible or ambiguous plugin is refused when it is asked for by name, with its reason, and hides no
    other. What was loaded or refused stays so for the life of the registry.
    """

    def __init__(
        self,
        discovered: Discovered = _NOTHING,
        settings: Settings = _DEFAULTS,
        events: EventSink = no_events,
    ) -> None:
        self._settings = settings
        self._events = events
        self._problems = discovered.problems
        self._offers: dict[str, list[Offer]] = {}
        self._manifests: dict[str, tuple[Manifest, ...]] = {}
        self._loaded: dict[str, LoadedProvider] = {}
        self._refused: dict[str, BrokerPluginError] = {}
        for offer in discovered.offers:
            self._offers.setdefault(offer.key, []).append(offer)
        for left_out in self.listing():
            if left_out.state is ProviderState.REFUSED:
                self._tell(left_out.key, left_out.distribution, left_out.reason)

    @classmethod
    def installed(cls, settings: Settings = _DEFAULTS, events: EventSink = no_events) -> Self:
        """The registry of what is installed now; reads metadata and imports no plugin."""
        return cls(discover(), settings, events)

    def keys(self) -> tuple[str, ...]:
        """The keys that are offered, refused ones among them, sorted."""
        return tuple(sorted({*self._offers, *self._loaded}))

    def listing(self) -> tuple[ProviderListing, ...]:
        """Every offered key with its distribution and state, sorted by key; reads no file."""
        rows = [self._row(offer) for offers in self._offers.values() for offer in offers]
        rows += [
            ProviderListing(key=key, distribution=found.distribution, version="", state=ProviderState.AVAILABLE)
            for key, found in self._loaded.items()
            if key not in self._offers
        ]
        rows += [
            ProviderListing(
                key=key, distribution=distribution, version="", state=ProviderState.REFUSED, reason=f"{reason}."
            )
            for distribution, reason, key in self._problems
        ]
        return tuple(sorted(rows, key=lambda row: (row.key, row.distribution)))

    def manifest(self, key: str) -> Manifest:
        """What is known of a broker without running its plugin's code.

        Raises `BrokerNotInstalledError`, or `BrokerPluginError` when the plugin is refused.
        """
        if key in self._loaded:
            return self._loaded[key].manifest
        offer = self._offer(key)
        with self._remembering(offer):
            return self._manifest(offer)

    def load(self, key: str) -> LoadedProvider:
        """A broker's code, imported and checked at first use; no other plugin is imported.

        Raises `BrokerNotInstalledError`, or `BrokerPluginError` with the reason why this plugin is refused.
        """
        if key not in self._loaded:
            offer = self._offer(key)
            with self._remembering(offer):
                manifest = self._manifest(offer)
                self._loaded[key] = _checked(_imported(offer), manifest, offer)
        return self._loaded[key]

    def register(self, plugin: object, manifest: Manifest) -> LoadedProvider:
        """Add a broker of this process, such as a private one, through the same hook and the same checks.

        Raises `BrokerPluginError` when it is refused, or when its key is offered already.
        """
        key = manifest.key
        offer = Offer(key, getattr(plugin, "__name__", type(plugin).__name__), _IN_PROCESS, "")
        if key in self.keys():
            holder = self._loaded[key].distribution if key in self._loaded else self._offers[key][0].distribution
            raise refusal(offer, f"the key is offered already: {holder}", remedy="Give it another key.")
        fault = contract_fault(manifest.contract)
        if fault:
            raise refusal(offer, *fault)
        self._loaded[key] = _checked(plugin, manifest, offer)
        return self._loaded[key]

    def _offer(self, key: str) -> Offer:
        offers = self._offers.get(key, [])
        if not offers:
            raise self._missing(key)
        pin = self._settings.broker(key).distribution
        if pin is not None:
            offers = [offer for offer in offers if same_distribution(offer.distribution, pin)]
        names = " and ".join(sorted({str(offer) for offer in self._offers[key]}))
        if not offers:
            raise BrokerConfigError(
                f"The broker {key!r} is pinned to the distribution {pin!r}, which does not offer it.",
                remedy=f"It is offered by {names}: correct [brokers.{key}] distribution.",
                provider=key,
            )
        if len(offers) > 1:
            raise BrokerPluginError(
                f"The broker {key!r} is offered more than once, by {names}; all of them are refused.",
                remedy=f'Uninstall all but one, or pin one: [brokers.{key}] distribution = "{offers[0].distribution}".',
                provider=key,
            )
        return offers[0]

    def _missing(self, key: str) -> BrokerConfigError:
        for distribution, reason, broken in self._problems:
            if broken == key:
                return refusal(Offer(key, "", distribution, ""), reason)
        return not_installed(key, self.keys(), [problem.distribution for problem in self._problems])

    def _manifest(self, offer: Offer) -> Manifest:
        if offer.package not in self._manifests:
            self._manifests[offer.package] = read_manifests(offer)
        for manifest in self._manifests[offer.package]:
            if manifest.key == offer.key:
                fault = contract_fault(manifest.contract)
                if fault:
                    raise refusal(offer, *fault, report_to=manifest.support)
                return manifest
        raise refusal(offer, "its provider.toml does not describe the key that its entry point names")

    @contextmanager
    def _remembering(self, offer: Offer) -> Iterator[None]:
        """A plugin is tried once: its reason is kept for whoever asks next, and told once."""
        if offer.key in self._refused:
            raise self._refused[offer.key].with_traceback(None)
        try:
            yield
        except BrokerPluginError as error:
            self._refused[offer.key] = error
            self._tell(offer.key, offer.distribution, error.message)
            raise

    def _row(self, offer: Offer) -> ProviderListing:
        reason = ""
        try:
            if self._offer(offer.key) != offer:
                reason = "Another distribution is pinned for this broker."
            elif offer.key in self._refused:
                reason = self._refused[offer.key].message
        except BrokerConfigError as error:
            reason = error.message
        return ProviderListing(
            key=offer.key,
            distribution=offer.distribution,
            version=offer.version,
            state=ProviderState.REFUSED if reason else ProviderState.AVAILABLE,
            reason=reason,
        )

    def _tell(self, key: str, distribution: str, reason: str) -> None:
        self._events(PluginRefused(provider=key, distribution=distribution, reason=reason))


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


def _imported(offer: Offer) -> object:
    with _border(offer, f"importing {offer.module!r}"):
        return import_module(offer.module)


def _checked(plugin: object, manifest: Manifest, offer: Offer) -> LoadedProvider:
    try:
        spec = _asked(plugin, offer)
        with _border(offer, "reading its credentials class"):
            fault = _credentials_fault(spec, manifest)
        if fault:
            raise refusal(offer, fault)
    except BrokerPluginError as error:
        error.report_to = manifest.support
        raise
    return LoadedProvider(manifest=manifest, spec=spec, distribution=offer.distribution, version=offer.version)


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


def _credentials_fault(spec: ProviderSpec, manifest: Manifest) -> str:
    """What keeps the class of credentials from being built out of the manifest's user fields."""
    kind = spec.credentials
    if kind is None:
        return "its manifest has user_fields, but its spec no credentials class" if manifest.user_fields else ""
    if not (isinstance(kind, type) and issubclass(kind, BrokerCredentials) and attrs.has(kind)):
        return "its credentials class is no attrs class derived from BrokerCredentials"
    arguments = {field.alias: field for field in attrs.fields(kind) if field.init}
    declared = {field.name for field in manifest.user_fields}
    if declared != set(arguments):
        apart = ", ".join(sorted(declared ^ set(arguments)))
        return f"the user_fields of its manifest and the fields of {kind.__name__} differ in: {apart}"
    hints = get_type_hints(kind)
    for field in manifest.user_fields:
        argument = arguments[field.name]
        hint = hints[argument.name]
        if field.secret is not (Secret in (hint, *get_args(hint))):
            return f"the field {field.name} must be secret in the manifest and a Secret in {kind.__name__}, or neither"
        if not field.required and field.default is None and argument.default is attrs.NOTHING:
            return f"the optional field {field.name} has no default, neither in the manifest nor in {kind.__name__}"
        if manifest.consent_fields and field.auth is not None and argument.default is attrs.NOTHING:
            return f"the field {field.name} is of one way to log in, and {kind.__name__} has no default for the others"
    return ""
