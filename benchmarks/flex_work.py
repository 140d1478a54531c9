"""What the table of Flex measures, each in a process of its own: `python -m benchmarks.flex_work CASE FILE`.

Prints the milliseconds of CPU and the most memory above the start in MB. `write` makes the file.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from itertools import cycle, islice
from pathlib import Path
from unittest.mock import MagicMock
from xml.parsers import expat

from brokersync.plugin import StatementHints
from brokersync.sandboxes import SandboxSettings
from brokersync_ibkr.pages import Reading, read_pages
from brokersync_ibkr.sandbox_ledger import Account, open_logins
from brokersync_ibkr.sandbox_query import QuerySettings
from brokersync_ibkr.sandbox_rows import TRADE_NAMES, trade_values
from brokersync_ibkr.statements import FlexStatementReader

_CHUNK = 1 << 16


def write(file: Path, rows: int) -> None:
    """A statement of so many executions, each with an id of its own; what they say repeats after some thousand."""
    now = datetime(2026, 6, 10, 15, tzinfo=UTC)
    settings = SandboxSettings(now=lambda: now, days=900, trades_per_day=6, logins=1, accounts_per_login=1)
    [account] = open_logins(settings)[0].accounts
    query = QuerySettings()
    made = _values(account)
    head = f'<FlexStatement accountId="{account.number}" fromDate="20240101" toDate="20260609" period=""'
    with file.open("w", encoding="utf-8") as out:
        out.write('<FlexQueryResponse queryName="benchmark" type="AF">\n<FlexStatements count="1">\n')
        out.write(f'{head} whenGenerated="20260610;060000">\n<Trades>\n')
        for number, values in enumerate(islice(cycle(made), rows)):
            ids = {"tradeID": f"{10**9 + number}", "transactionID": f"{10**10 + number}"}
            ids["ibExecID"] = f"0001f4e8.{0x65000000 + number:08x}.01.01"
            out.write(query.element("Trade", TRADE_NAMES, values | ids))
        out.write("</Trades>\n</FlexStatement>\n</FlexStatements>\n</FlexQueryResponse>\n")


def _values(account: Account) -> list[dict[str, str]]:
    rows = account.statement_rows(date(2024, 1, 1), date(2026, 6, 9))
    return [trade_values(row, account) for row in rows if row.kind == "ExchTrade"]


def lexer(file: Path) -> int:
    parser = expat.ParserCreate()
    with file.open("rb") as source:
        parser.ParseFile(source)
    return -1


def dicts(file: Path) -> int:
    rows = 0

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal rows
        rows += name == "Trade"

    parser = expat.ParserCreate()
    parser.StartElementHandler = begin
    with file.open("rb") as source:
        parser.ParseFile(source)
    return rows


def by_ibflex(file: Path) -> int:
    # ibflex imports requests for a client that is not used here
    sys.modules["requests"] = MagicMock()
    from ibflex import parser

    started()
    response = parser.parse(str(file))
    return sum(len(statement.Trades) for statement in response.FlexStatements)


def service(file: Path) -> int:
    """As the service's answer is read: once."""
    with file.open("rb") as source:
        return sum(len(page.bookings) for page in read_pages(source, Reading()))


def downloaded(file: Path) -> int:
    """As a file is read: checked to its end first."""
    reader = FlexStatementReader()
    with file.open("rb") as source:
        reader.source(source, StatementHints())
        source.seek(0)
        return sum(len(page.bookings) for page in reader.read_statement(source, StatementHints()))


CASES: dict[str, Callable[[Path], int]] = {
    "lexer": lexer,
    "dicts": dicts,
    "ibflex": by_ibflex,
    "service": service,
    "downloaded": downloaded,
}
_began = [0.0, 0.0]


def started() -> None:
    """What was imported until now does not count."""
    _began[:] = [time.process_time(), _memory("VmRSS")]


def _memory(name: str) -> float:
    """MB of this process; what `getrusage` calls the most may be its parent's."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def main(case: str, file: Path) -> None:
    started()
    rows = CASES[case](file)
    spent = time.process_time() - _began[0]
    print(json.dumps({"ms": spent * 1000, "peak_mb": _memory("VmHWM") - _began[1], "rows": rows}))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main(sys.argv[1], Path(sys.argv[2]))
