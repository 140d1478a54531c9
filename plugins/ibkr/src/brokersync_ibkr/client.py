"""The two requests of the Flex Web Service, version 3: order a statement, fetch a statement."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from io import SEEK_END, BytesIO
from typing import BinaryIO, Final

import attrs

from brokersync.plugin import (
    AuthResult,
    BrokerAuthError,
    BrokerError,
    BrokerResponseError,
    BrokerUnavailableError,
    HttpResponse,
    ProviderContext,
    RequestDraft,
    Secret,
)
from brokersync_ibkr.codes import NO_STATEMENT, PENDING, REFERENCE_GONE, service_error
from brokersync_ibkr.coverage import Days
from brokersync_ibkr.diagnosis import bad_answer
from brokersync_ibkr.guidance import REPORT_REMEDY
from brokersync_ibkr.payloads import BodyKind, FlexSyntaxError, ServiceAnswer, kind_of, service_answer

HOST_ROLE: Final = "flex"
_VERSION = "3"  # without it the service takes the request for one of version 2
_FETCH_PATH = "/GetStatement"
_PATH_END = "/FlexWebService"
_FETCHING_TAKES_AT_MOST = timedelta(minutes=10)
_TAIL = 256
_OK = 200
_PASSED_ON = PENDING | {REFERENCE_GONE, NO_STATEMENT}


@attrs.frozen(kw_only=True)
class Ordered:
    """A statement on order; `base` is where the service says to fetch it, and is not trusted yet.

    Of an address that is of no use it is the host, if that is not allowed.
    """

    reference: str
    base: str | None


@attrs.frozen(kw_only=True)
class Fetched:
    """The statement, which the caller closes; or the code that says why there is none."""

    file: BinaryIO | None = None
    code: str = ""


class FlexClient:
    """The service's requests; it holds nothing of any user. The token is put in per attempt and is never shown."""

    def __init__(self, context: ProviderContext) -> None:
        self._context = context

    async def check_login(self, token: Secret, query_id: str, days: Days) -> Ordered:
        """Order a statement with a token that is not known to be good."""

        def prepare(draft: RequestDraft, _: BrokerError | None) -> None:
            draft.params["t"] = token.reveal().strip()

        return await self._order(query_id, days, prepare, auth=None, token=token)

    async def order(self, auth: AuthResult, query_id: str, days: Days) -> Ordered:
        """Order a statement over these days; again orders another one, which is harmless."""
        return await self._order(query_id, days, _put_token, auth=auth, token=auth.access_token)

    async def _order(
        self,
        query_id: str,
        days: Days,
        prepare: Callable[[RequestDraft, BrokerError | None], None],
        *,
        auth: AuthResult | None,
        token: Secret | None,
    ) -> Ordered:
        # the period saved with a query can not be relied on, so the days are always named
        response = await self._context.http.request(
            "send_request",
            "GET",
            f"{self._context.hosts[HOST_ROLE]}/SendRequest",
            params={"q": query_id, "v": _VERSION, "fd": f"{days.first:%Y%m%d}", "td": f"{days.last:%Y%m%d}"},
            auth=auth,
            credential=_metered(token),
            bearer=False,
            prepare=prepare,
            check=_check_order,
        )
        answer = _answer(response)
        return Ordered(reference=answer.reference or "", base=_base_of(answer.url) or self._refused_host(answer.url))

    def _refused_host(self, url: str | None) -> str | None:
        """The host of an address with another path, if it is not allowed, so that the user can be told of it."""
        host = f"https://{_host_of(url)}" if url else None
        try:
            if host is not None:
                self._context.hosts.accept(HOST_ROLE, host)
        except BrokerResponseError:
            return host
        return None

    async def fetch(self, auth: AuthResult, reference: str, base: str | None = None) -> Fetched:
        """The statement behind a reference code, if it is ready. `base` leads to another host than the usual one."""
        response = await self._context.http.request(
            "get_statement",
            "GET",
            f"{base or self._context.hosts[HOST_ROLE]}{_FETCH_PATH}",
            params={"q": reference, "v": _VERSION},
            auth=auth,
            credential=_metered(auth.access_token),
            bearer=False,
            prepare=_put_token,
            check=_check_statement,
            spool=True,
            total_timeout=_FETCHING_TAKES_AT_MOST,
        )
        file = _file_of(response)
        if kind_of(response.body) is BodyKind.STATEMENT:
            return Fetched(file=file)
        file.close()
        return Fetched(code=_answer(response).code or "")


def _metered(token: Secret | None) -> str | None:
    """What the limits count by: IBKR counts by token, and one token may run the queries of several connections."""
    return sha256(token.reveal().strip().encode()).hexdigest() if token else None


def _put_token(draft: RequestDraft, _: BrokerError | None) -> None:
    token = draft.auth.access_token if draft.auth else None
    if token is None:
        raise BrokerAuthError("There is no token of the Flex Web Service.")
    draft.params["t"] = token.reveal().strip()


def _check_order(response: HttpResponse) -> None:
    if kind_of(response.body) is BodyKind.SERVICE:
        answer = _answer(response)
        if answer.code is not None:
            raise service_error(answer.code, answer.message)
        if answer.reference is None or not answer.reference.isalnum():
            raise BrokerResponseError("IBKR's Flex service gave no reference code.", remedy=REPORT_REMEDY)
    elif response.status == _OK:
        raise bad_answer(response.body)


def _check_statement(response: HttpResponse) -> None:
    kind = kind_of(response.body)
    if kind is BodyKind.SERVICE:
        answer = _answer(response)
        if answer.code is None:
            raise BrokerResponseError("IBKR's Flex service gave neither a statement nor a code.", remedy=REPORT_REMEDY)
        if answer.code not in _PASSED_ON:
            raise service_error(answer.code, answer.message)
    elif response.status != _OK:
        return  # core knows what such a status means
    elif kind is not BodyKind.STATEMENT:
        raise bad_answer(response.body)
    elif _is_cut_off(response):
        raise BrokerUnavailableError("IBKR's statement was cut off on its way.")


def _answer(response: HttpResponse) -> ServiceAnswer:
    try:
        return service_answer(response.body)
    except FlexSyntaxError as error:
        raise BrokerResponseError(
            f"IBKR's Flex service gave an answer that can not be read. {error.message}", remedy=REPORT_REMEDY
        ) from None


def _file_of(response: HttpResponse) -> BinaryIO:
    if response.file is None:
        return BytesIO(response.body)
    response.file.seek(0)
    return response.file


def _is_cut_off(response: HttpResponse) -> bool:
    file = _file_of(response)
    size = file.seek(0, SEEK_END)
    file.seek(max(0, size - _TAIL))
    tail = file.read().replace(b"\0", b"")
    file.seek(0)
    return b"</FlexQueryResponse" not in tail


def _host_of(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]


def _base_of(url: str | None) -> str | None:
    """The base URL of the address to fetch from, if it is a plain one with the only path that is known."""
    base, found, rest = (url or "").partition(_FETCH_PATH)
    plain = found and not rest and not set("?#@") & set(base)
    return base if plain and base.endswith(_PATH_END) else None
