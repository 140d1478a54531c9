"""Logins at the broker's own page, where the sandbox's `page` stands for the user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from brokersync.consents import OpenConsent
from brokersync.factory import make_credentials
from brokersync.records import Connection
from brokersync.sandboxes import SandboxLogin
from brokersync.testing.contract.expecting import BrokenContract
from brokersync.testing.sandbox_server import answer_page
from brokersync.types import AuthResult, Challenge

if TYPE_CHECKING:
    from brokersync.testing.contract.stage import Service, Stage

_REDIRECT_URI: Final = "http://127.0.0.1:8765/"


async def consented(stage: Stage, login: SandboxLogin) -> AuthResult:
    """The login that the plugin's `Consent` makes of what its user says at the page."""
    make = stage.loaded.spec.consent
    if make is None:
        raise BrokenContract("provider.toml has auth 'oauth2', and the spec no `consent`")
    consent = make(stage.context)
    credentials = make_credentials(stage.loaded, stage.fields(login), consent=True)
    step: AuthResult | Challenge = await consent.begin(credentials, _REDIRECT_URI)
    while isinstance(step, Challenge):
        stage.learn([value for value in step.state.values() if value.reveal() != _REDIRECT_URI])
        step = await consent.complete(step, await _page_answer(stage, step.url, login))
    return step


async def consented_connection(service: Service, login: SandboxLogin) -> Connection:
    """The same as a backend makes it."""
    step: Connection | OpenConsent = await service.bs.begin_consent(
        service.stage.key,
        owner=service.owner,
        redirect_uri=_REDIRECT_URI,
        fields=service.stage.fields(login),
        environment=login.environment,
    )
    while isinstance(step, OpenConsent):
        answers = await _page_answer(service.stage, step.url, login)
        step = await service.bs.finish_consent(step.consent_id, answers, owner=service.owner)
    return step


async def _page_answer(stage: Stage, url: str | None, login: SandboxLogin) -> dict[str, str]:
    """No fault is met at the page, since it is the user's browser that talks to it, and no plugin."""
    if url is None:
        raise BrokenContract("the login asks its user for more than a page: say what in `log_in` and `connect`")
    if not login.page:
        raise BrokenContract("users log in at the broker's own page: give the sandbox's logins a `page`")
    answers = await answer_page(url.replace(stage.server.base_url, stage.sandbox.base_url, 1), login.page)
    stage.learn([value for name, value in answers.items() if name != "error"])
    return answers
