"""Logging in at the broker's own page, from a terminal."""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import parse_qsl, quote, urlsplit

from cyclopts import Parameter

from brokersync.cli.common import Owned, note

if TYPE_CHECKING:
    from brokersync.cli.callback import Callback
    from brokersync.consents import OpenConsent
    from brokersync.manifest import Manifest
    from brokersync.records import Connection
    from brokersync.service import BrokerSync

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
        return self.oauth or (manifest.consents and len(manifest.auth) == 1)

    async def log_in(
        self, bs: BrokerSync, broker: str, begin: Callable[[str], Awaitable[OpenConsent]], common: Owned
    ) -> Connection:
        """Send the user to the page, wait for what comes back, and keep the login. Raises `BrokerError`."""
        from brokersync.hosts import is_this_machine

        uri = self.redirect_uri or bs.settings.broker(broker).redirect_uri or _A_FREE_PORT
        if not is_this_machine(uri):
            return await _steps(bs, await begin(uri), None, common.owner, opens=self.browser)
        from brokersync.cli.callback import listening  # the HTTP stack costs 150 ms that no other command pays

        async with listening(uri) as callback:
            return await _steps(bs, await begin(callback.uri), callback, common.owner, opens=self.browser)


async def _steps(
    bs: BrokerSync, step: Connection | OpenConsent, callback: Callback | None, owner: str, *, opens: bool
) -> Connection:
    from brokersync.consents import OpenConsent

    while isinstance(step, OpenConsent):
        note(f"\n{step.message}")
        answers = {name: _asked(f"{question}\n{name}: ") for name, question in step.fields.items()}
        if step.url is not None:
            answers |= await _from_the_page(step, step.url, callback, opens=opens)
        step = await bs.finish_consent(step.consent_id, answers, owner=owner)
    return step


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
    state = step.consent_id if quote(step.consent_id) in url else ""
    return await callback.answer(state, left)


def _asked(prompt: str) -> str:
    sys.stderr.write(prompt)
    sys.stderr.flush()
    return sys.stdin.readline().strip()
