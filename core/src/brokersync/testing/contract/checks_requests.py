"""The check that a plugin asks as it did when its author last looked."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from brokersync.redaction import redact_text
from brokersync.testing.contract.base import ContractBase
from brokersync.testing.contract.expecting import expect
from brokersync.testing.fault_server import Sent

_NOT_THE_PLUGINS = frozenset(
    {"accept", "accept-encoding", "connection", "content-length", "host", "user-agent", "content-type"}
)


class RequestChecks(ContractBase):
    """Of what is sent."""

    async def test_requests_are_as_they_were(self) -> None:
        """Method, path, parameters, headers and body of a login and a reading, as `requests_file` keeps them."""
        if self.requests_file is None:
            self.cannot_try("no `requests_file` is set")
        async with self.stage() as stage:
            await self.readings(stage)
            sent = [_shown(exchange.sent, stage.secrets) for exchange in stage.server.exchanges]
        if self.writes:
            self.requests_file.write_text("".join(f"{json.dumps(one, ensure_ascii=False)}\n" for one in sent))
        expect(self.requests_file.exists(), f"there is no {self.requests_file}; --contract-write writes it")
        kept = [json.loads(line) for line in self.requests_file.read_text(encoding="utf-8").splitlines()]
        name = self.requests_file.name
        expect(not self.writes, f"{name} was written; look at it, and run without --contract-write")
        for number, (mine, theirs) in enumerate(zip(sent, kept, strict=False), 1):
            expect(
                mine == theirs, f"request {number} is {mine}, and {name} has {theirs}; --contract-write writes it anew"
            )
        expect(len(sent) == len(kept), f"{len(sent)} requests are made, and {name} has {len(kept)}")


def _shown(sent: Sent, secrets: Iterable[str]) -> dict[str, Any]:
    """A request without secrets, and without what is not the plugin's own."""
    hidden = list(secrets)

    def shown(text: str) -> str:
        return redact_text(text, hidden)

    body = sent.body.decode("utf-8", "replace")
    headers = {name: shown(value) for name, value in sorted(sent.headers.items()) if name not in _NOT_THE_PLUGINS}
    told: dict[str, Any] = {"method": sent.method, "path": shown(sent.path)}
    if sent.query:
        told["query"] = [[name, shown(value)] for name, value in parse_qsl(sent.query, keep_blank_values=True)]
    if headers:
        told["headers"] = headers
    if body:
        told["body"] = shown(body)
    return told
