"""Logins at the broker's own page, where the sandbox's `page` stands for the user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

import attrs

from brokersync.concealing import secrets_of
from brokersync.consents import OpenConsent
from brokersync.factory import make_credentials
from brokersync.provider import Consent
from brokersync.records import Connection
from brokersync.sandboxes import SandboxLogin
from brokersync.testing.contract.expecting import BrokenContract
from brokersync.testing.recording.consenting import page_of_recording
from brokersync.testing.recording.replay import ReplayedBroker
from brokersync.testing.sandbox_server import answer_page
from brokersync.types import AuthResult, Challenge

if TYPE_CHECKING:
    from brokersync.testing.contract.stage import Service, Stage

REDIRECT_URI: Final = "http://127.0.0.1:8765/"


@attrs.frozen
class Asked:
    """A login that was begun: what the plugin asks its user, and what the user may answer."""

    stage: Stage = attrs.field(repr=False)
    consent: Consent[Any] = attrs.field(repr=False)
    challenge: Challenge
    login: SandboxLogin = attrs.field(repr=False)

    @property
    def url(self) -> str:
        return _url_of(self.challenge.url)

    @property
    def state(self) -> str:
        """What comes back with the answer; nothing where the page's address has none."""
        return "".join(parse_qs(urlsplit(self.url).query).get("state", ()))

    async def allowed(self) -> dict[str, str]:
        """What the page sends back the user with who allows it."""
        return await _page_answer(self.stage, self.url, self.login)

    async def completed(self, answers: Mapping[str, str]) -> AuthResult | Challenge:
        """The plugin's next step, of a provider that knows nothing of the first."""
        made = await _consent(self.stage).complete(self.challenge, answers)
        if isinstance(made, AuthResult):
            self.stage.learn(secrets_of(made))
        return made


async def asked(stage: Stage, login: SandboxLogin) -> Asked:
    """The plugin's first step."""
    consent = _consent(stage)
    credentials = make_credentials(stage.loaded, _fields(stage, login), consent=True)
    challenge = await consent.begin(credentials, REDIRECT_URI)
    _learn(stage, challenge)
    return Asked(stage, consent, challenge, login)


async def consented(stage: Stage, login: SandboxLogin) -> AuthResult:
    """The login that the plugin's `Consent` makes of what its user says at the page."""
    one = await asked(stage, login)
    step: AuthResult | Challenge = await one.completed(await one.allowed())
    while isinstance(step, Challenge):
        _learn(stage, step)
        one = attrs.evolve(one, challenge=step)
        step = await one.completed(await one.allowed())
    return step


async def consented_connection(service: Service, login: SandboxLogin) -> Connection:
    """The same as a backend makes it."""
    begun = await service.bs.begin_consent(
        service.stage.key,
        owner=service.owner,
        redirect_uri=REDIRECT_URI,
        fields=_fields(service.stage, login),
        environment=login.environment,
    )
    return await _finished(service, begun, login)


async def renewed_connection(service: Service, connection: Connection, login: SandboxLogin) -> Connection:
    """The login of a connection made anew, by whoever answers the page."""
    begun = await service.bs.renew_consent(connection.connection_id, owner=service.owner, redirect_uri=REDIRECT_URI)
    return await _finished(service, begun, login)


async def _finished(service: Service, step: Connection | OpenConsent, login: SandboxLogin) -> Connection:
    while isinstance(step, OpenConsent):
        answers = await _page_answer(service.stage, _url_of(step.url), login)
        step = await service.bs.finish_consent(step.consent_id, answers, owner=service.owner)
    return step


def _consent(stage: Stage) -> Consent[Any]:
    make = stage.loaded.spec.consent
    if make is None:
        raise BrokenContract("provider.toml has auth 'oauth2', and the spec no `consent`")
    return make(stage.context)


def _fields(stage: Stage, login: SandboxLogin) -> dict[str, str]:
    """Those of them that are asked for before a consent."""
    declared = {field.name for field in stage.manifest.consent_fields}
    return {name: value for name, value in stage.fields(login).items() if name in declared}


def _learn(stage: Stage, challenge: Challenge) -> None:
    stage.learn([value for value in challenge.state.values() if value.reveal() != REDIRECT_URI])


def _url_of(url: str | None) -> str:
    if url is None:
        raise BrokenContract("the login asks its user for more than a page: say what in `log_in` and `connect`")
    return url


async def _page_answer(stage: Stage, url: str, login: SandboxLogin) -> dict[str, str]:
    """No fault is met at the page, since it is the user's browser that talks to it, and no plugin."""
    if isinstance(stage.sandbox.broker, ReplayedBroker):
        return page_of_recording(url)
    if not login.page:
        raise BrokenContract("users log in at the broker's own page: give the sandbox's logins a `page`")
    answers = await answer_page(url.replace(stage.server.base_url, stage.sandbox.base_url, 1), login.page)
    stage.learn([value for name, value in answers.items() if name != "error"])
    return answers
