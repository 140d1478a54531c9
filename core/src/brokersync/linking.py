"""The rows of an older journal against a store."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta

import attrs

from brokersync.errors import BrokerConfigError
from brokersync.matching import ExistingTrade, Match, MatchRule, NamedTrade, match_rows
from brokersync.matching.words import unknown_reason
from brokersync.records import AccountKey
from brokersync.store import Store, TradeFilter

_FARTHEST = timedelta(days=3)  # beyond any zone, and beyond the day that a weekend's trades are counted to
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_PAGE = 2000


async def match_existing(store: Store, owner: str, rows: Iterable[ExistingTrade]) -> tuple[Match, ...]:
    """See `Journal.match`. The comparing itself runs on a thread, for it takes seconds where there are many rows."""
    rows = tuple(rows)
    for row in rows:
        if not isinstance(row, ExistingTrade):
            raise BrokerConfigError(
                f"One of the rows is of the type {type(row).__name__}.", remedy="Make each with ExistingTrade(...)."
            )
    accounts = await store.account_names(owner)
    known = _by_account_id(rows, accounts)
    trades: list[NamedTrade] = []
    for provider, asked in _by_provider(known).items():
        trades += await _trades(store, owner, _filter(provider, asked))
    answers = await asyncio.to_thread(match_rows, known, trades)
    return tuple(_with_unknown_name(row, answer, accounts) for row, answer in zip(known, answers, strict=True))


def _with_unknown_name(row: ExistingTrade, answer: Match, accounts: Iterable[AccountKey]) -> Match:
    """A row that is new because of a slip in a name of its account says so: else all would be doubled."""
    if answer.rule is not MatchRule.NONE:
        return answer
    at_broker = [key for key in accounts if key.provider == row.provider]
    environments = {key.environment for key in at_broker}
    mine = {key.account_id for key in at_broker if row.environment in (None, key.environment)}
    if not at_broker:
        reason = unknown_reason("account at", row.provider, {key.provider for key in accounts})
    elif not mine:
        reason = unknown_reason("account in the environment", row.environment or "", environments)
    elif row.account_id is not None and row.account_id not in mine:
        what = "account" if row.environment is None else f"account in the environment {row.environment!r} called"
        reason = unknown_reason(what, row.account_id, mine)
    else:
        return answer
    return attrs.evolve(answer, reason=reason)


def _by_account_id(
    rows: tuple[ExistingTrade, ...], accounts: Mapping[AccountKey, str | None]
) -> tuple[ExistingTrade, ...]:
    """The rows with the broker's id of their account, where they have its name instead."""
    ids = {(key.provider, key.account_id) for key in accounts}
    named: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for key, name in accounts.items():
        if name is not None:
            named[key.provider, name].add(key.account_id)

    def meant(row: ExistingTrade) -> ExistingTrade:
        if row.account_id is None or (row.provider, row.account_id) in ids:
            return row
        found = named.get((row.provider, row.account_id), set())
        return attrs.evolve(row, account_id=next(iter(found))) if len(found) == 1 else row

    return tuple(meant(row) for row in rows)


def _by_provider(rows: Iterable[ExistingTrade]) -> Mapping[str, Sequence[ExistingTrade]]:
    found: defaultdict[str, list[ExistingTrade]] = defaultdict(list)
    for row in rows:
        found[row.provider].append(row)
    return found


def _filter(provider: str, rows: Sequence[ExistingTrade]) -> TradeFilter:
    """What of the store can be meant. Ids are looked for in all of it, since a journal's times can be wrong."""
    accounts = {row.account_id for row in rows}
    only = TradeFilter(provider=provider, account_id=accounts.pop() if len(accounts) == 1 else None, cancelled=True)
    if any(row.trade_ids or row.order_id for row in rows):
        return only
    moments = [_instant(at) for row in rows for at in (row.executed_at, row.exited_at) if at is not None]
    earliest, latest = min(moments), max(moments)
    return attrs.evolve(
        only,
        since=earliest - _FARTHEST if earliest - _FIRST > _FARTHEST else None,
        until=latest + _FARTHEST if _LAST - latest > _FARTHEST else None,
    )


def _instant(at: datetime | date) -> datetime:
    return at if isinstance(at, datetime) else datetime.combine(at, time(), UTC)


async def _trades(store: Store, owner: str, only: TradeFilter) -> list[NamedTrade]:
    found: list[NamedTrade] = []
    after: tuple[str, str] | None = None
    while True:
        page, after = await store.named_trades(owner, only, after=after, limit=_PAGE)
        found += page
        if after is None:
            return found
