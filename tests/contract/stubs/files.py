"""A broker without an interface: the user downloads a file, its rows have no ids, and there is nothing to log in to."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import datetime
from typing import BinaryIO

from brokersync.plugin import (
    BrokerInputNeededError,
    BrokerResponseError,
    CoveredSpan,
    ProviderSpec,
    StatementHints,
    TimeWindow,
    TradePage,
    hookimpl,
)

from .common import understood

KEY = "files"
MANIFEST = f"""
key = "{KEY}"
display_name = "Files"
contract = 1
environments = ["live"]
auth = ["none"]
licence = "Apache-2.0"
docs = "https://stub.example/docs"
support = "https://stub.example/help"

[[sources]]
name = "statement"
precedence = 1
files = true
"""
_MAGIC = b"#statement,"


class Reader:
    def recognises(self, head: bytes) -> bool:
        return head.startswith(_MAGIC)

    def source(self, file: BinaryIO, hints: StatementHints) -> str:
        lines = file.read().decode().splitlines()
        if not lines or lines[-1] != "#end":
            raise BrokerResponseError("The file is cut off.", remedy="Download it again.")
        if hints.account_id is None:
            raise BrokerInputNeededError("The file does not name its account.", fields={"account": "Which account?"})
        return "statement"

    def read_statement(self, file: BinaryIO, hints: StatementHints) -> Iterator[TradePage]:
        account = hints.account_id or ""
        first, *lines = file.read().decode().splitlines()
        _, start, end = first.split(",")
        for row in csv.DictReader(io.StringIO("\n".join(lines[:-1]))):
            facts = row | {"account": account, "fee": row["fee"] or None}
            yield TradePage(**understood(KEY, [facts], named=False))
        window = TimeWindow(datetime.fromisoformat(start), datetime.fromisoformat(end))
        yield TradePage(covered=(CoveredSpan(account_id=account, environment="live", window=window),))


@hookimpl
def brokersync_provider(broker: str) -> ProviderSpec | None:
    return ProviderSpec(statements=lambda key: Reader()) if broker == KEY else None
