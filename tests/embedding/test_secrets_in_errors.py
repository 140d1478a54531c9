"""A plugin that puts a secret into its errors gives it away nowhere: core takes out what it knows."""

from __future__ import annotations

import io
import json
import logging
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import attrs
import pytest

from brokersync.errors import (
    BrokerAPIError,
    BrokerAuthError,
    BrokerError,
    BrokerTokenExpiredError,
    BrokerUnavailableError,
)
from brokersync.logs import log_events
from brokersync.plugin import AuthResult, Secret

from .broker import KEY, MANIFEST, NOW, Broker, Credentials, Desk, open_desk

PASSWORD = """
[[user_fields]]
name = "password"
label = "Password"
help = "Any."
secret = true

[[sources]]"""
WITH_PASSWORD = MANIFEST.replace("[[sources]]", PASSWORD.strip())
CANARIES = ("canary-password-1", "canary-access-2", "canary-refresh-3", "canary-other-4", "canary-renewed-5")
SAID = "server echoed " + ", ".join(CANARIES)
ERRORS: dict[str, Callable[[], Exception]] = {
    "unavailable": lambda: BrokerUnavailableError(SAID),
    "refused": lambda: BrokerAPIError(SAID, remedy=SAID, code=SAID),
    "no login": lambda: BrokerAuthError(SAID),
    "token expired": lambda: BrokerTokenExpiredError(SAID),
    "foreign": lambda: ValueError(SAID),
}


@attrs.frozen(kw_only=True)
class PasswordToo(Credentials):
    password: Secret


def _login(user: str) -> AuthResult:
    return AuthResult(
        identity=user,
        access_token=Secret(CANARIES[1]),
        refresh_token=Secret(CANARIES[2]),
        secrets={"other": Secret(CANARIES[3])},
        expires_at=NOW + timedelta(hours=1),
    )


def _fail(error: Exception) -> None:
    raise error


def _renewed(auth: AuthResult) -> AuthResult:
    return attrs.evolve(auth, access_token=Secret(CANARIES[4]), expires_at=NOW + timedelta(hours=9))


def _fails_at(place: str, desk: Desk, kind: str) -> None:
    broker, raised = desk.broker, ERRORS[kind]
    broker.renewal = _renewed
    if place != "after a renewal amid a request":
        desk.clock.advance(hours=2)  # so that a run begins with a renewal
    if place == "in a renewal":
        broker.renewal = lambda auth: _fail(raised())  # type: ignore[assignment,return-value]  # it does not return
    elif place == "in a request":
        broker.failing = lambda user: raised()
    elif place == "after a renewal amid a request":
        broker.failing = lambda user: raised() if broker.renewals else BrokerTokenExpiredError("dead")
    elif place == "between pages":
        broker.pages = 2
        broker.on_page = lambda number: _fail(raised()) if number else None


async def _run(desk: Desk) -> str:
    """What a run gives, or all that its error shows."""
    (connection,) = await desk.bs.connections("alice")
    try:
        return repr(await desk.bs.run(connection.connection_id))
    except BrokerError as error:
        return "\n".join((str(error), repr(error), json.dumps(error.describe()), *traceback.format_exception(error)))


async def _kept_and_told(desk: Desk) -> str:
    (connection,) = await desk.bs.connections("alice")
    logger, log = logging.getLogger("canaries"), io.StringIO()
    logger.addHandler(handler := logging.StreamHandler(log))
    logger.setLevel(logging.DEBUG)
    for event in desk.events:
        log_events(logger)(event)
    logger.removeHandler(handler)
    report = repr(await desk.bs.last_report(connection.connection_id))
    export = [line async for line in desk.bs.export("alice")]
    return "\n".join((repr(connection), repr(desk.events), log.getvalue(), report, *export))


def _files(folder: Path) -> str:
    return "".join(file.read_bytes().decode("latin1") for file in folder.iterdir())


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("place", ["in a renewal", "in a request", "after a renewal amid a request", "between pages"])
async def test_a_secret_in_an_error_is_shown_and_kept_nowhere(tmp_path: Path, place: str, kind: str) -> None:
    desk = open_desk(tmp_path, Broker(login=_login), manifest=WITH_PASSWORD, credentials=PasswordToo)
    async with desk.bs as bs:
        await bs.connect(KEY, owner="alice", fields={"user": "me", "password": CANARIES[0]})
        _fails_at(place, desk, kind)
        shown = await _run(desk) + await _kept_and_told(desk)
    shown += _files(tmp_path)
    known = CANARIES if place != "in a renewal" else CANARIES[:4]  # the fifth is not made there
    assert not [canary for canary in known if canary in shown]
    assert "***" in shown or kind in ("foreign", "token expired")


@pytest.mark.parametrize("kind", ERRORS)
async def test_a_login_that_fails_shows_no_secret(tmp_path: Path, kind: str) -> None:
    desk = open_desk(tmp_path, manifest=WITH_PASSWORD, credentials=PasswordToo)
    desk.broker.login = lambda user: _fail(ERRORS[kind]())  # type: ignore[assignment,return-value]  # it does not return
    async with desk.bs as bs:
        with pytest.raises(BrokerError) as caught:
            await bs.connect(KEY, owner="alice", fields={"user": "me", "password": CANARIES[0]})
    shown = "".join((repr(caught.value), repr(caught.value.describe()), *traceback.format_exception(caught.value)))
    assert CANARIES[0] not in shown
    assert "***" in shown
