"""How the tests log in at the sandbox."""

from __future__ import annotations

from typing import Any

from brokersync import BrokerSync, Connection
from brokersync.plugin import AuthResult, SandboxLogin, Secret
from {{ cookiecutter.__package }}.credentials import {{ cookiecutter.__class }}Credentials

KEY = "{{ cookiecutter.key }}"
OWNER = "me"
# what the broker refuses, and what its user is told
WRONG = {"api_key": "an-invented-key"}, "does not accept this API key"


async def connect(bs: BrokerSync, login: SandboxLogin, **changed: str) -> Connection:
    """As a backend does it, with some of the user's fields changed."""
    fields = {**login.fields, **changed}
    return await bs.connect(KEY, owner=OWNER, fields=fields, environment=login.environment)


async def log_in(provider: Any, login: SandboxLogin) -> AuthResult:
    """As core does it; `provider` is what `get_broker_provider` gives."""
    api_key = Secret(login.fields["api_key"])
    auth: AuthResult = await provider.authenticate({{ cookiecutter.__class }}Credentials(api_key=api_key))
    return auth
