"""A login at the broker's own page, as it is recorded and as it is replayed: the page itself is no part of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import parse_qs, urlsplit

import attrs

from brokersync.factory import make_credentials
from brokersync.managed import ManagedProvider
from brokersync.registry import LoadedProvider
from brokersync.types import AuthResult, Challenge

_CODE: Final = "a-code-of-the-recording"
_REDIRECT_URI: Final = "http://127.0.0.1:8765/"


@attrs.frozen
class AtThePage:
    """Where the user's browser is sent back to, and what it comes back with from the page of a challenge.

    `secrets` are what nobody else may see of it, as far as the login has come.
    """

    redirect_uri: str
    ask: Callable[[Challenge], Awaitable[Mapping[str, str]]]
    secrets: list[str] = attrs.field(factory=list, repr=False)

    async def log_in(self, provider: ManagedProvider, loaded: LoadedProvider, fields: Mapping[str, str]) -> AuthResult:
        """The login that the plugin makes of the user's answers."""
        credentials = make_credentials(loaded, fields, consent=True)
        step: AuthResult | Challenge = await provider.begin_consent(credentials, self.redirect_uri)
        while isinstance(step, Challenge):
            kept = (value.reveal() for value in step.state.values())
            self.secrets.extend(value for value in kept if value != self.redirect_uri)
            answers = await self.ask(step)
            self.secrets.extend(value for name, value in answers.items() if name != "error")
            step = await provider.complete_consent(step, answers)
        return step


def replayed_page() -> AtThePage:
    """A user who allows everything, at a broker that answers from a recording."""

    async def allow(challenge: Challenge) -> Mapping[str, str]:
        return page_of_recording(challenge.url)

    return AtThePage(_REDIRECT_URI, allow)


def page_of_recording(url: str | None) -> dict[str, str]:
    """What the page at an address sends its user back with: a code that a recording takes, like any other."""
    told = parse_qs(urlsplit(url or "").query).get("state")
    return {"code": _CODE, **({"state": told[0]} if told else {})}
