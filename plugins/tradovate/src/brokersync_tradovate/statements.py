"""Files that a user exported from Tradovate's web application.

Of the exports only the Fills tell executions. They are the Fills report in another envelope, so a fill that a file and
the service tell is one; but a file says nothing of what it leaves out, and so it proves no day to be complete.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from itertools import islice
from typing import BinaryIO, Final, TypeAlias
from zoneinfo import ZoneInfo

import attrs

from brokersync.plugin import (
    BrokerAccount,
    BrokerInputNeededError,
    QuarantinedRow,
    StatementHints,
    TradeBooking,
    TradePage,
)
from brokersync_tradovate.exports import Export, bad_export, export_of, not_an_export, not_importable
from brokersync_tradovate.fills_report import BadRow, FillsReport, ReportFill, ZoneNeededError
from brokersync_tradovate.holders import Told, check_holders, holder
from brokersync_tradovate.instruments import Cached, cached_contracts, nothing_cached
from brokersync_tradovate.outcomes import file_outcome
from brokersync_tradovate.references import Reference
from brokersync_tradovate.tables import TableError

FILLS_FILE: Final = "fills_file"
_HEAD_BYTES = 64 * 1024
_PAGE_ROWS = 500

_Line: TypeAlias = ReportFill | BadRow


class TradovateStatementReader:
    """Reads Fills exports; knows the others, so that the user is told what to export instead.

    A file only names its contracts, and what else is known of them is `cached` from earlier answers.
    """

    def __init__(self, cached: Cached = nothing_cached) -> None:
        self._cached = cached

    def with_cache(self, cached: Cached) -> TradovateStatementReader:
        return TradovateStatementReader(cached)

    def recognises(self, head: bytes) -> bool:
        return export_of(head) is not None

    def source(self, file: BinaryIO, hints: StatementHints) -> str:
        """The source of a Fills export, after a check of the whole of it. The file must be seekable.

        Raises `BrokerConfigError` for another export, `BrokerInputNeededError` for what only the user knows (the zone
        of its times, its account, its side), and `BrokerResponseError` for a file that can not be read to its end.
        """
        start = file.tell()
        head = file.read(_HEAD_BYTES)
        file.seek(start)
        export = export_of(head)
        if export is None:
            raise not_an_export(head)
        if export is not Export.FILLS:
            raise not_importable(export)
        with _fills(file, hints) as report:
            told = _holders_told(_with_whole_ids(report.rows()))
        _check_end(file)
        check_holders(told, hints)
        return FILLS_FILE

    def read_statement(self, file: BinaryIO, hints: StatementHints) -> Iterator[TradePage]:
        """The pages of a file that `source` accepted; none of them covers anything."""
        with _fills(file, hints) as report:
            rows = report.rows()
            needed = hints if report.in_local_times else attrs.evolve(hints, zone=None)
            whose = cache(partial(holder, hints=needed))
            while batch := list(islice(rows, _PAGE_ROWS)):
                yield _page(batch, whose, needed, self._cached)


@contextmanager
def _fills(file: BinaryIO, hints: StatementHints) -> Iterator[FillsReport]:
    """The file as a report, from where it stands; what is wrong with it as a whole is the user's to know."""
    lines = io.TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        yield FillsReport(lines, ZoneInfo(hints.zone) if hints.zone else None)
    except ZoneNeededError as error:
        raise BrokerInputNeededError(
            f"The file {error}.",
            fields={"zone": "In which time zone are the times of this file?"},
            remedy="Name the zone that Tradovate showed times in when the file was made, such as America/Chicago.",
        ) from None
    except TableError as error:
        raise bad_export(f"The file {error}") from None
    except UnicodeDecodeError:
        raise bad_export("The file is not in UTF-8, so another program has saved it again") from None
    finally:
        lines.detach()  # the file is the caller's, and stays open


def _with_whole_ids(rows: Iterable[_Line]) -> Iterator[_Line]:
    """The rows of a file whose ids are as Tradovate wrote them; of any other each row would be held for ever."""
    for row in rows:
        if isinstance(row, BadRow) and row.is_shortened:
            raise bad_export("Another program has saved the file again and shortened its ids")
        yield row


def _holders_told(rows: Iterable[_Line]) -> set[Told]:
    """The accounts that the rows tell of."""
    return {one for row in rows if (one := _told(row)) is not None}


def _told(row: _Line) -> Told | None:
    """What a row tells of its account, if that is asked about: not of one that is held and tells no number."""
    if isinstance(row, ReportFill):
        return Told(row.account_id, row.account)
    return Told(row.account_id, None) if row.account_id else None


def _check_end(file: BinaryIO) -> None:
    """Refuse a file that was cut off: the last number in it may have lost digits."""
    file.seek(-1, io.SEEK_END)
    if file.read(1) not in (b"\r", b"\n"):
        raise bad_export("The file is cut off: its last line has no end")


def _page(
    rows: Sequence[_Line], whose: Callable[[Told], BrokerAccount], hints: StatementHints, cached: Cached
) -> TradePage:
    owned = [(row, whose(told) if (told := _told(row)) else None) for row in rows]
    contracts = _contracts(owned, cached)
    outcomes = [_outcome(row, account, contracts, hints) for row, account in owned]
    return TradePage(
        bookings=tuple(one for one in outcomes if isinstance(one, TradeBooking)),
        quarantined=tuple(one for one in outcomes if isinstance(one, QuarantinedRow)),
        accounts=_new([account for _, account in owned if account], hints),
        rows=len(rows),
    )


def _contracts(
    owned: Iterable[tuple[_Line, BrokerAccount | None]], cached: Cached
) -> dict[tuple[str | None, int], Reference]:
    """What is known of each contract, by its side, too: an id means another contract there."""
    symbols: defaultdict[str, dict[int, str | None]] = defaultdict(dict)
    for row, account in owned:
        if isinstance(row, ReportFill) and account:
            symbols[account.environment][row.fill.contract_id] = row.contract
    return {
        (environment, contract_id): reference
        for environment, wanted in symbols.items()
        for contract_id, reference in cached_contracts(cached, environment, wanted).items()
    }


def _new(accounts: Iterable[BrokerAccount], hints: StatementHints) -> tuple[BrokerAccount, ...]:
    """The accounts that are not known yet, once each and by name where any row tells it.

    The names of those that are known are not an old file's to tell.
    """
    named_last = sorted(accounts, key=lambda one: one.name or "")
    return tuple({one.account_id: one for one in named_last if one not in hints.accounts}.values())


def _outcome(
    row: _Line,
    account: BrokerAccount | None,
    contracts: Mapping[tuple[str | None, int], Reference],
    hints: StatementHints,
) -> TradeBooking | QuarantinedRow:
    environment, account_id = (account or hints).environment, (account or hints).account_id
    reference = contracts.get((environment, row.fill.contract_id)) if isinstance(row, ReportFill) else None
    return file_outcome(row, reference, zone=hints.zone, environment=environment, account_id=account_id)
