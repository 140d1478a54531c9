"""Steps of a login that are not a browser's: what is asked for, and when the user says that it is done."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from brokersync.cli.common import Owned
from brokersync.cli.consent import Page
from brokersync.consents import OpenConsent

LATER = datetime.now(UTC) + timedelta(minutes=5)
DEVICE = OpenConsent(
    consent_id="c-1",
    provider="toy",
    kind="device",
    message="Enter the code ABCD.",
    url="https://toy.example/device",
    fields={},
    expires_at=LATER,
)
CODE = OpenConsent(
    consent_id="c-2",
    provider="toy",
    kind="code",
    message="Look at your phone.",
    url=None,
    fields={"code": "The code that it shows."},
    expires_at=LATER,
)


async def test_a_code_of_a_device_and_one_of_a_phone_are_asked_for_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[tuple[str, Mapping[str, str]]] = []

    async def finish(consent_id: str, answers: Mapping[str, str], *, owner: str) -> Any:
        given.append((consent_id, answers))
        return CODE if consent_id == "c-1" else "connected"

    async def begin(uri: str) -> OpenConsent:
        assert uri.startswith("http://127.0.0.1:")
        return DEVICE

    bs: Any = SimpleNamespace(
        finish_consent=finish, settings=SimpleNamespace(broker=lambda _: SimpleNamespace(redirect_uri=None))
    )
    monkeypatch.setattr("sys.stdin", io.StringIO("\n123456\n"))
    done: Any = await Page(browser=False).log_in(bs, "toy", begin, Owned())

    assert done == "connected"
    assert given == [("c-1", {}), ("c-2", {"code": "123456"})]
    shown = capsys.readouterr().err
    assert "https://toy.example/device" in shown
    assert "The code that it shows." in shown
