"""One request on the wire: the session, the bounds in time and size, and the body."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from types import MappingProxyType
from typing import BinaryIO, Final, TypeAlias, cast, final

import aiohttp

from brokersync.config import HttpSettings
from brokersync.errors import BrokerConfigError, BrokerResponseError, Fault
from brokersync.http_body import ACCEPTED_ENCODING, read_body
from brokersync.http_classify import FOREIGN, Failed, foreign_error
from brokersync.http_sessions import OnSent, Sessions
from brokersync.manifest import Manifest
from brokersync.provider import HttpResponse, RequestDraft
from brokersync.version import VERSION

# told of each answer that was read to its end, with what was sent for it
Tap: TypeAlias = Callable[[RequestDraft, HttpResponse], None]

USER_AGENT: Final = f"brokersync/{VERSION}"

_HEADERS: Final = {"User-Agent": USER_AGENT, "Accept-Encoding": ACCEPTED_ENCODING}
_HEAD_OF_FILE = 64 * 1024
_KEPT_IN_MEMORY = 1024 * 1024


async def _send_once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from repeating a request on its own, past limits and retry, when a kept connection is dead."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(type(error).__name__) from error


@final
class Wire:
    """Sends requests of one broker; sessions that were given to it are not closed by it."""

    def __init__(
        self, manifest: Manifest, settings: HttpSettings, sessions: Sessions | None, tap: Tap | None = None
    ) -> None:
        self._manifest, self._settings = manifest, settings
        self._sessions, self._owned = sessions or Sessions(), sessions is None
        self._closed, self._tap = False, tap

    async def send(
        self,
        draft: RequestDraft,
        *,
        operation: str,
        shown_url: str,
        spool: bool = False,
        repeatable: bool = True,
        keeps: bool = True,
        total: timedelta | None = None,
        on_sent: OnSent | None = None,
    ) -> HttpResponse:
        """The answer, read to its end, whatever its status. Raises `Failed`."""
        try:
            response = await self._exchange(draft, shown_url, spool=spool, total=total, on_sent=on_sent, keeps=keeps)
        except (*FOREIGN, ValueError, TypeError) as error:
            failed = foreign_error(
                error,
                broker=self._manifest.display_name,
                operation=operation,
                support=self._manifest.support,
                repeatable=repeatable,
            )
        else:
            if self._tap is not None:
                self._tap(draft, response)
            return response
        raise failed  # out here, so that it does not drag the foreign one along, whose text holds the URL

    async def aclose(self) -> None:
        """Close the sessions if they were opened here; nothing can be sent any more."""
        self._closed = True
        if self._owned:
            await self._sessions.aclose()

    async def _exchange(
        self,
        draft: RequestDraft,
        shown_url: str,
        *,
        spool: bool,
        total: timedelta | None,
        on_sent: OnSent | None,
        keeps: bool,
    ) -> HttpResponse:
        own = {name.lower() for name in draft.headers}
        headers = {name: value for name, value in _HEADERS.items() if name.lower() not in own} | draft.headers
        session = self._session(keeps=keeps)
        async with session.request(
            draft.method,
            draft.url,
            params=draft.params,
            headers=headers,
            json=draft.json,
            data=draft.form,
            timeout=self._timeout(total),
            allow_redirects=False,
            raise_for_status=False,
            middlewares=(_send_once,),
            auto_decompress=False,
            trace_request_ctx=on_sent,
        ) as answer:
            return await self._read(answer, shown_url, spool=spool)

    def _session(self, *, keeps: bool) -> aiohttp.ClientSession:
        if not self._closed and not (session := self._sessions.get(keeps=keeps)).closed:
            return session
        raise Failed(
            BrokerConfigError(
                f"{self._manifest.display_name} was asked for something after its connection had been closed.",
                remedy="Open the provider again.",
                fault=Fault.CORE,
            ),
            sent=False,
        )

    def _timeout(self, total: timedelta | None) -> aiohttp.ClientTimeout:
        """A request that may take long may also be silent for as long: the broker works on it."""
        settings = self._settings
        read = settings.read if total is None else max(settings.read, total)
        return aiohttp.ClientTimeout(
            total=(total or settings.total).total_seconds(),
            connect=settings.connect.total_seconds(),
            sock_read=read.total_seconds(),
        )

    async def _read(self, answer: aiohttp.ClientResponse, shown_url: str, *, spool: bool) -> HttpResponse:
        headers: dict[str, str] = {}
        for name, value in answer.headers.items():
            name = name.lower()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        with ExitStack() as on_failure:
            file = None
            if spool:
                file = on_failure.enter_context(_spool())
                body = await self._into_file(answer, file)
            else:
                body = await self._into_memory(answer)
            on_failure.pop_all()
        return HttpResponse(
            status=answer.status, headers=MappingProxyType(headers), body=body, url=shown_url, file=file
        )

    async def _into_memory(self, answer: aiohttp.ClientResponse) -> bytes:
        body = bytearray()

        def write(piece: bytes) -> None:
            self._bound(len(body) + len(piece), self._settings.max_body_bytes, answer)
            body.extend(piece)

        await read_body(answer, self._manifest.display_name, write)
        return bytes(body)

    async def _into_file(self, answer: aiohttp.ClientResponse, file: BinaryIO) -> bytes:
        def write(piece: bytes) -> None:
            self._bound(file.tell() + len(piece), self._settings.max_spooled_bytes, answer)
            _store(file, piece)

        await read_body(answer, self._manifest.display_name, write)
        file.seek(0)
        head = file.read(_HEAD_OF_FILE)
        file.seek(0)
        return head

    def _bound(self, size: int, bound: int, answer: aiohttp.ClientResponse) -> None:
        if size > bound:
            answer.close()
            raise Failed(
                BrokerResponseError(
                    f"{self._manifest.display_name} answered with more than {bound} bytes, which is the bound.",
                    remedy="Ask for less at a time, or raise http.max_body_bytes or http.max_spooled_bytes.",
                    status=answer.status,
                )
            )


def _store(file: BinaryIO, piece: bytes) -> None:
    try:
        file.write(piece)
    except OSError as error:
        why = error.strerror or type(error).__name__
    else:
        return
    raise Failed(
        BrokerConfigError(
            f"An answer could not be kept in a temporary file: {why}.",
            remedy="Make room in the folder for temporary files.",
        )
    )


def _spool() -> BinaryIO:
    return cast("BinaryIO", tempfile.SpooledTemporaryFile(max_size=_KEPT_IN_MEMORY))
