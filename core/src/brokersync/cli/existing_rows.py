"""The rows of an older journal, as CSV or as JSON lines, with every mistake named by its line and column."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import attrs

from brokersync.converter import loads_exact
from brokersync.errors import BrokerConfigError, Fault
from brokersync.matching import ExistingTrade
from brokersync.types import Side

REQUIRED = ("row_id", "provider", "symbol", "side", "quantity", "price", "executed_at")
OPTIONAL = (
    "account_id", "environment", "trade_ids", "order_id", "instrument_ids", "zone_doubtful", "exit_price", "exited_at",
)  # fmt: skip
_SEVERAL = ("trade_ids", "instrument_ids")
_WORDS: Mapping[str, Mapping[str, Any]] = {
    "side": {"buy": Side.BUY, "b": Side.BUY, "bot": Side.BUY, "sell": Side.SELL, "s": Side.SELL, "sld": Side.SELL},
    "zone_doubtful": {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False},
}
_MOST_TOLD = 5


class _MistakeError(ValueError):
    """What is wrong with one column of one line."""

    def __init__(self, column: str, what: str) -> None:
        super().__init__(f"column {column}: {what}" if column else what)


@attrs.frozen
class Reading:
    """What the file does not tell itself: the broker of all rows, and the zone of times that state none."""

    provider: str | None = None
    zone: ZoneInfo | None = None
    zone_certain: bool = False


def read_rows(path: Path, reading: Reading) -> list[ExistingTrade]:
    """The rows of a file. Raises one `BrokerConfigError` that names the first mistakes, each with its line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise _refusal(f"The file {path} can not be opened: {error.strerror}.", "Check its name.") from None
    except UnicodeDecodeError:
        raise _refusal(f"The file {path} is not UTF-8 text.", "Save it as UTF-8.") from None
    if text.lstrip().startswith("["):
        raise _refusal(f"The file {path} is one JSON array.", "Write one JSON object a line, or CSV with a header.")
    lines = _json_lines if text.lstrip().startswith("{") else _csv_lines
    rows: list[ExistingTrade] = []
    mistakes: list[str] = []
    known: dict[str, int] = {}
    try:
        for number, read in lines(text):
            try:
                row = _row(read(), reading)
                if row.row_id in known:
                    raise _MistakeError("row_id", f"{row.row_id!r} stands in line {known[row.row_id]} already")
            except _MistakeError as mistake:
                mistakes.append(f"line {number}, {mistake}")
            else:
                known[row.row_id] = number
                rows.append(row)
    except (csv.Error, _MistakeError) as error:
        mistakes.append(str(error))
    if mistakes:
        more = f" And {len(mistakes) - _MOST_TOLD} lines more." if len(mistakes) > _MOST_TOLD else ""
        raise _refusal(
            f"{path.name}: {'. '.join(mistakes[:_MOST_TOLD])}.{more}",
            "Correct them; `brokersync match --help` and the reference say what each column holds.",
        )
    return rows


def _refusal(message: str, remedy: str) -> BrokerConfigError:
    return BrokerConfigError(message, remedy=remedy, fault=Fault.USER)


def _csv_lines(text: str) -> Iterator[tuple[int, Callable[[], Mapping[str, Any]]]]:
    head = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=True)
    columns = [name.strip() for name in next(reader, [])]
    _check_columns(columns)
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num, partial(_cells, columns, cells)


def _check_columns(columns: list[str]) -> None:
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise _MistakeError("", f"the columns {', '.join(twice)} are there twice")
    _check_names(columns)
    if "row_id" not in columns:
        raise _MistakeError("", f"there is no column row_id; the columns are {', '.join((*REQUIRED, *OPTIONAL))}")


def _check_names(names: list[str]) -> None:
    strange = [name for name in names if name not in REQUIRED and name not in OPTIONAL]
    if strange:
        known = ", ".join((*REQUIRED, *OPTIONAL))
        raise _MistakeError("", f"{', '.join(map(repr, strange))} is no column; the columns are {known}")


def _cells(columns: list[str], cells: list[str]) -> Mapping[str, Any]:
    if len(cells) != len(columns):
        raise _MistakeError("", f"there are {len(cells)} cells under {len(columns)} columns")
    return dict(zip(columns, cells, strict=True))


def _json_lines(text: str) -> Iterator[tuple[int, Callable[[], Mapping[str, Any]]]]:
    # not splitlines(): a text in JSON may hold characters that it would take for the end of a line
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, partial(_json_row, line)


def _json_row(line: str) -> Mapping[str, Any]:
    try:
        row = loads_exact(line)
    except (ValueError, RecursionError):
        raise _MistakeError("", "it is no JSON") from None
    if not isinstance(row, dict):
        raise _MistakeError("", "it is no JSON object")
    _check_names(list(row))
    return row


def _row(cells: Mapping[str, Any], reading: Reading) -> ExistingTrade:
    values: dict[str, Any] = {}
    for name in (*REQUIRED, *OPTIONAL):
        value = cells.get(name)
        if name in _SEVERAL:
            values[name] = _several(name, value)
        elif value is not None and str(value).strip():
            values[name] = _read(name, value, reading)
    values.setdefault("provider", reading.provider)
    values.setdefault("zone_doubtful", not reading.zone_certain)
    quantity = values.get("quantity")
    if "side" not in values and quantity is not None:
        # a signed quantity says the side as well
        values["side"] = Side.SELL if quantity < 0 else Side.BUY
        values["quantity"] = abs(quantity)
    missing = [name for name in REQUIRED if values.get(name) is None]
    if missing:
        raise _MistakeError(missing[0], "it is empty")
    try:
        return ExistingTrade(**values)
    except (ValueError, TypeError) as error:
        raise _MistakeError("", str(error)) from None


def _several(name: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    parts = value if isinstance(value, list) else str(value).replace(";", " ").split()
    if not all(isinstance(part, str | int) and not isinstance(part, bool) and str(part) for part in parts):
        raise _MistakeError(name, "it is no list of ids")
    return tuple(str(part) for part in parts)


def _read(name: str, value: Any, reading: Reading) -> Any:
    if isinstance(value, dict | list):
        raise _MistakeError(name, "it is no single value")
    text = str(value).strip()
    if name in ("quantity", "price", "exit_price"):
        return _number(name, text)
    if name in ("executed_at", "exited_at"):
        return _moment(name, text, reading.zone)
    if name not in _WORDS:
        return text
    if text.lower() not in _WORDS[name]:
        raise _MistakeError(name, f"{text[:40]!r} is none of {', '.join(_WORDS[name])}")
    return _WORDS[name][text.lower()]


def _number(name: str, text: str) -> Decimal:
    try:
        number = Decimal(text.replace("_", "?"))  # which Python would pass over
    except InvalidOperation:
        raise _MistakeError(name, f"{text[:40]!r} is no number; write it like 1234.5") from None
    if not number.is_finite():
        raise _MistakeError(name, f"{text[:40]!r} is no number")
    return number


def _moment(name: str, text: str, zone: ZoneInfo | None) -> datetime | date:
    try:
        if len(text) == len("2026-03-04"):
            return date.fromisoformat(text)
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=zone or UTC)
    except ValueError:
        raise _MistakeError(
            name, f"{text[:40]!r} is no time; write it like 2026-03-04T15:30:12Z or 2026-03-04"
        ) from None
