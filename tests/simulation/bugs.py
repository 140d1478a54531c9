"""Classic bugs of sync engines, each put back into the real code for as long as a seed runs."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, Final
from unittest import mock

import attrs

from brokersync import runner as broker_run
from brokersync import settling
from brokersync.auth import TokenKeeper
from brokersync.converter import instant_text
from brokersync.dispositions import Disposition
from brokersync.errors import BrokerAuthError, BrokerRetryableError
from brokersync.incidents import BrokerHealth, Probes
from brokersync.login import OpenLogin
from brokersync.manifest import Manifest
from brokersync.records import Grant, Lease, PageCommit, PageOutcome, Span, SpanState
from brokersync.renewal import Need, Renewal
from brokersync.secret import Secret
from brokersync.store import PageRules, feed, page, pruning, told
from brokersync.store.feed import NewChange
from brokersync.store.sql import Fetch, Many, Put, Script, execute, fetch_one
from brokersync.store.sql_store import SqlStore
from brokersync.sync import commit, failures, halving, ledger, losses, proof, turns
from brokersync.sync.commit import PageWriter, page_rules
from brokersync.sync.losses import LossWriter
from brokersync.sync.occurrences import Occurrences
from brokersync.sync.plan import plan_source
from brokersync.sync.window import WindowReader
from brokersync.types import AuthResult, BookingEffect, CoveredSpan, TradeBooking, TradePage
from brokersync.vault import GrantVault

Bug = Callable[[], AbstractContextManager[object]]

BUGS: Final[dict[str, Bug]] = {}

_LEASE: Final = timedelta(seconds=70)

_commit_page = SqlStore.commit_page


def planted(bug: str | None) -> AbstractContextManager[object]:
    """The bug of this name, while the context lasts; `None` for none."""
    return contextlib.nullcontext() if bug is None else BUGS[bug]()


def _bug(make: Bug) -> Bug:
    BUGS[make.__name__.strip("_").replace("_", " ")] = make
    return make


def _in_two(first: Callable[[PageCommit], PageCommit], second: Callable[[PageCommit], PageCommit]) -> Any:
    """A page's commit as two transactions, with room for a crash between them."""

    async def commit_page(self: SqlStore, page: PageCommit, rules: PageRules) -> PageOutcome:
        await _commit_page(self, first(page), rules)
        return await _commit_page(self, second(page), rules)

    return mock.patch.object(SqlStore, "commit_page", commit_page)


def _without_place(page: PageCommit) -> PageCommit:
    return attrs.evolve(page, next_request=None, ends_request=False, finished=None, bookmark=None)


@_bug
def _cursor_before_its_page() -> AbstractContextManager[object]:
    return _in_two(lambda page: attrs.evolve(page, bookings=(), spans=()), _without_place)


@_bug
def _coverage_before_its_page() -> AbstractContextManager[object]:
    return _in_two(
        lambda page: _without_place(attrs.evolve(page, bookings=())), lambda page: attrs.evolve(page, spans=())
    )


@_bug
def _feed_positions_taken_before_their_rows_are_written() -> AbstractContextManager[object]:
    held: list[list[tuple[Any, ...]]] = []

    def publish(owner: str, at: datetime, changes: Sequence[NewChange]) -> Script[None]:
        if not changes:
            return
        row = yield from fetch_one(
            "UPDATE feed_head SET position = position + ? WHERE one = 1 RETURNING position", len(changes)
        )
        held.append(
            [
                (
                    position, owner, one.account, one.trade_id, one.kind.value, one.cause.value, one.revision,
                    instant_text(at), one.merged_into,
                )
                for position, one in enumerate(changes, row[0] - len(changes) + 1)
            ]
        )  # fmt: skip

    def write(rows: list[tuple[Any, ...]]) -> Script[None]:
        yield Put("changes", feed._COLUMNS, rows)

    async def commit_page(self: SqlStore, page: PageCommit, rules: PageRules) -> PageOutcome:
        outcome = await _commit_page(self, page, rules)
        while held:
            rows = held.pop()
            await self._write(lambda rows=rows: write(rows))  # type: ignore[misc]  # mypy can not infer it
        return outcome

    return _both(mock.patch.object(SqlStore, "commit_page", commit_page), mock.patch.object(page, "publish", publish))


@_bug
def _begin_of_a_pruned_feed_not_written_down() -> AbstractContextManager[object]:
    def prune(before: datetime, limit: int) -> Script[int]:
        rows = yield Fetch("DELETE FROM changes WHERE at < ? RETURNING position", (instant_text(before),))
        return len(rows)

    return mock.patch.object(pruning, "prune_feed", prune)


@_bug
def _bookings_pruned_with_their_raw_rows() -> AbstractContextManager[object]:
    def prune(before: datetime, limit: int) -> Script[int]:
        rows = yield Fetch("DELETE FROM raw_rows WHERE at < ? RETURNING booking", (instant_text(before),))
        yield Many("DELETE FROM bookings WHERE booking = ?", rows)
        return len(rows)

    return mock.patch.object(pruning, "prune_raw", prune)


@_bug
def _bookings_of_cancelled_trades_deleted() -> AbstractContextManager[object]:
    cancelled = "SELECT set_id FROM trades WHERE status = 'cancelled'"

    async def commit_page(self: SqlStore, page: PageCommit, rules: PageRules) -> PageOutcome:
        outcome = await _commit_page(self, page, rules)
        await self._write(lambda: execute(f"DELETE FROM bookings WHERE set_id IN ({cancelled})"))
        return outcome

    return mock.patch.object(SqlStore, "commit_page", commit_page)


@_bug
def _new_content_of_a_known_row_dropped() -> AbstractContextManager[object]:
    content_of = told.booking_content

    def booking_content(row: TradeBooking) -> tuple[str, bytes]:
        return content_of(row)[0], hashlib.blake2b(row.booking_id.encode(), digest_size=16).digest()

    return mock.patch.object(told, "booking_content", booking_content)


@_bug
def _fence_ignored() -> AbstractContextManager[object]:
    def check_lease(lease: Lease) -> Script[None]:
        yield from ()

    return mock.patch.object(page, "check_lease", check_lease)


@_bug
def _lease_not_waited_for() -> AbstractContextManager[object]:
    take_of = SqlStore.take_lease

    async def take_lease(self: SqlStore, name: str, *, holder: str, **facts: Any) -> Lease:
        return attrs.evolve(await take_of(self, name, holder=holder, **facts), holder=holder)

    return mock.patch.object(SqlStore, "take_lease", take_lease)


@_bug
def _cancel_before_its_target_dropped() -> AbstractContextManager[object]:
    commit_of = PageWriter.commit

    async def commit(self: PageWriter, page: TradePage, **facts: Any) -> PageOutcome:
        met: set[str] = self.__dict__.setdefault("met", set())
        met.update(name for one in page.bookings if one.trade is not None for name in (one.booking_id, *one.aliases))
        kept = (one for one in page.bookings if one.effect is not BookingEffect.CANCEL or met.intersection(one.refs))
        return await commit_of(self, attrs.evolve(page, bookings=tuple(kept)), **facts)

    return mock.patch.object(PageWriter, "commit", commit)


@_bug
def _span_closed_after_an_error() -> AbstractContextManager[object]:
    async def following(
        self: WindowReader, pages: AsyncGenerator[TradePage, None], last: TradePage | None
    ) -> TradePage | None:
        try:
            return await anext(pages, None)
        except BrokerRetryableError:
            ask = self._writer._ask
            assert ask is not None
            covered = (
                CoveredSpan(account_id=one.account_id, environment=one.environment, window=ask.window)
                for one in ask.accounts
            )
            return TradePage(covered=tuple(covered))

    return mock.patch.object(WindowReader, "_next", following)


@_bug
def _finality_lag_ignored() -> AbstractContextManager[object]:
    def by_finality(source: object, window: Any, finality: object, read_at: object) -> tuple[Span, ...]:
        return (Span(window=window, state=SpanState.FINAL),)

    return mock.patch.object(proof, "_by_finality", by_finality)


@_bug
def _a_resumed_reading_counts_as_a_new_one() -> AbstractContextManager[object]:
    start_of = PageWriter._start

    def start(self: PageWriter, ask: Any, source: Any, opened: Any) -> None:
        start_of(self, ask, source, None if opened is None else attrs.evolve(opened, begun_at=None))

    return mock.patch.object(PageWriter, "_start", start)


@_bug
def _lost_history_not_written_down() -> AbstractContextManager[object]:
    async def note(self: LossWriter, source: object, known: object, **how: object) -> None:
        pass

    return mock.patch.object(LossWriter, "note", note)


@_bug
def _provisional_written_over_final() -> AbstractContextManager[object]:
    return mock.patch.dict(ledger._STRENGTH, dict.fromkeys(SpanState, 0))


@_bug
def _precedence_of_sources_ignored() -> AbstractContextManager[object]:
    def rules(manifest: Manifest) -> PageRules:
        return attrs.evolve(page_rules(manifest), precedence=lambda source: 0)

    return mock.patch.object(commit, "page_rules", rules)


@_bug
def _loss_told_by_each_source() -> AbstractContextManager[object]:
    return mock.patch.object(losses, "given_by_none", lambda window, *others, **facts: [window])


@_bug
def _loss_not_told() -> AbstractContextManager[object]:
    return mock.patch.object(losses, "given_by_none", return_value=[])


@_bug
def _known_row_without_a_disposition() -> AbstractContextManager[object]:
    async def commit_page(self: SqlStore, page: PageCommit, rules: PageRules) -> PageOutcome:
        outcome = await _commit_page(self, page, rules)
        return attrs.evolve(outcome, fates=tuple(fate for fate in outcome.fates if fate is not Disposition.SAME))

    return mock.patch.object(SqlStore, "commit_page", commit_page)


@_bug
def _failing_window_asked_for_as_a_whole() -> AbstractContextManager[object]:
    return _both(mock.patch.object(halving, "ENOUGH", 10**6), mock.patch.object(failures, "ENOUGH", 0))


@_bug
def _deadline_of_a_session_forgotten() -> AbstractContextManager[object]:
    def next_sync(*, synced_at: datetime | None, deadline: datetime | None, **facts: Any) -> datetime:
        return next_sync_of(synced_at=synced_at, deadline=None, **facts)

    next_sync_of = settling.next_sync
    return mock.patch.object(settling, "next_sync", next_sync)


@_bug
def _provisional_taken_for_final() -> AbstractContextManager[object]:
    def plan(source: Any, accounts: Any, spans: Mapping[Any, Sequence[Span]], **facts: Any) -> Any:
        closed = {key: [attrs.evolve(one, state=SpanState.FINAL) for one in value] for key, value in spans.items()}
        return plan_source(source, accounts, closed, **facts)

    return mock.patch.object(turns, "plan_source", plan)


@_bug
def _next_sessions_list_taken_for_the_last_ones() -> AbstractContextManager[object]:
    return mock.patch.object(proof, "lost_its_front", return_value=False)


@_bug
def _equal_rows_counted_from_the_middle() -> AbstractContextManager[object]:
    return mock.patch.object(Occurrences, "kept", return_value={})


@_bug
def _every_connection_probes() -> AbstractContextManager[object]:
    def with_probe(health: BrokerHealth, *, now: datetime, probes: Probes) -> BrokerHealth | None:
        return health if health.open is None else attrs.evolve(health, incident=attrs.evolve(health.open, probe_at=now))

    return mock.patch.object(broker_run, "with_probe", with_probe)


@_bug
def _answer_closes_no_incident() -> AbstractContextManager[object]:
    return mock.patch.object(settling, "after_answer", lambda health, **facts: attrs.evolve(health, failed={}))


@_bug
def _token_used_before_it_is_stored() -> AbstractContextManager[object]:
    async def stored(self: Renewal, auth: AuthResult, how: str, *_: object) -> Grant:
        async def later() -> None:
            await asyncio.sleep(20)
            await self._vault.replace(self._grant, auth, self._fields, made_at=self._clock.now())

        asyncio.get_running_loop().create_task(later())
        return attrs.evolve(self._grant, auth=auth, generation=self._grant.generation + 1)

    return mock.patch.object(Renewal, "_stored", stored)


@_bug
def _refresh_without_reading_the_grant_again() -> AbstractContextManager[object]:
    async def lease(self: TokenKeeper, grant: Grant, stale: AuthResult) -> Lease:
        self.__dict__["known"] = await self._vault.load(self._connection)
        while True:
            now = self._clock.now()
            lease = await self._vault.store.take_lease(
                f"grant|{grant.identity}", owner=grant.owner, holder=self._holder, now=now, until=now + _LEASE
            )
            if lease.holder == self._holder:
                return lease
            await self._clock.sleep(1)

    async def renewed(self: TokenKeeper, stale: AuthResult, need: Need) -> Grant:
        async with self._logins() as login:
            parts = {"vault": self._vault, "login": login, "clock": self._clock, "settings": self._settings}
            return await Renewal(*self.__dict__["known"], **parts, logs_in=True)()

    async def marked(self: Renewal) -> bool:
        return True

    return _both(
        mock.patch.object(TokenKeeper, "_lease", lease),
        mock.patch.object(TokenKeeper, "_renewed", renewed),
        mock.patch.object(Renewal, "_mark", marked),
    )


@_bug
def _lease_of_a_grant_not_waited_for() -> AbstractContextManager[object]:
    async def lease(self: TokenKeeper, grant: Grant, stale: AuthResult) -> Lease:
        now = self._clock.now()
        return Lease(name="none", owner=grant.owner, holder=self._holder, fence=0, expires_at=now)

    return mock.patch.object(TokenKeeper, "_lease", lease)


@_bug
def _older_grant_written_over_a_newer_one() -> AbstractContextManager[object]:
    replace_of, lease_of = GrantVault.replace, TokenKeeper._lease

    async def replace(
        self: GrantVault, grant: Grant, auth: AuthResult, fields: Mapping[str, str], **made: Any
    ) -> Grant:
        while (new := await replace_of(self, grant, auth, fields, **made)) is None:
            grant = attrs.evolve(grant, generation=grant.generation + 1)
        return new

    async def lease(self: TokenKeeper, grant: Grant, stale: AuthResult) -> Lease | Grant:
        # few seeds have a worker that stands still for longer than its lease while another renews, so it ends at once
        held = await lease_of(self, grant, stale)
        if isinstance(held, Lease):
            await self._vault.store.release_lease(held)
        return held

    return _both(mock.patch.object(GrantVault, "replace", replace), mock.patch.object(TokenKeeper, "_lease", lease))


@_bug
def _unknown_outcome_taken_for_a_refusal() -> AbstractContextManager[object]:
    refresh_of = OpenLogin.refresh_token

    async def refresh_token(self: OpenLogin, auth: AuthResult) -> AuthResult:
        try:
            return await refresh_of(self, auth)
        except BrokerRetryableError as error:
            raise BrokerAuthError(error.message) from error

    return mock.patch.object(OpenLogin, "refresh_token", refresh_token)


@_bug
def _refresh_token_forgotten_when_the_answer_has_none() -> AbstractContextManager[object]:
    refresh_of = OpenLogin.refresh_token

    async def refresh_token(self: OpenLogin, auth: AuthResult) -> AuthResult:
        fresh = await refresh_of(self, auth)
        return attrs.evolve(fresh, refresh_token=fresh.refresh_token or Secret("none"))

    return mock.patch.object(OpenLogin, "refresh_token", refresh_token)


@contextlib.contextmanager
def _both(*patches: AbstractContextManager[object]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        yield
