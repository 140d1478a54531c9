"""Reading a body to its end: decompressed here, so that a bound holds for what comes out and a cut-off end is seen."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final, final

import aiohttp

from brokersync.errors import BrokerResponseError, BrokerUnavailableError
from brokersync.http_classify import Failed

ACCEPTED_ENCODING: Final = "gzip"

_GZIP = zlib.MAX_WBITS | 16
_PIECE = 64 * 1024


async def read_body(answer: aiohttp.ClientResponse, broker: str, write: Callable[[bytes], None]) -> None:
    """Give the whole body to `write`, piece by piece, none over 64 KiB once it was compressed.

    aiohttp takes a gzip stream that stops early for a whole one; here that is an answer that broke off. Raises
    `Failed`, and whatever `write` raises.
    """
    encoding = answer.headers.get("Content-Encoding", "").strip().lower()
    if encoding in ("", "identity"):
        async for part in answer.content.iter_any():
            write(part)
    elif encoding in ("gzip", "x-gzip"):
        gunzip = _Gunzip(broker)
        async for part in answer.content.iter_any():
            gunzip.feed(part, write)
        gunzip.finish()
    else:
        raise Failed(BrokerResponseError(f"{broker} answered in a compression that was not asked for."))


@final
class _Gunzip:
    """A gzip stream of one or several members."""

    def __init__(self, broker: str) -> None:
        self._broker = broker
        self._member = zlib.decompressobj(_GZIP)
        self._fed = False

    def feed(self, data: bytes, write: Callable[[bytes], None]) -> None:
        while data:
            self._fed = True
            if self._member.eof:
                data = data.lstrip(b"\0")  # padding between members and behind the last
                if not data:
                    return
                self._member = zlib.decompressobj(_GZIP)
            write(self._inflate(data))
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail

    def finish(self) -> None:
        if self._fed and not self._member.eof:
            raise Failed(BrokerUnavailableError(f"{self._broker} broke off in the middle of its answer."))

    def _inflate(self, data: bytes) -> bytes:
        try:
            return self._member.decompress(data, _PIECE)
        except zlib.error:
            pass
        raise Failed(BrokerResponseError(f"{self._broker} answered with a compressed body that is broken."))
