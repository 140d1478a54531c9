"""Requests that are signed: each attempt anew, over all that is sent, and by the clock of the broker."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from brokersync import BrokerSync, get_broker_provider
from brokersync.events import Event, RequestSent
from brokersync.plugin import AuthResult, BrokerAuthError, RequestDraft, Secret
from brokersync.testing import RunningSandbox
from {{ cookiecutter.__package }}.signing import NONCE_HEADER, SECRET, SIGNATURE_HEADER, Signer

from .logins import KEY, connect, log_in
from .stage import Clock, Stage

AUTH = AuthResult(identity="user:1", access_token=Secret("key"), secrets={SECRET: Secret("secret")})


class WrongClock(Clock):
    """As far from the broker's as it is from the right one, with which it goes on."""

    def __init__(self, right: Clock, apart: timedelta) -> None:
        self._right, self._apart = right, apart

    def now(self) -> datetime:
        return self._right.now() + self._apart

    def monotonic(self) -> float:
        return self._right.monotonic()

    def advance(self, by: timedelta) -> None:
        self._right.advance(by)


class Context:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock


def signed(clock: Clock, **changed: Any) -> RequestDraft:
    facts = {"method": "GET", "url": "https://api.acme.test/v1/me", "params": {"b": "2", "a": "1 & 1"}, "headers": {}}
    draft = RequestDraft(**{**facts, "auth": AUTH, **changed})
    context: Any = Context(clock)
    Signer(context).prepare(draft, None)
    return draft


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "POST"},
        {"url": "https://api.acme.test/v1/accounts"},
        {"params": {"b": "2"}},
        {"json": {"a": 1}},
        {"form": {"a": "1"}},
    ],
)
def test_whatever_is_sent_is_in_the_signature(clock: Clock, changed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda _: "the same nonce")
    plain = signed(clock).headers[SIGNATURE_HEADER]

    assert signed(clock).headers[SIGNATURE_HEADER] == plain
    assert signed(clock, **changed).headers[SIGNATURE_HEADER] != plain


def test_each_attempt_has_a_nonce_of_its_own_and_shows_no_secret(clock: Clock) -> None:
    first, second = signed(clock), signed(clock)

    assert first.headers[NONCE_HEADER] != second.headers[NONCE_HEADER]
    assert "secret" not in json.dumps(first.headers)


async def test_a_body_is_signed_as_core_sends_it(sandbox: RunningSandbox, clock: Clock) -> None:
    async with get_broker_provider(KEY, settings=sandbox.settings(), clock=clock) as provider:
        auth = await log_in(provider, sandbox.logins[0])
        for body in ({"name": "Zo\u00eb", "numbers": [1, 2.5, None], "empty": {}}, None):
            answer = await provider.context.http.request(
                "who",
                "POST",
                f"{provider.context.hosts[sandbox.logins[0].environment]}/me",
                params={"z": "a b+c/d", "a": ""},
                json=body,
                auth=auth,
                bearer=False,
                prepare=Signer(provider.context).prepare,
            )
            assert answer.json()["id"] == 1


@pytest.mark.parametrize("apart", [timedelta(minutes=-90), timedelta(seconds=40)])
async def test_a_clock_that_is_wrong_here_is_corrected_by_what_the_broker_says(
    sandbox: RunningSandbox, clock: Clock, tmp_path: Path, apart: timedelta
) -> None:
    wrong, events = WrongClock(clock, apart), list[Event]()
    async with BrokerSync.open(
        tmp_path / "store.db", settings=sandbox.settings(), clock=wrong, events=events.append
    ) as bs:
        await connect(bs, sandbox.logins[0])

    statuses = [event.status for event in events if isinstance(event, RequestSent)]
    assert statuses == [400, 200, 200], "one refusal is enough to know it"


async def test_a_secret_that_is_wrong_is_told_from_a_clock_that_is(stage: Stage) -> None:
    with pytest.raises(BrokerAuthError) as caught:
        await connect(stage.bs, stage.sandbox.logins[0], api_secret="another")
    assert caught.value.code == "bad_signature"
