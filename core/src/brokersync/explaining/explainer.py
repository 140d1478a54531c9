"""Gathers what is known of one trade, and says what it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import attrs

from brokersync.dispositions import Rule
from brokersync.errors import BrokerConfigError, Fault
from brokersync.explaining.bookings import explained
from brokersync.explaining.days import day_in
from brokersync.explaining.explanation import ExplainedBooking, Explanation
from brokersync.explaining.known import Known, Login
from brokersync.explaining.quarantine import suspects, suspects_of
from brokersync.explaining.question import Question, days_of, may_mean, means, span_around
from brokersync.explaining.readings import file_log, last_readings
from brokersync.explaining.sources import answers
from brokersync.explaining.verdict import verdict
from brokersync.manifest import Manifest
from brokersync.records import AccountKey
from brokersync.shared import Shared
from brokersync.store import BookingSearch, TradeFilter
from brokersync.sync.commit import page_rules
from brokersync.types import BrokerAccount, BrokerTrade

_DAY = timedelta(days=1)
_MOST = 5_000


class Explainer:
    """Answers questions about one owner's trades."""

    def __init__(self, shared: Shared, owner: str) -> None:
        self._shared, self._store, self._owner = shared, shared.store, owner

    async def explain(self, question: Question) -> Explanation:
        """What is known. Raises `BrokerConfigError` for an account that the owner does not have."""
        key = await self._account(question)
        manifest = self._shared.registry.manifest(key.provider)
        if question.trade_id is not None:
            return await self._about_trade(question, key, manifest)
        assert question.day is not None and question.symbol is not None  # noqa: PT018  the question was checked
        return await self._about_day(question, key, manifest, question.symbol, question.day)

    async def _about_trade(self, question: Question, key: AccountKey, manifest: Manifest) -> Explanation:
        assert question.trade_id is not None
        trades, rows = await self._rows(manifest, BookingSearch(key=key, names=(question.trade_id,)))
        rows = tuple(row for row in rows if row.rule is not Rule.WAITS or row.booking_id == question.trade_id)
        meant = next((one for one in trades if one.trade_id == question.trade_id), trades[0] if trades else None)
        day = question.day or (min(days_of(meant, manifest)) if meant else None)
        unread = suspects_of(await self._store.quarantined(self._owner), key, question.trade_id)
        found = Explanation(
            verdict="",
            account=key,
            symbol=question.symbol or (meant.instrument.symbol if meant else None),
            day=day,
            trade_id=question.trade_id,
            trades=tuple(sorted(trades, key=lambda one: one is not meant)),
            bookings=rows,
            sources=await self._sources(key, manifest, day) if day else (),
            quarantined=tuple(row for row in unread if row["sure"] or not rows),
        )
        return attrs.evolve(found, verdict=verdict(found))

    async def _about_day(
        self, question: Question, key: AccountKey, manifest: Manifest, symbol: str, day: date
    ) -> Explanation:
        around = await self._trades_around(key, day)
        mine = [one for one in around if means(symbol, one)]
        hits = [one for one in mine if day in days_of(one, manifest)]
        search = BookingSearch(
            key=key,
            names=tuple(one.trade_id for one in hits),
            symbol=symbol,
            days=(day - _DAY, day, day + _DAY),
        )
        trades, rows = await self._rows(manifest, search)
        rows = _about(rows, symbol, day, manifest)
        kept = {row.trade_id for row in rows}
        quarantined = suspects(await self._store.quarantined(self._owner), key, symbol, day)
        found = Explanation(
            verdict="",
            account=key,
            symbol=symbol,
            day=day,
            trade_id=None,
            trades=tuple(one for one in trades if one.trade_id in kept),
            bookings=rows,
            sources=await self._sources(key, manifest, day),
            quarantined=tuple(row for row in quarantined if row["sure"] or not kept),
            similar=tuple(
                one for one in around if one not in mine and day in days_of(one, manifest) and may_mean(symbol, one)
            ),
            nearby=tuple(one for one in mine if one not in hits and one.trade_id not in kept),
        )
        return attrs.evolve(found, verdict=verdict(found))

    async def _account(self, question: Question) -> AccountKey:
        """The owner's account of that id, or of the name that the broker gives it."""
        known = list(await self._store.counts(self._owner))
        named = {(key, one.name) for key, one in await self._seen()}
        found = [
            key
            for key in known
            if question.account == key.account_id or (key, question.account) in named
            if question.provider in (None, key.provider) and question.environment in (None, key.environment)
        ]
        if len(found) == 1:
            return found[0]
        if found:
            raise BrokerConfigError(
                f"{self._owner!r} has {len(found)} accounts {question.account!r}.",
                remedy="Name the broker and the environment, too: "
                + ", ".join(f"{key.provider} {key.environment}" for key in found)
                + ".",
                fault=Fault.USER,
            )
        raise BrokerConfigError(
            f"{self._owner!r} has no account {question.account!r}.",
            remedy=f"Known are: {', '.join(sorted({key.account_id for key in known})) or 'none'}.",
            fault=Fault.USER,
        )

    async def _seen(self) -> list[tuple[AccountKey, BrokerAccount]]:
        return [
            (
                AccountKey(
                    owner=self._owner,
                    provider=connection.provider,
                    environment=account.environment,
                    account_id=account.account_id,
                ),
                account,
            )
            for connection in await self._store.connections(self._owner)
            for account in await self._store.accounts(connection.connection_id)
        ]

    async def _rows(
        self, manifest: Manifest, search: BookingSearch
    ) -> tuple[tuple[BrokerTrade, ...], tuple[ExplainedBooking, ...]]:
        return explained(await self._store.stored_bookings(search), page_rules(manifest).precedence)

    async def _trades_around(self, key: AccountKey, day: date) -> list[BrokerTrade]:
        since, until = span_around([day])
        only = TradeFilter(provider=key.provider, account_id=key.account_id, since=since, until=until, cancelled=True)
        found, _ = await self._store.trades(self._owner, only, limit=_MOST)
        return [one for one in found if one.environment == key.environment]

    async def _sources(self, key: AccountKey, manifest: Manifest, day: date) -> Any:
        logins = await self._logins(key, manifest)
        spans = {
            source.name: (await self._store.spans(self._owner, key.provider, source.name)).get(
                (key.environment, key.account_id), ()
            )
            for source in manifest.sources
        }
        logs = [one.connection.connection_id for one in logins]
        days = {source.name: day_in(day, source) for source in manifest.sources}
        readings = await last_readings(self._store, key, [*logs, file_log(self._owner, key.provider)], days)
        known = Known(manifest=manifest, spans=spans, logins=logins, readings=readings, now=self._shared.clock.now())
        return answers(known, day)

    async def _logins(self, key: AccountKey, manifest: Manifest) -> list[Login]:
        found = []
        for connection in await self._store.connections(self._owner):
            accounts = await self._store.accounts(connection.connection_id)
            mine = [one for one in accounts if (one.environment, one.account_id) == (key.environment, key.account_id)]
            if connection.provider != key.provider or not mine:
                continue
            name = connection.connection_id
            found.append(
                Login(
                    connection=connection,
                    account=mine[0],
                    begun=await self._store.open_requests(name),
                    failing={one.name: await self._store.failing(name, one.name) for one in manifest.sources},
                    readable=await self._shared.readable(connection),
                )
            )
        return found


def _about(
    rows: Sequence[ExplainedBooking], symbol: str, day: date, manifest: Manifest
) -> tuple[ExplainedBooking, ...]:
    """The rows of trades one of whose rows had this symbol and day, and the waiting cancels that may mean it."""
    hit = {
        row.trade_id
        for row in rows
        if row.content and means(symbol, row.content) and day in days_of(row.content, manifest)
    }
    return tuple(row for row in rows if row.trade_id in hit or (row.rule is Rule.WAITS and _may_be(row, symbol, day)))


def _may_be(row: ExplainedBooking, symbol: str, day: date) -> bool:
    return any(one["sure"] for one in suspects([{"raw": row.raw or {}}], None, symbol, day))
