"""Installed plugins, each loaded alone, checked, and refused alone; only what is asked for is ever imported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Final, Self

import attrs

from brokersync.catalogue import is_ours, known_as, not_installed
from brokersync.compatibility import contract_fault, deprecation
from brokersync.config import Settings
from brokersync.discovery import Discovered, Offer, discover, read_manifests, refusal, same_distribution
from brokersync.errors import BrokerConfigError, BrokerHeldError, BrokerPluginError
from brokersync.events import BrokerHeld, Event, EventSink, PluginDeprecated, PluginRefused, no_events
from brokersync.folders import data_folder
from brokersync.governance_settings import GovernanceSettings
from brokersync.listing import ProviderListing, ProviderState
from brokersync.loading import LoadedProvider, checked_against, imported
from brokersync.manifest import Manifest

if TYPE_CHECKING:
    from brokersync.governance.facts import BrokerFacts, Candidate
    from brokersync.governance.gate import Gate, Objection

__all__ = ["LoadedProvider", "ProviderListing", "ProviderRegistry", "ProviderState"]

_DEFAULTS: Final = Settings()
_TRUSTING: Final = GovernanceSettings()
_NOTHING: Final = Discovered((), ())
_IN_PROCESS: Final = "registered in process"


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
        self._sinks = [events]
        self._folders = discovered.folders
        self._held: dict[str, str] = {}
        self._approvals = settings.governance.approvals_file(data_folder())
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

    @cached_property
    def gate(self) -> Gate:
        """What decides which plugins may run."""
        from brokersync.governance.approvals import Approvals  # a listing that nobody narrows need not pay for it
        from brokersync.governance.gate import Gate

        return Gate(self._settings.governance.meant(self.broker_of), Approvals(self._approvals), is_ours)

    def broker_of(self, name: str) -> str | None:
        """The key of the broker that a name means, a label as its broker; `None` for one that nobody knows."""
        # of a key that is offered twice it is not known whose labels to read
        lone = [key for key in self.keys() if len(self._offers.get(key, "1")) == 1]
        return name if name in self.keys() else known_as(name) or self._holder(name, lone)

    def listen(self, sink: EventSink) -> None:
        """Have one more sink hear what is held or refused from now on."""
        self._sinks.append(sink)

    def candidate(self, key: str) -> Candidate:
        """What is installed for a broker, whether it may run or not. Raises as `manifest` does."""
        return self._candidate(self._offer(key))

    def candidates(self) -> tuple[tuple[Candidate, ProviderListing], ...]:
        """Everything that is installed for some broker, those of a contested key too, and how it is listed."""
        return tuple((self._candidate(offer), self._row(offer)) for some in self._offers.values() for offer in some)

    def facts(self, key: str) -> BrokerFacts:
        """What is known of a broker's plugin now: version, files, hosts. Raises as `manifest` does."""
        from brokersync.governance.gate import facts_of

        offer = self._offer(key)
        return facts_of(self._candidate(offer), self._manifest(offer))

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
        """What is known of a broker, or of a label of one, without running its plugin's code.

        Raises `BrokerNotInstalledError`, or `BrokerPluginError` when the plugin is refused.
        """
        if key in self._loaded:
            return self._loaded[key].manifest
        if (label := self._label(key)) is not None:
            return label
        offer = self._offer(key)
        with self._remembering(offer):
            return self._manifest(offer)

    def load(self, key: str) -> LoadedProvider:
        """A broker's code, imported and checked at first use; no other plugin is imported.

        Raises `BrokerNotInstalledError`, `BrokerHeldError` while the operator does not let it run, or
        `BrokerPluginError` with the reason why this plugin is refused.
        """
        if (label := self._label(key)) is not None:
            return attrs.evolve(self.load(label.key), manifest=label)
        if key not in self._loaded:
            offer = self._offer(key)
            with self._remembering(offer):
                self._admit(offer)
                manifest = self._manifest(offer)
                self._loaded[key] = checked_against(manifest, imported(offer), offer)
                if ends := deprecation(manifest.contract):
                    self._hear(PluginDeprecated(provider=key, distribution=offer.distribution, reason=ends))
        elif key in self._offers:
            offer = self._offer(key)
            self._object(offer, self.gate.at_a_glance(self._candidate(offer)))
        return self._loaded[key]

    def admit(self, key: str) -> Candidate | None:
        """What is installed for a broker, if it may run; `None` for one of this process. Raises as `load` does."""
        if key not in self._offers:
            return None
        offer = self._offer(key)
        with self._remembering(offer):
            self._admit(offer)
        return self._candidate(offer)

    def _admit(self, offer: Offer) -> None:
        self._object(offer, self.gate.objection(self._candidate(offer), lambda: self._manifest(offer)))

    def _object(self, offer: Offer, objection: Objection | None) -> None:
        if objection is None:
            self._held.pop(offer.key, None)
            return
        if objection.verdict.value == ProviderState.REFUSED.value:
            raise refusal(offer, objection.reason.rstrip("."), objection.remedy)
        if self._held.get(offer.key) != objection.reason:
            self._held[offer.key] = objection.reason
            self._hear(
                BrokerHeld(
                    provider=offer.key,
                    distribution=offer.distribution,
                    version=offer.version,
                    reason=objection.reason,
                )
            )
        raise BrokerHeldError(
            f"The broker {offer.key!r} of {offer} is held. {objection.reason}",
            remedy=objection.remedy,
            provider=offer.key,
        )

    def _candidate(self, offer: Offer) -> Candidate:
        from brokersync.governance.facts import Candidate

        return Candidate.of(*offer, folder=self._folders.get(offer.distribution))

    def register(self, plugin: object, manifest: Manifest) -> LoadedProvider:
        """Add a broker of this process, such as a private one, through the same hook and the same checks.

        Raises `BrokerPluginError` when it is refused, or when its key is offered already.
        """
        key = manifest.key
        offer = Offer(key, getattr(plugin, "__name__", type(plugin).__name__), _IN_PROCESS, "")
        if key in self.keys():
            holder = self._loaded[key].distribution if key in self._loaded else self._offers[key][0].distribution
            raise refusal(offer, f"the key is offered already: {holder}", remedy="Give it another key.")
        if fault := contract_fault(manifest.contract):
            raise refusal(offer, *fault)
        self._loaded[key] = checked_against(manifest, plugin, offer)
        return self._loaded[key]

    def _label(self, key: str) -> Manifest | None:
        """The manifest of the broker that has this label; no label hides a broker that is offered under its key."""
        holder = None if key in self._offers or key in self._loaded else self._holder(key, self.keys())
        return None if holder is None else self.manifest(holder).under(key)

    def _holder(self, label: str, among: Iterable[str]) -> str | None:
        for broker in among:
            with suppress(BrokerConfigError):
                if self.manifest(broker).under(label) is not None:
                    return broker
        return None

    def _offer(self, key: str) -> Offer:
        offers = self._offers.get(key, [])
        if not offers:
            raise self._missing(key)
        pin = self._settings.broker(key).distribution
        if pin is None and len(offers) > 1:
            pin = self.gate.preferred(key, [offer.distribution for offer in offers])
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
        state, reason = ProviderState.AVAILABLE, ""
        try:
            if self._offer(offer.key) != offer:
                state, reason = ProviderState.REFUSED, "Another distribution is pinned for this broker."
            elif offer.key in self._refused:
                state, reason = ProviderState.REFUSED, self._refused[offer.key].message
            elif self._narrowed() and (objection := self.gate.at_a_glance(self._candidate(offer))) is not None:
                state, reason = ProviderState(objection.verdict.value), objection.reason
        except BrokerConfigError as error:
            state, reason = ProviderState.REFUSED, error.message
        return ProviderListing(
            key=offer.key, distribution=offer.distribution, version=offer.version, state=state, reason=reason
        )

    def _narrowed(self) -> bool:
        """Whether anything was said of which plugins may run."""
        return self._settings.governance != _TRUSTING or self._approvals.exists()

    def _tell(self, key: str, distribution: str, reason: str) -> None:
        self._hear(PluginRefused(provider=key, distribution=distribution, reason=reason))

    def _hear(self, event: Event) -> None:
        for sink in self._sinks:
            sink(event)
