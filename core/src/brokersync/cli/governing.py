"""`brokersync providers approve`, `revoke`, `list` and `test-webhook`: which plugins may run, and who is told."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final

import attrs
from cyclopts import Parameter

from brokersync.cli.common import Common, finish, print_json, say, show_error
from brokersync.cli.exits import Exit
from brokersync.cli.providers import state_text
from brokersync.errors import BrokerConfigError, BrokerError, BrokerHeldError

if TYPE_CHECKING:
    from brokersync.governance.facts import BrokerFacts
    from brokersync.governance.gate import Objection
    from brokersync.registry import ProviderListing, ProviderRegistry
    from brokersync.watching import Watch

_SHOWN = 12


def approve(
    key: str,
    /,
    *,
    files: Annotated[
        str | None, Parameter(help="The hash of the files that were looked at; others are not approved.")
    ] = None,
    common: Common = Common(),
) -> int:
    """Let a broker run as it is installed now: this distribution, version and files, these hosts and capabilities.

    Its files are compared with what was installed before. What changes later is held until it is approved again.

    Parameters
    ----------
    key
        The broker.
    """
    return finish(_approve(key, files, common), common)


def revoke(key: str, /, *, common: Common = Common()) -> int:
    """Let a broker run no more, whatever else is configured.

    Running workers follow with their next sync of it; code that is loaded stays in their memory until they end.

    Parameters
    ----------
    key
        The broker.
    """
    return finish(_revoke(key, common), common)


def list_(*, common: Common = Common()) -> int:
    """List the installed brokers with what an approval pins: the hash of their files, their hosts and capabilities."""
    try:
        return _list(common)
    except BrokerError as error:
        return show_error(error, common)


def try_webhook(*, common: Common = Common()) -> int:
    """Send a notice to the webhook of the configuration, which mode "approve" wants to have arrived once."""
    return finish(_test(common), common)


COMMANDS: Final[Mapping[str, Callable[..., int]]] = MappingProxyType(
    {"list": list_, "approve": approve, "revoke": revoke, "test-webhook": try_webhook}
)


async def _approve(key: str, files: str | None, common: Common) -> int:
    from brokersync.clock import SystemClock

    async with _deciding(common) as (registry, watch):
        key = registry.manifest(key).key
        objection = registry.gate.approvable(registry.candidate(key))
        if objection is not None:
            raise BrokerHeldError(
                f"The broker {key!r} can not be approved. {objection.reason}", remedy=objection.remedy, provider=key
            )
        facts = registry.facts(key)
        if files is not None and files != facts.files:
            raise BrokerHeldError(
                f"The files of {facts.distribution} {facts.version} have the hash {facts.files}, not {files}.",
                remedy="Look at what is installed here, and approve that.",
                provider=key,
            )
        registry.gate.approvals.approve(facts, SystemClock().now())
        watch.decided("provider.approved", {"provider": key, **_told(facts)})
    if common.json:
        print_json({"approved": {"key": key, **_told(facts)}, "approvals": str(registry.gate.approvals.path)})
        return Exit.DONE
    say(f"Approved {key}: {facts.distribution} {facts.version}")
    say(f"  files: {facts.files}{', installed in place' if facts.development else ''}")
    say(f"  hosts: {', '.join(facts.hosts) or 'none'}")
    say(f"  capabilities: {', '.join(facts.capabilities) or 'none'}")
    say(f"  kept in: {registry.gate.approvals.path}")
    return Exit.DONE


async def _revoke(key: str, common: Common) -> int:
    from brokersync.clock import SystemClock

    async with _deciding(common) as (registry, watch):
        if key not in registry.keys() and registry.gate.approvals.of(key) is None:  # noqa: SIM118  it is no mapping
            key = registry.manifest(key).key
        registry.gate.approvals.revoke(key, SystemClock().now())
        watch.decided("provider.revoked", {"provider": key})
    if common.json:
        print_json({"revoked": {"key": key}, "approvals": str(registry.gate.approvals.path)})
    else:
        say(f"Revoked {key}: none of its code is run any more. Let it run with: brokersync providers approve {key}")
    return Exit.DONE


def _list(common: Common) -> int:
    from brokersync.registry import ProviderRegistry

    registry = ProviderRegistry.installed(common.settings())
    harm = {(one.key, one.distribution): registry.gate.harm(one) for one, _ in registry.candidates()}
    rows = [_facts(row, harm.get((row.key, row.distribution)), registry) for row in registry.listing()]
    if common.json:
        print_json({"providers": rows, "approvals": str(registry.gate.approvals.path)})
        return Exit.DONE
    from brokersync.cli.tables import show_table

    show_table(
        ("broker", "plugin", "files", "approved", "state"),
        [_cells(row) for row in rows],
    )
    return Exit.DONE


def _facts(row: ProviderListing, harm: Objection | None, registry: ProviderRegistry) -> dict[str, Any]:
    return {
        "key": row.key,
        "distribution": row.distribution,
        "version": row.version,
        "state": row.state.value if harm is None else harm.verdict.value,
        "reason": row.reason if harm is None else harm.reason,
        **_known(row.key, registry),
    }


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    decision = row["decision"] or {}
    return (
        row["key"] or "?",
        f"{row['distribution']} {row['version']}",
        "in place" if row["development"] else str(row["files"]).removeprefix("sha256:")[:_SHOWN],
        str(decision.get("at", ""))[:10] if decision.get("state") == "approved" else "",
        state_text(row["state"], row["reason"]),
    )


def _known(key: str, registry: ProviderRegistry) -> dict[str, Any]:
    decision = registry.gate.approvals.of(key)
    nothing = {"files": "", "hosts": [], "capabilities": [], "development": False}
    try:
        facts = _told(registry.facts(key))
    except BrokerConfigError:
        facts = nothing
    return {**{name: facts[name] for name in nothing}, "decision": None if decision is None else dict(decision)}


async def _test(common: Common) -> int:
    async with _deciding(common) as (_, watch):
        await watch.test_target()
    if common.json:
        print_json({"webhook": "delivered"})
    else:
        sys.stdout.write("The webhook has taken a notice.\n")
    return Exit.DONE


@asynccontextmanager
async def _deciding(common: Common) -> AsyncIterator[tuple[ProviderRegistry, Watch]]:
    """What is installed, and who is told of what is decided; no store is opened."""
    from brokersync.clock import SystemClock
    from brokersync.events import no_events
    from brokersync.registry import ProviderRegistry
    from brokersync.store.place import notices_file, store_at
    from brokersync.watching import Watch

    settings = common.settings()
    registry = ProviderRegistry.installed(settings)
    place = notices_file(store_at(common.place(settings))[0])
    watch = Watch(registry, settings, SystemClock(), no_events, place)
    watch.begin()
    try:
        yield registry, watch
    finally:
        await watch.aclose()


def _told(facts: BrokerFacts) -> dict[str, Any]:
    told = {name: value for name, value in attrs.asdict(facts).items() if name != "key"}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}
