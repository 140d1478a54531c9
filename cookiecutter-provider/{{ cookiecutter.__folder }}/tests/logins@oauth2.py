"""How the tests log in at the sandbox."""

from __future__ import annotations

from typing import Any

from brokersync import BrokerSync, Connection
from brokersync.plugin import AuthResult, SandboxLogin
from brokersync.testing import answer_page
from {{ cookiecutter.__package }}.credentials import {{ cookiecutter.__class }}Credentials

KEY = "{{ cookiecutter.key }}"
OWNER = "me"
# where the broker sends its answer
CALLBACK = "http://127.0.0.1:8765/"
# what a user may answer at the page who is not connected then, and what they are told
WRONG = {"answer": "deny"}, "Access was declined"


async def connect(bs: BrokerSync, login: SandboxLogin, **changed: str) -> Connection:
    """As a backend does it, with some of what the user says at the broker's page changed."""
    begun = await bs.begin_consent(KEY, owner=OWNER, redirect_uri=CALLBACK, environment=login.environment)
    answers = await answer_page(begun.url or "", {**login.page, **changed})
    connection = await bs.finish_consent(begun.consent_id, answers, owner=OWNER)
    assert isinstance(connection, Connection), "there is one step only"
    return connection


async def log_in(provider: Any, login: SandboxLogin) -> AuthResult:
    """As core does it; `provider` is what `get_broker_provider` gives."""
    challenge = await provider.begin_consent({{ cookiecutter.__class }}Credentials(), CALLBACK)
    auth: AuthResult = await provider.complete_consent(challenge, await answer_page(challenge.url, login.page))
    return auth
