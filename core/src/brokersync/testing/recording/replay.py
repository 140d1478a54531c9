"""A broker that answers from a recording, and says which request it has no answer for."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher
from typing import Any, Final, final
from urllib.parse import parse_qsl, unquote

import attrs
from aiohttp import web

from brokersync.sandboxes import SandboxLogin
from brokersync.testing.recording.recording import ANYTHING, RecordedExchange, Recording
from brokersync.types import BrokerAccount, TimeWindow, TradeRequest

_HOST: Final = re.compile(r"\{\{host:([^}]+)\}\}")
_NOT_RECORDED: Final = 418  # nothing that is tried again, nor anything that a broker means something by


@attrs.frozen(kw_only=True)
class _Asked:
    """A request that came in."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: str

    def __str__(self) -> str:
        shown = "&".join(f"{name}={value}" for name, value in self.query)
        told = f"{self.method} {self.path}" + (f"?{shown}" if shown else "")
        return f"{told} {self.body}" if self.body else told


@final
class ReplayedBroker:
    """A `SimulatedBroker` that knows one recording; `missed` are the requests that it has no answer for, in words.

    Method, host, path, parameters, body and the headers that were recorded have to match; what was secret or made up
    matches anything, and a list in one parameter may come in any order. What was asked several times is answered in the
    order of the recording, and then with the last answer again and again.
    """

    faults: tuple[str, ...] = ()
    demo_faults: tuple[str, ...] = ()

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.missed: list[str] = []
        self._served: Counter[tuple[int, ...]] = Counter()
        counts = Counter(account for reading in recording.readings for account in reading.accounts)
        self.logins: tuple[SandboxLogin, ...] = (
            SandboxLogin(environment=recording.environment, fields=recording.fields, trades=dict.fromkeys(counts, 0)),
        )
        self.operator_fields = recording.operator_fields

    def application(self) -> web.Application:
        """See `SimulatedBroker`."""
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", self._answer)
        return application

    def hosts(self, base_url: str) -> Mapping[str, str]:
        """See `SimulatedBroker`."""
        return {role: base_url + path for role, path in self.recording.hosts.items()}

    def requests(self, accounts: Iterable[BrokerAccount]) -> list[TradeRequest]:
        """What was asked of each source, for these accounts of the login."""
        known = {one.account_id: one for one in accounts}
        return [
            TradeRequest(
                source=one.source,
                window=TimeWindow(one.start, one.end),
                accounts=tuple(known[name] for name in one.accounts if name in known),
            )
            for one in self.recording.readings
        ]

    async def _answer(self, request: web.Request) -> web.Response:
        asked = _Asked(
            method=request.method,
            path=request.rel_url.raw_path,
            query=tuple(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True)),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=(await request.read()).decode("utf-8", "replace"),
        )
        found = tuple(number for number, one in enumerate(self.recording.exchanges) if self._is_asked_for(one, asked))
        if not found:
            self.missed.append(self._told(asked))
            return web.json_response({"not recorded": self.missed[-1]}, status=_NOT_RECORDED)
        turn = min(self._served[found], len(found) - 1)
        self._served[found] += 1
        return self._recorded(self.recording.exchanges[found[turn]], f"http://{request.host}")

    def _recorded(self, one: RecordedExchange, base_url: str) -> web.Response:
        hosts = self.hosts(base_url)

        def here(text: str) -> str:
            return _HOST.sub(lambda found: hosts.get(found[1], found[0]), text)

        headers = {name: here(value) for name, value in one.answer_headers.items()}
        return web.Response(status=one.status, body=here(self.recording.bodies[one.file]).encode(), headers=headers)

    def _is_asked_for(self, one: RecordedExchange, asked: _Asked) -> bool:
        path = self.recording.hosts[one.role] + one.path
        return (
            one.method == asked.method
            and _same_path(path, asked.path)
            and _same_pairs(one.query, asked.query)
            and _same_body(one, asked.body)
            and all(_same(value, asked.headers.get(name.lower(), "")) for name, value in one.headers.items())
        )

    def _told(self, asked: _Asked) -> str:
        """The request, and the one that was recorded and is most like it."""
        told = str(asked)
        shown = [self.recording.hosts[one.role] + str(one).partition(" ")[2] for one in self.recording.exchanges]
        shown = [f"{one.method} {text}" for one, text in zip(self.recording.exchanges, shown, strict=True)]
        nearest = max(shown, key=lambda text: SequenceMatcher(None, text, told).ratio(), default="")
        return f"{told} was not recorded" + (f"; the nearest is {nearest}" if nearest else "")


def _same(recorded: Any, sent: Any) -> bool:
    if recorded in (ANYTHING, sent):
        return True
    if isinstance(recorded, str) and isinstance(sent, str) and "," in recorded:
        return sorted(recorded.split(",")) == sorted(sent.split(","))
    if isinstance(recorded, dict) and isinstance(sent, dict):
        return recorded.keys() == sent.keys() and all(_same(value, sent[name]) for name, value in recorded.items())
    if isinstance(recorded, list) and isinstance(sent, list):
        return len(recorded) == len(sent) and all(map(_same, recorded, sent))
    return False


def _same_path(recorded: str, sent: str) -> bool:
    one, other = recorded.split("/"), sent.split("/")
    return len(one) == len(other) and all(map(_same, map(unquote, one), map(unquote, other)))


def _same_pairs(recorded: tuple[tuple[str, str], ...], sent: tuple[tuple[str, str], ...]) -> bool:
    one, other = sorted(recorded), sorted(sent)
    if [name for name, _ in one] != [name for name, _ in other]:
        return False
    return all(_same(mine, theirs) for (_, mine), (_, theirs) in zip(one, other, strict=True))


def _same_body(one: RecordedExchange, sent: str) -> bool:
    if not one.body:
        return not sent
    if one.body_type == "application/json":
        try:
            return _same(json.loads(one.body), json.loads(sent))
        except ValueError:
            return False
    pairs = [tuple(parse_qsl(text, keep_blank_values=True)) for text in (one.body, sent)]
    return _same_pairs(pairs[0], pairs[1])
