"""How far each account is read, what comes next, and what stands in the way of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from brokersync.errors import BrokerConfigError, BrokerError
from brokersync.explaining.failing import failed, worst
from brokersync.explaining.known import why_without
from brokersync.manifest import Manifest, SourceScope, SourceSpec
from brokersync.records import Connection, ConnectionState, FailedWindow, OpenRequest, Span
from brokersync.session_places import SessionPlaces, places_of, session_places
from brokersync.shared import Shared
from brokersync.sync.halving import put_off_until
from brokersync.sync.ledger import read_windows
from brokersync.sync.plan import Ask, plan_source, request_name
from brokersync.sync.untold import untold
from brokersync.sync.untold_notes import is_nothing_there
from brokersync.types import BrokerAccount, TimeWindow


@attrs.frozen(kw_only=True)
class SourceOutlook:
    """One source of one account: up to when it is read, and the window that comes next, if any is due.

    `waits_until` is set while the broker prepares an answer or wants to be left alone. `failing_windows` could not be
    read, and `failing` says what happened to the one of them that failed most often.
    """

    account: BrokerAccount
    source: str
    read_until: datetime | None = None
    next_window: TimeWindow | None = None
    waits_until: datetime | None = None
    failing: str | None = None
    failing_windows: tuple[FailedWindow, ...] = ()


@attrs.frozen(kw_only=True)
class Outlook:
    """One connection: what it will read next, and `obstacles`, each a sentence why something will not run by itself.

    `sessions` are those of its login, where its broker counts them and some are in use or waited for.
    """

    connection: Connection
    obstacles: tuple[str, ...] = ()
    sources: tuple[SourceOutlook, ...] = ()
    sessions: SessionPlaces | None = None


async def outlook(shared: Shared, connection: Connection) -> Outlook:
    """What is to be expected of a connection, by what is known now."""
    obstacles = [
        *_of_state(connection),
        *await _of_login(shared, connection),
        *await _of_settings(shared, connection),
        *await _of_broker(shared, connection),
    ]
    try:
        manifest = shared.registry.manifest(connection.provider)
        shared.registry.load(connection.provider)
    except BrokerError as error:
        return Outlook(connection=connection, obstacles=(*obstacles, f"{error.message} {error.remedy}".strip()))
    readable = await shared.readable(connection)
    sources: list[SourceOutlook] = []
    for source in (one for one in manifest.sources if not one.files):
        if readable is not None and source.name not in readable:
            obstacles.append(f"{source.name} is not read: {why_without(manifest, source)}.")
        else:
            sources += await _Source.outlooks(shared, connection, manifest, source)
    sessions = await _sessions(shared, connection, manifest)
    return Outlook(connection=connection, obstacles=tuple(obstacles), sources=tuple(sources), sessions=sessions)


async def _sessions(shared: Shared, connection: Connection, manifest: Manifest) -> SessionPlaces | None:
    if manifest.sessions is None:
        return None
    try:
        _, fields = await shared.vault.load(connection)
    except BrokerError:
        return None  # what is wrong with it is told by who needs it
    login = places_of(manifest, fields)
    found = await session_places(shared.store, manifest, shared.clock.now(), login) if login else ()
    return found[0] if found else None


def _of_state(connection: Connection) -> list[str]:
    if connection.state is ConnectionState.ACTIVE:
        return [f"The last sync failed: {connection.reason}"] if connection.reason else []
    return [" ".join(filter(None, (connection.reason or f"It is {connection.state.value}.", connection.remedy)))]


async def _of_settings(shared: Shared, connection: Connection) -> list[str]:
    """What each source last met that only the user can set right, so that no later sync will read it by itself."""
    if connection.state is not ConnectionState.ACTIVE:
        return []
    readable, settled = await shared.readable(connection), set[str]()
    found: list[Mapping[str, Any]] = []
    for _, _, report in await shared.store.past_reports([connection.connection_id]):
        problems = [one for one in report["problems"] if "source" in one and one["source"] not in settled]
        found += (one for one in problems if one["error"] == BrokerConfigError.__name__)
        settled |= {one["source"] for one in problems}
        settled |= {span["source"] for span in report["spans"] if span["covered"]}
    found = [one for one in found if readable is None or one["source"] in readable]
    said = (f"{one['source']} is not read: {one['message']} {one['remedy'] or ''}".rstrip() for one in found)
    return list(dict.fromkeys(said))


async def _of_login(shared: Shared, connection: Connection) -> list[str]:
    """What its user was told of the end of a login that still works."""
    if connection.state is not ConnectionState.ACTIVE:
        return []
    login = connection.owner, connection.provider, connection.grant_environment, connection.identity
    grant = await shared.store.grant(*login)
    if grant is None or grant.warned_of is None:
        return []
    doubt, end = grant.renewing_since, grant.grant_expires_at
    if doubt is not None and grant.warned_of in (doubt, end):
        return [f"A renewal of {doubt:%Y-%m-%d %H:%M} UTC is unanswered, so its login may end. Log in again soon."]
    if end is None or grant.warned_of != end or end <= shared.clock.now():
        return []
    return [f"Its login ends on {end:%Y-%m-%d %H:%M} UTC. Log in again soon."]


async def _of_broker(shared: Shared, connection: Connection) -> list[str]:
    incident = (await shared.store.broker_health(connection.provider, connection.environment)).open
    if incident is None:
        return []
    since, again = f"{incident.opened_at:%Y-%m-%d %H:%M}", f"{incident.probe_at:%Y-%m-%d %H:%M}"
    where = f"{connection.provider} ({connection.environment})"
    return [f"{where} {incident.what} since {since} UTC; it is asked again at {again} UTC."]


class _Source:
    """What is known of one source of a connection."""

    def __init__(
        self,
        source: SourceSpec,
        spans: Mapping[tuple[str, str], Sequence[Span]],
        failing: Mapping[str, Sequence[FailedWindow]],
        begun: Sequence[OpenRequest],
        planned: Sequence[Ask],
        now: datetime,
    ) -> None:
        self._source, self._spans, self._failing = source, spans, failing
        self._begun, self._planned, self._now = begun, planned, now

    @classmethod
    async def outlooks(
        cls, shared: Shared, connection: Connection, manifest: Manifest, source: SourceSpec
    ) -> list[SourceOutlook]:
        store, name, now = shared.store, connection.connection_id, shared.clock.now()
        accounts = await store.accounts(name)
        spans = await store.spans(connection.owner, manifest.key, source.name)
        failing = await store.failing(name, source.name)
        begun = [one for one in await store.open_requests(name) if one.source == source.name]
        planned = plan_source(
            source,
            accounts,
            spans,
            now=now,
            since=connection.since,
            connected_at=connection.created_at,
            failing=failing,
        )
        known = cls(source, spans, failing, begun, planned, now)
        return [known.of(account) for account in accounts]

    def of(self, account: BrokerAccount) -> SourceOutlook:
        """The outlook of one account."""
        name = request_name(self._source, (account,))
        spans = self._spans.get((account.environment, account.account_id), ())
        read = read_windows(spans)
        begun = next((one for one in self._begun if one.account == name), None)
        due = [
            ask.window for ask in self._planned if self._source.scope is SourceScope.LOGIN or account in ask.accounts
        ]
        wanted = [*due, *([begun.window] if begun else [])]
        # what was read another way since, or can not be had any more, is asked for no more and stays among the failing
        met = [one for one in self._failing.get(name, ()) if any(one.window.overlap(window) for window in wanted)]
        failing = (*met, *untold(self._source, account, self._failing, spans))
        told = [one for one in failing if not is_nothing_there(one)]
        return SourceOutlook(
            account=account,
            source=self._source.name,
            read_until=read[-1].end if read else None,
            next_window=begun.window if begun else due[0] if due else None,
            waits_until=begun.resume_at if begun else put_off_until(failing, due[0], self._now) if due else None,
            failing=failed(worst(told)) if told else None,
            failing_windows=tuple(failing),
        )
