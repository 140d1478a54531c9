"""What went over the wire in one session: every request as it was sent, and every answer to its end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import attrs

from brokersync.hosts import HostMap
from brokersync.provider import HttpResponse, RequestDraft
from brokersync.types import TradeRequest


@attrs.frozen(kw_only=True)
class Exchanged:
    """One request and its answer. `role` is that of the host, and `path` what follows the role's base URL."""

    method: str
    role: str
    path: str
    query: str = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: str = attrs.field(repr=False)
    body_type: str
    status: int
    answer_headers: Mapping[str, str] = attrs.field(repr=False)
    answer: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Session:
    """A whole session as it was, with everything private in it: it is never written anywhere.

    `hosts` are the broker's base URLs by role, `fields` and `operator_fields` what was given, `secrets` what must be
    nowhere, and `requests` what was asked of each source. With `consent` its user logged in at the broker's own page.
    """

    key: str
    environment: str
    at: datetime
    hosts: Mapping[str, str]
    exchanges: tuple[Exchanged, ...] = attrs.field(repr=False)
    fields: Mapping[str, str] = attrs.field(repr=False)
    operator_fields: Mapping[str, str] = attrs.field(repr=False)
    secrets: tuple[str, ...] = attrs.field(repr=False)
    requests: tuple[TradeRequest, ...] = attrs.field(repr=False)
    consent: bool = False


class Tape:
    """Takes down what core sends for one provider; give `take` to `open_provider` as `tap`."""

    def __init__(self) -> None:
        self.hosts: HostMap | None = None
        self.exchanges: list[Exchanged] = []

    def take(self, draft: RequestDraft, response: HttpResponse) -> None:
        """An answer that was read to its end, and what was sent for it."""
        role, path, query = self._place(draft.url)
        body, body_type = _body_of(draft)
        self.exchanges.append(
            Exchanged(
                method=draft.method,
                role=role,
                path=path,
                query="&".join(filter(None, (query, urlencode(draft.params)))),
                headers=dict(draft.headers),
                body=body,
                body_type=body_type,
                status=response.status,
                answer_headers=dict(response.headers),
                answer=_whole(response),
            )
        )

    def _place(self, url: str) -> tuple[str, str, str]:
        assert self.hosts is not None, "the hosts are told before anything is sent"
        role, base = self.hosts.role_of(url)
        parts = urlsplit(url)
        return role, parts.path.removeprefix(urlsplit(base).path), parts.query


def _body_of(draft: RequestDraft) -> tuple[str, str]:
    if draft.json is not None:
        return json.dumps(draft.json), "application/json"
    if draft.form is not None:
        return urlencode(draft.form), "application/x-www-form-urlencoded"
    return "", ""


def _whole(response: HttpResponse) -> bytes:
    """The body of an answer that may lie in a file, which is left as it was."""
    file: Any = response.file
    if file is None:
        return response.body
    file.seek(0)
    body: bytes = file.read()
    file.seek(0)
    return body
