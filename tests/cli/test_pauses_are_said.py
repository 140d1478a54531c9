"""A broker that wants a pause: whoever waits at a terminal is told why and until when, and nothing fails."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from brokersync.cli.progress import words_of
from brokersync.events import RequestSent, ScopeFrozen, SyncDeferred
from brokersync_ibkr import codes

from .conftest import Sandbox

UNTIL = datetime(2026, 3, 2, 8, 4, 33, tzinfo=UTC)
FROZEN = ScopeFrozen(scope="credential", until=UNTIL, reason="BrokerRateLimitError of send_request")


@pytest.mark.parametrize("sandbox", ["ibkr"], indirect=True)
def test_connecting_again_at_once_waits_and_says_so(
    brokersync: Callable[..., Any], sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = codes._CODES["1018"]
    at_once = attrs.evolve(refusal, facts={**refusal.facts, "retry_after": timedelta(seconds=0.1)})
    monkeypatch.setattr(codes, "_CODES", {**codes._CODES, "1018": at_once})
    fault = json.dumps({"fault": "too_many_requests", "times": 1}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{sandbox.facts['base_url']}/_sandbox/faults", fault)):
        pass
    told = tmp_path / "fields.json"
    told.write_text(json.dumps(sandbox.login))
    answer = brokersync(
        "connect", "ibkr", "--fields-from", told, "--environment", sandbox.environment, "--config", sandbox.config
    )
    assert answer.code == 0, answer
    said = " ".join(answer.err.split())
    assert "ibkr had too many requests just now. This goes on by itself at " in said


def test_a_sync_that_waits_for_a_pause_says_what_the_broker_said() -> None:
    ours = "The limits of ibkr let send_request go in 10.0 seconds."
    waits = SyncDeferred(until=UNTIL, reason=ours)
    said = "waits until 08:04:33: the broker had too many requests"
    assert words_of(FROZEN, None) == words_of(waits, FROZEN) == said
    later = attrs.evolve(waits, until=UNTIL + timedelta(minutes=5))
    assert words_of(later, FROZEN) == f"waits until 08:09:33: {ours}"
    assert words_of(waits, None) == f"waits until 08:04:33: {ours}"
    assert (
        words_of(RequestSent(operation="x", url="", attempt=1, status=200, duration=timedelta(0)), FROZEN)
        == "reading x"
    )
