"""The made-up broker's own protocol, for the kind that speaks no HTTP."""

from __future__ import annotations

import asyncio
import struct
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from .ledger import Row
from .server import JOURNAL_PAGE, Server

_GATEWAYS: dict[str, Server] = {}
_FRAME = struct.Struct("!8s8s1sqqqqq8s8s")
_NO_FEE = -(2**62)


class Wire:
    """The broker's own protocol for those that speak no HTTP: frames of fixed size, amounts in ten-thousandths."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def ask(self, token: str, account: str, start: str, end: str, offset: int) -> list[bytes]:
        """Up to six frames from `offset` on; an empty list is the end.

        Raises `LookupError` beyond it and `PermissionError` for a token that is not valid.
        """
        await asyncio.sleep(0)
        asked = {"account": account, "start": start, "end": end, "offset": str(offset)}
        self._server.count("wire", asked)
        if token not in self._server.tokens:
            raise PermissionError
        rows = self._server.executed(asked)
        if offset > len(rows):
            raise LookupError(offset)
        return [_pack(row) for row in rows[offset : offset + JOURNAL_PAGE]]


def dial(host: str) -> Wire:
    """A line to the broker that listens at `host`. Raises `OSError` when none does."""
    if host not in _GATEWAYS:
        raise ConnectionRefusedError(host)
    return Wire(_GATEWAYS[host])


def listen(host: str, server: Server) -> None:
    _GATEWAYS[host] = server


def unlisten(host: str) -> None:
    _GATEWAYS.pop(host, None)


def _pack(row: Row) -> bytes:
    moment = (row.executed_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    fee = _NO_FEE if row.fee is None else int(row.fee.scaleb(4))
    words = [word.encode() for word in (row.row_id, row.execution, row.side)]
    amounts = (int(row.quantity.scaleb(4)), int(row.price.scaleb(4)), fee, moment, row.number)
    return _FRAME.pack(*words, *amounts, row.symbol.encode(), row.kind.encode())


def unpack(frame: bytes, account: str) -> dict[str, Any]:
    """A frame as the row it stands for."""
    row_id, execution, side, quantity, price, fee, moment, number, symbol, kind = _FRAME.unpack(frame)
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)
    return {
        "row": number,
        "id": _text(row_id),
        "of": _text(execution),
        "kind": _text(kind),
        "account": account,
        "symbol": _text(symbol),
        "side": _text(side),
        "quantity": str(Decimal(quantity).scaleb(-4)),
        "price": str(Decimal(price).scaleb(-4)),
        "fee": None if fee == _NO_FEE else str(Decimal(fee).scaleb(-4)),
        "executed": when.isoformat(),
    }


def _text(packed: bytes) -> str:
    return packed.rstrip(b"\0").decode()
