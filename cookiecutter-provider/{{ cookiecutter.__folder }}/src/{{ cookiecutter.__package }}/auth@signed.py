"""A login with a key and a secret: each request is signed with them, and nobody but the user can renew them."""

from __future__ import annotations

import attrs

from brokersync.plugin import AuthResult, BrokerTokenExpiredError
from {{ cookiecutter.__package }}.client import {{ cookiecutter.__class }}Client
from {{ cookiecutter.__package }}.credentials import {{ cookiecutter.__class }}Credentials
from {{ cookiecutter.__package }}.normalise import identity_of
from {{ cookiecutter.__package }}.signing import SECRET

_UNKNOWN = "not known yet"


async def log_in(
    client: {{ cookiecutter.__class }}Client,
    credentials: {{ cookiecutter.__class }}Credentials,
) -> AuthResult:
    """The pair under the name of whom it belongs to. Raises `BrokerAuthError` for a pair that is none."""
    auth = AuthResult(identity=_UNKNOWN, access_token=credentials.api_key, secrets={SECRET: credentials.api_secret})
    return attrs.evolve(auth, identity=identity_of(await client.who(auth)))


async def renew(client: {{ cookiecutter.__class }}Client, auth: AuthResult) -> AuthResult:
    """Always raises: core then asks with the user's key and secret whether they are still good."""
    raise BrokerTokenExpiredError("An API key can not be renewed.")
