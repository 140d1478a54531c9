"""What core keeps of a login that its user made at the broker's page, and how it is renewed."""

from __future__ import annotations

from datetime import datetime

import attrs

from brokersync.plugin import AuthResult, BrokerInteractionRequiredError, Challenge
from {{ cookiecutter.__package }}.client import {{ cookiecutter.__class }}Client
from {{ cookiecutter.__package }}.credentials import {{ cookiecutter.__class }}Credentials
from {{ cookiecutter.__package }}.normalise import identity_of
from {{ cookiecutter.__package }}.oauth import OAuth
from {{ cookiecutter.__package }}.refusals import BROKER
from {{ cookiecutter.__package }}.tokens import Tokens

_UNKNOWN = "not known yet"


async def log_in(
    client: {{ cookiecutter.__class }}Client,
    credentials: {{ cookiecutter.__class }}Credentials,
) -> AuthResult:
    """Always raises: nothing is kept that a login could be made with, so its user is asked."""
    message = f"Users of {BROKER} log in at its own page."
    raise BrokerInteractionRequiredError(
        message,
        challenge=Challenge(kind="browser", message=message),
        remedy="Log in there: `brokersync connect --oauth`, or `begin_consent` of a backend.",
    )


async def consented(client: {{ cookiecutter.__class }}Client, tokens: Tokens) -> AuthResult:
    """A login under the name of its user, whom the tokens themselves do not tell."""
    auth = _with(tokens, AuthResult(identity=_UNKNOWN), client.context.clock.now())
    return attrs.evolve(auth, identity=identity_of(await client.who(auth)))


async def renew(client: {{ cookiecutter.__class }}Client, auth: AuthResult) -> AuthResult:
    """The same login with new tokens. Raises `BrokerTokenExpiredError` when only its user can help.

    Core sees to it that nobody else renews this login meanwhile, and stores the answer before it is used.
    """
    return _with(await OAuth(client).refresh(auth), auth, client.context.clock.now())


def _with(tokens: Tokens, auth: AuthResult, now: datetime) -> AuthResult:
    """What an answer does not name stays as it was."""
    ends = auth.grant_expires_at
    if tokens.refresh_token is not None and tokens.refresh_expires_in is not None:
        ends = now + tokens.refresh_expires_in
    return attrs.evolve(
        auth,
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token or auth.refresh_token,
        expires_at=now + tokens.expires_in,
        grant_expires_at=ends,
    )
