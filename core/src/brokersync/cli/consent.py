"""Logging in at the broker's own page, from a terminal."""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import parse_qsl, quote, urlsplit

from cyclopts import Parameter

from brokersync.cli.common import Owned, note

if TYPE_CHECKING:
    from brokersync.cli.callback import Callback
    from brokersync.config import Settings
    from brokersync.consents import OpenConsent
    from brokersync.manifest import Manifest
    from brokersync.records import Connection
    from brokersync.service import BrokerSync
    from brokersync.types import Challenge

    Asking = Callable[[Challenge], Awaitable[dict[str, str]]]

_USUAL_TIME: Final = timedelta(minutes=10)
_A_FREE_PORT: Final = "http://127.0.0.1:0/"


@Parameter(name="*", group="The broker's own page")
@dataclass(frozen=True)
class Page:
    """Options of a login at the broker's own page."""

    oauth: Annotated[bool, Parameter(help="Log in at the broker's own page, in a browser.", negative="")] = False
    redirect_uri: Annotated[
        str | None,
        Parameter(
            help="Where the broker sends the browser back to, as you registered it. Else that of the configuration, or "
            "a free port of http://127.0.0.1/. Of another machine you are asked to paste the answer."
        ),
    ] = None
    browser: Annotated[bool, Parameter(help="Whether the page is opened, or its address only written.")] = True

    def used_for(self, manifest: Manifest) -> bool:
        """Whether the user logs in there: where they said so, or there is no other way."""
        return self.oauth or manifest.only_consents

    async def log_in(
        self, bs: BrokerSync, broker: str, begin: Callable[[str], Awaitable[OpenConsent]], common: Owned
    ) -> Connection:
        """Send the user to the page, wait for what comes back, and keep the login. Raises `BrokerError`."""
        async with self._callback(bs.settings, broker) as (uri, callback):
            return await _steps(bs, await begin(uri), callback, common.owner, opens=self.browser)

    @asynccontextmanager
    async def asking(self, settings: Settings, broker: str) -> AsyncIterator[tuple[str, Asking]]:
        """Where the browser is sent back to, and who asks the user, for a login that nobody keeps."""
        async with self._callback(settings, broker) as (uri, callback):
            yield uri, lambda challenge: _answers(_opened(challenge, broker), callback, opens=self.browser)

    @asynccontextmanager
    async def _callback(self, settings: Settings, broker: str) -> AsyncIterator[tuple[str, Callback | None]]:
        from brokersync.hosts import is_this_machine

        uri = self.redirect_uri or settings.broker(broker).redirect_uri or _A_FREE_PORT
        if not is_this_machine(uri):
            yield uri, None
            return
        from brokersync.cli.callback import listening  # the HTTP stack costs 150 ms that no other command pays

        async with listening(uri) as callback:
            yield callback.uri, callback


async def _steps(
    bs: BrokerSync, step: Connection | OpenConsent, callback: Callback | None, owner: str, *, opens: bool
) -> Connection:
    from brokersync.consents import OpenConsent

    while isinstance(step, OpenConsent):
        answers = await _answers(step, callback, opens=opens)
        step = await bs.finish_consent(step.consent_id, answers, owner=owner)
    return step


async def _answers(step: OpenConsent, callback: Callback | None, *, opens: bool) -> dict[str, str]:
    note(f"\n{step.message}")
    answers = {name: _asked(f"{question}\n{name}: ") for name, question in step.fields.items()}
    if step.url is not None:
        answers |= await _from_the_page(step, step.url, callback, opens=opens)
    return answers


def _opened(challenge: Challenge, broker: str) -> OpenConsent:
    """A challenge as a backend has it, which keeps none."""
    from brokersync.consents import OpenConsent

    told = challenge.state.get("state")
    return OpenConsent(
        consent_id="" if told is None else told.reveal(),
        provider=broker,
        kind=challenge.kind,
        message=challenge.message,
        url=challenge.url,
        fields=challenge.fields,
        expires_at=challenge.expires_at or datetime.now(UTC) + _USUAL_TIME,
    )


async def _from_the_page(step: OpenConsent, url: str, callback: Callback | None, *, opens: bool) -> dict[str, str]:
    # not through `note`, which would break it where the terminal ends
    sys.stderr.write(f"Open this address in a browser:\n\n{url}\n\n")
    sys.stderr.flush()
    if opens:
        # some browsers are waited for until they are closed, and nobody has to close one for this to go on
        Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    if step.kind != "browser":
        _asked("Press Enter when you have done what it asks: ")
        return {}
    if callback is None:
        pasted = _asked("Paste the address that the browser ended at: ")
        return dict(parse_qsl(urlsplit(pasted).query))
    left = step.expires_at - datetime.now(UTC)
    note(f"Waiting for the answer until {step.expires_at.astimezone():%H:%M} ...")
    state = step.consent_id if step.consent_id and quote(step.consent_id) in url else ""
    return await callback.answer(state, left)


def _asked(prompt: str) -> str:
    sys.stderr.write(prompt)
    sys.stderr.flush()
    return sys.stdin.readline().strip()
