"""The source `statement`: files of executions that a user downloaded, as CSV.

A file says nothing of what it leaves out, so it proves no day to be complete. Whose an account is, the file does not
tell either: the accounts that the login lists do.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import BinaryIO, Final

from brokersync.plugin import (
    BrokerAccount,
    BrokerInputNeededError,
    BrokerResponseError,
    Fault,
    QuarantinedRow,
    StatementHints,
    TradeBooking,
    TradePage,
)
from {{ cookiecutter.__package }}.normalise import outcome_of, quarantined, unknown_type
from {{ cookiecutter.__package }}.payloads import Row

SOURCE: Final = "statement"
# FILL IN: the columns by which a file is known to be a statement of this broker
_COLUMNS = frozenset({"id", "orderId", "accountId", "symbol", "side", "quantity", "price", "time"})
_ACCOUNT = "accountId"
# FILL IN: what a user does at the broker's web site to get such a file
_AGAIN = "Download the statement as CSV again, and import it as it is."
_PAGE_ROWS = 500


class {{ cookiecutter.__class }}Statements:
    """Reads statements; `source` looks at the whole of a file, so that one that broke off changes nothing."""

    def recognises(self, head: bytes) -> bool:
        first, _, _ = head.decode("utf-8-sig", "replace").partition("\n")
        return set(next(csv.reader([first.strip()]), ())) >= _COLUMNS

    def source(self, file: BinaryIO, hints: StatementHints) -> str:
        """Raises `BrokerInputNeededError` for what only the user knows, and `BrokerResponseError` for a bad file."""
        ids: set[str] = set()
        with _rows(file) as rows:
            for row in rows:
                ids.add(row[_ACCOUNT] or "")
        _check_end(file)
        for account_id in sorted(ids - {""}):
            _holder(account_id, hints)
        return SOURCE

    def read_statement(self, file: BinaryIO, hints: StatementHints) -> Iterator[TradePage]:
        with _rows(file) as rows:
            while batch := list(islice(rows, _PAGE_ROWS)):
                yield _page(batch, hints)


@contextmanager
def _rows(file: BinaryIO) -> Iterator[Iterator[Row]]:
    """The rows from where the file stands, read as they are reached; an empty cell tells nothing."""
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        lines = csv.reader(text, strict=True)
        header = next(lines, [])
        if not set(header) >= _COLUMNS:
            raise _bad_file(f"The file lacks the columns {', '.join(sorted(_COLUMNS - set(header)))}")
        yield _below(header, lines)
    except csv.Error:
        raise _bad_file("The file is no proper CSV") from None
    except UnicodeDecodeError:
        raise _bad_file("The file is not in UTF-8, so another program has saved it again") from None
    finally:
        text.detach()  # the file is the caller's, and stays open


def _below(header: Sequence[str], lines: Iterable[list[str]]) -> Iterator[Row]:
    for number, cells in enumerate(lines, 2):
        if not any(cells):
            continue
        if len(cells) != len(header):
            raise _bad_file(f"Row {number} of the file has {len(cells)} cells under {len(header)} columns")
        yield {name: cell or None for name, cell in zip(header, cells, strict=True)}


def _check_end(file: BinaryIO) -> None:
    """The last number of a file that was cut off may have lost digits."""
    file.seek(-1, io.SEEK_END)
    if file.read(1) != b"\n":
        raise _bad_file("The file is cut off: its last line has no end")


def _page(rows: Sequence[Row], hints: StatementHints) -> TradePage:
    holders = {account_id: _holder(account_id, hints) for row in rows if (account_id := row[_ACCOUNT])}
    outcomes = [_outcome(row, holders) for row in rows]
    return TradePage(
        bookings=tuple(one for one in outcomes if isinstance(one, TradeBooking)),
        quarantined=tuple(one for one in outcomes if isinstance(one, QuarantinedRow)),
        unmapped=Counter(name for row in rows if (name := unknown_type(row))),
        accounts=tuple(one for one in holders.values() if one not in hints.accounts),
        rows=len(rows),
    )


def _outcome(row: Row, holders: Mapping[str, BrokerAccount]) -> TradeBooking | QuarantinedRow:
    account = holders.get(row[_ACCOUNT] or "")
    if account is None:
        return quarantined(row, f"{_ACCOUNT} is missing", None, None)
    return outcome_of(row, account.account_id, account.environment)


def _holder(account_id: str, hints: StatementHints) -> BrokerAccount:
    """The account that the owner has under this id. One that nobody knows is asked about, and never guessed."""
    known = [one for one in hints.accounts if one.account_id == account_id]
    mine = [one for one in known if hints.environment in (None, one.environment)]
    if len(mine) == 1:
        return mine[0]
    if hints.environment is None:
        raise BrokerInputNeededError(
            f"The file does not tell on which side the account {account_id} is.",
            fields={"environment": "Is it a live or a demo account?"},
            remedy="Connect the login that the account belongs to, or name its environment.",
        )
    return BrokerAccount(account_id=account_id, environment=hints.environment)


def _bad_file(what: str) -> BrokerResponseError:
    return BrokerResponseError(f"{what}.", remedy=_AGAIN, fault=Fault.USER)
