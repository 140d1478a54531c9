"""What is asked of the simulated Tradovate, told from the request that asks it."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from aiohttp import web

from brokersync_tradovate.sandbox_hosts import PREFIXES, Host, named_host
from brokersync_tradovate.sandbox_oauth import form_of
from brokersync_tradovate.sandbox_wire import Row, load_object


@attrs.frozen(kw_only=True)
class Call:
    """A request to one of the hosts."""

    host: Host
    by_name: bool
    operation: str
    path: str
    query: Mapping[str, str]
    body: Row
    token: str | None
    remote: str


def operation_of(request: web.Request) -> str:
    """Its name, in lower case because paths are the same in any."""
    return f"{request.match_info['entity']}/{request.match_info['operation']}".lower()


def host_of(request: web.Request) -> Host | None:
    """Whom it asks: by the prefix of the path, else by name."""
    if "host" in request.match_info:
        return PREFIXES.get(request.match_info["host"])
    return named_host(request.host)


async def call_of(request: web.Request, host: Host, token: str | None) -> Call:
    """The whole of it. Raises `RefusedError` for a body that is none."""
    is_form = request.content_type == "application/x-www-form-urlencoded"
    return Call(
        host=host,
        by_name="host" not in request.match_info,
        operation=operation_of(request),
        path=str(request.rel_url),
        query=request.query,
        body=form_of(await request.post()) if is_form else load_object(await request.text()),
        token=token,
        remote=request.remote or "",
    )
