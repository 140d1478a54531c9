"""`brokersync trades`: what is in the store."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from brokersync.cli.common import Owned, check_accounts, finish, note, parse_day
from brokersync.cli.exits import Exit

if TYPE_CHECKING:
    from brokersync.store import TradeFilter
    from brokersync.types import BrokerTrade

_COLUMNS = (
    "provider", "environment", "account_id", "trade_id", "revision", "status", "order_id", "side", "position_effect",
    "quantity", "price", "price_unit", "executed_at", "time_precision", "trade_date", "event",
)  # fmt: skip
_INSTRUMENT = ("symbol", "broker_id", "asset_class", "currency", "multiplier", "exchange", "expiry", "strike", "right")
_TABLE_ROWS = 10_000


def trades(
    *,
    format: Annotated[Literal["table", "csv", "jsonl"], Parameter(help="How to write them.")] = "table",  # noqa: A002  the option's name
    provider: Annotated[str | None, Parameter(help="Only this broker.")] = None,
    account: Annotated[str | None, Parameter(help="Only this account.")] = None,
    symbol: Annotated[str | None, Parameter(help="Only this symbol.")] = None,
    since: Annotated[str | None, Parameter(help="Executed on this day or later (UTC).")] = None,
    until: Annotated[str | None, Parameter(help="Executed before this day (UTC).")] = None,
    cancelled: Annotated[bool, Parameter(help="Show cancelled trades too.", negative="")] = False,
    limit: Annotated[int | None, Parameter(help="At most so many.", validator=Number(gte=0))] = None,
    common: Owned = Owned(),
) -> int:
    """Show the trades in the store, in the order of execution.

    Numbers are written with all their digits, times in UTC.
    """
    from brokersync.store import TradeFilter

    async def work() -> int:
        only = TradeFilter(
            provider=provider,
            account_id=account,
            symbol=symbol,
            since=parse_day(since, "--since") if since else None,
            until=parse_day(until, "--until") if until else None,
            cancelled=cancelled,
        )
        async with common.open() as bs:
            if account is not None:
                check_accounts(common.owner, [account], await bs.counts(common.owner))
            found = _Counted(_limited(bs.trades(common.owner, only), limit))
            await _write(aiter(found), "json" if common.json else format)
            if not found.number and limit != 0:
                _hint(only, await bs.counts(common.owner))
        return Exit.DONE

    return finish(work(), common)


class _Counted:
    """Trades, and how many of them went by."""

    def __init__(self, found: AsyncIterator[BrokerTrade]) -> None:
        self._found, self.number = found, 0

    async def __aiter__(self) -> AsyncIterator[BrokerTrade]:
        async for trade in self._found:
            self.number += 1
            yield trade


def _hint(only: TradeFilter, counts: Iterable[Mapping[str, Any]]) -> None:
    """Say on standard error why no trade was shown, where the question may be the reason."""
    known = sorted({one["provider"] for one in counts})
    if only.provider is not None and only.provider not in known:
        note(f"No account of {only.provider!r} is known. Known are those of: {', '.join(known) or 'no broker'}.")
    elif only.symbol is not None:
        note(f"No trade matches. Write the symbol {only.symbol!r} as the broker does, in capitals or not.")
    elif only != type(only)():
        note("No trade matches.")


async def _limited(found: AsyncIterator[BrokerTrade], limit: int | None) -> AsyncIterator[BrokerTrade]:
    count = 0
    async for trade in found:
        if limit is not None and count >= limit:
            return
        count += 1
        yield trade


async def _write(found: AsyncIterator[BrokerTrade], format_: str) -> None:
    if format_ == "csv":
        await _write_csv(found)
    elif format_ == "table":
        await _write_table(found)
    else:
        await _write_json(found, lines=format_ == "jsonl")


def line(trade: BrokerTrade) -> dict[str, Any]:
    """A trade as one JSON object: numbers as plain decimal text, times ending in `Z`."""
    from brokersync.converter import to_json

    data: dict[str, Any] = to_json(trade)
    del data["raw"]
    return data


async def _write_json(found: AsyncIterator[BrokerTrade], *, lines: bool) -> None:
    before = "" if lines else '{"trades": ['
    async for trade in found:
        sys.stdout.write(before + json.dumps(line(trade), ensure_ascii=False))
        before = "\n" if lines else ",\n"
    if lines:
        sys.stdout.write("\n" if before else "")
    else:
        sys.stdout.write("]}\n" if before == ",\n" else '{"trades": []}\n')


async def _write_csv(found: AsyncIterator[BrokerTrade]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow((*_COLUMNS, *_INSTRUMENT, "fees", "fee_currencies"))
    async for trade in found:
        data = line(trade)
        instrument, fees = data["instrument"], data["fees"]
        writer.writerow(
            [
                *(_cell(data[name]) for name in _COLUMNS),
                *(_cell(instrument[name]) for name in _INSTRUMENT),
                " ".join(f"{fee['kind']}:{fee['amount']}" for fee in fees),
                " ".join(fee["currency"] for fee in fees),
            ]
        )


def _cell(value: Any) -> str:
    """Text as a spreadsheet must take it: what could be read as a formula is quoted."""
    text = "" if value is None else str(value)
    return f"'{text}" if text[:1] in ("=", "@", "\t", "\r") else text


async def _write_table(found: AsyncIterator[BrokerTrade]) -> None:
    from brokersync.cli.tables import show_table

    rows: list[tuple[str, ...]] = []
    more = False
    async for trade in found:
        if len(rows) == _TABLE_ROWS:
            more = True
            break
        rows.append(_table_row(trade))
    show_table(
        ("executed (UTC)", "side", "quantity", "symbol", "price", "", "account", "fees", "event"),
        rows,
        right=("quantity", "price"),
        whole=("executed (UTC)", "side"),
        wide=("fees", "event"),
    )
    if more:
        sys.stdout.write(f"... the first {_TABLE_ROWS} are shown; --format csv or jsonl writes all\n")


def _table_row(trade: BrokerTrade) -> tuple[str, ...]:
    from brokersync.cli.tables import moment_text
    from brokersync.converter import decimal_text
    from brokersync.types import TimePrecision, TradeStatus

    by_day = trade.time_precision is TimePrecision.DAY
    day = (trade.trade_date or trade.executed_at.date()).isoformat()
    cancelled = trade.status is TradeStatus.CANCELLED
    return (
        day if by_day else moment_text(trade.executed_at),
        f"{trade.side.value} (cancelled)" if cancelled else trade.side.value,
        decimal_text(trade.quantity),
        " ".join(trade.instrument.symbol.split()),
        decimal_text(trade.price),
        trade.instrument.currency or "?",
        trade.account_id,
        " ".join(f"{decimal_text(fee.amount)} {fee.currency}" for fee in _by_currency(trade)),
        trade.event.value,
    )


def _by_currency(trade: BrokerTrade) -> list[Any]:
    import attrs

    sums: dict[str, Any] = {}
    for fee in trade.fees:
        known = sums.get(fee.currency)
        sums[fee.currency] = fee if known is None else attrs.evolve(known, amount=known.amount + fee.amount)
    return [sums[currency] for currency in sorted(sums)]
