"""Statements that a user downloaded: one object with the account, its contracts and its fills."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from brokersync.plugin import (
    BrokerResponseError,
    QuarantinedRow,
    StatementHints,
    TradeBooking,
    TradePage,
    loads_exact,
)
from toybroker.normalise import outcome_of


class ToyStatements:
    def recognises(self, head: bytes) -> bool:
        return head.lstrip().startswith(b"{") and b'"fills"' in head

    def source(self, file: BinaryIO, hints: StatementHints) -> str:
        _load(file)
        return "statements"

    def read_statement(self, file: BinaryIO, hints: StatementHints) -> Iterator[TradePage]:
        told = _load(file)
        contracts = {row["symbol"]: row for row in told["contracts"]}
        outcomes = [
            outcome_of(row, contracts.get(row.get("symbol"), {}), str(told["account"])) for row in told["fills"]
        ]
        yield TradePage(
            bookings=tuple(one for one in outcomes if isinstance(one, TradeBooking)),
            quarantined=tuple(one for one in outcomes if isinstance(one, QuarantinedRow)),
        )


def _load(file: BinaryIO) -> Mapping[str, Any]:
    try:
        told = loads_exact(file.read())
    except ValueError:
        raise BrokerResponseError("The file is no complete statement of Toy Brokers.") from None
    if not isinstance(told, dict) or not {"account", "contracts", "fills"} <= set(told):
        raise BrokerResponseError("The file is no statement of Toy Brokers.")
    return told
