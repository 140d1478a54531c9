"""`brokersync match`: which rows of an older journal are in the store."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from brokersync.cli.common import Owned, finish, note, print_json
from brokersync.cli.exits import Exit

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from brokersync.matching import Match, TradeKey

_COLUMNS = ("row_id", "verdict", "rule", "doubts", "account_id", "environment", "trade_ids", "candidates", "reason")
_TABLE_ROWS = 10_000


def match(
    file: Path,
    /,
    *,
    format: Annotated[Literal["table", "csv", "jsonl"], Parameter(help="How to write the answers.")] = "table",  # noqa: A002  the option's name
    provider: Annotated[str | None, Parameter(help="The broker of rows that name none.")] = None,
    zone: Annotated[str | None, Parameter(help="The time zone of times that state none; else UTC.")] = None,
    zone_certain: Annotated[
        bool, Parameter(help="The times are right: do not look for hours that are off by a time zone.", negative="")
    ] = False,
    only: Annotated[Literal["same", "likely", "new"] | None, Parameter(help="Show these answers only.")] = None,
    common: Owned = Owned(),
) -> int:
    """Say which rows of an older journal are trades of the store: same, likely or new, each with the reason.

    FILE is CSV with a header, or one JSON object a line. Its columns: row_id, provider, symbol, side, quantity, price,
    executed_at; and where there are any: account_id, environment, trade_ids, order_id, instrument_ids, zone_doubtful,
    exit_price, exited_at. Nothing is changed.
    """
    from brokersync.cli.existing_rows import Reading, read_rows

    async def work() -> int:
        rows = read_rows(file, Reading(provider, _zone(zone), zone_certain))
        async with common.open() as bs:
            answers = await bs.match(common.owner, rows)
        counts = Counter(answer.verdict.value for answer in answers)
        _write([answer for answer in answers if only in (None, answer.verdict)], "json" if common.json else format)
        said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("same", "likely", "new"))
        note(f"{len(rows)} rows: {said}")
        return Exit.DONE

    return finish(work(), common)


def _zone(name: str | None) -> ZoneInfo | None:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from brokersync.errors import BrokerConfigError

    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BrokerConfigError(f"--zone {name!r} is no time zone.", remedy="Write it like America/New_York.") from None


def _write(answers: Sequence[Match], format_: str) -> None:
    from brokersync.converter import to_json

    if format_ == "json":
        print_json({"matches": to_json(answers)})
    elif format_ == "jsonl":
        for answer in answers:
            sys.stdout.write(json.dumps(to_json(answer), ensure_ascii=False) + "\n")
    elif format_ == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(_cells(answer) for answer in answers)
    else:
        _write_table(answers)


def _cells(answer: Match) -> tuple[str, ...]:
    keys = answer.trades or answer.candidates
    return (
        _safe(answer.row_id),
        answer.verdict.value,
        answer.rule.value,
        " ".join(answer.doubts),
        _safe(" ".join(sorted({key.account_id for key in keys}))),
        " ".join(sorted({key.environment for key in keys})),
        _safe(_ids(answer.trades)),
        _safe(_ids(answer.candidates)),
        _safe(answer.reason),
    )


def _ids(keys: Iterable[TradeKey]) -> str:
    return " ".join(key.trade_id for key in keys)


def _safe(text: str) -> str:
    """Text as a spreadsheet must take it: what could be read as a formula is quoted."""
    return f"'{text}" if text[:1] in ("=", "@", "\t", "\r") else text


def _write_table(answers: Sequence[Match]) -> None:
    from brokersync.cli.tables import show_table

    rows = [
        (answer.row_id, answer.verdict.value, _ids(answer.trades), answer.reason) for answer in answers[:_TABLE_ROWS]
    ]
    show_table(("row", "verdict", "trades", "reason"), rows, whole=("verdict",))
    if len(answers) > _TABLE_ROWS:
        sys.stdout.write(f"... the first {_TABLE_ROWS} are shown; --format csv or jsonl writes all\n")
