"""Checks of a login at the broker's own page, where the sandbox's `page` stands for the user."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final
from urllib.parse import parse_qs, quote, urlsplit

from aiohttp import web

from brokersync.errors import BrokerAuthError, BrokerError, BrokerInteractionRequiredError, BrokerRetryableError
from brokersync.factory import make_credentials
from brokersync.records import ConnectionState
from brokersync.testing.contract.base import ContractBase
from brokersync.testing.contract.consenting import REDIRECT_URI, Asked, asked, consented, consented_connection
from brokersync.testing.contract.consenting import renewed_connection as renewed
from brokersync.testing.contract.expecting import BrokenContract, expect, told
from brokersync.testing.contract.showing import all_of, expect_no_secret
from brokersync.testing.contract.stage import Stage
from brokersync.testing.fault_server import Sent
from brokersync.testing.faults import Fault, Occasion
from brokersync.types import AuthResult

# of what nobody guesses in an afternoon
_UNGUESSABLE: Final = 16


class ConsentChecks(ContractBase):
    """Of `Consent`."""

    async def test_a_consent_page_is_the_brokers_own_and_tied_to_its_question(self) -> None:
        """A declared host, the address to come back to, and a `state` that is another one each time; no secret."""
        async with self._page() as stage:
            first, second = [await asked(stage, stage.login) for _ in range(2)]
            for one in (first, second):
                query = parse_qs(urlsplit(one.url).query)
                expect(one.url.startswith(stage.server.base_url), "the page is at no host that provider.toml declares")
                expect(query.get("redirect_uri") == [REDIRECT_URI], "the page's address does not hold the redirect_uri")
                expect(
                    len(one.state) >= _UNGUESSABLE,
                    f"the page's address has {'a short' if one.state else 'no'} state: an answer to another question"
                    " would be taken for one to this",
                )
                expect_no_secret(one.url, self._kept_to_itself(stage, one), "the page's address")
                end = one.challenge.expires_at
                expect(end is None or end > stage.clock.now(), f"the page waits until {end}, which is over")
            expect(first.state != second.state, "two logins have the same state: draw another one each time")

    async def test_the_code_of_a_consent_is_sent_once(self) -> None:
        """Also where the broker does not answer, since it may have taken it; one that was used is a refusal."""
        async with self._page() as stage:
            for fails in (True, False):
                one = await asked(stage, stage.login)
                answers = await one.allowed()
                code = answers.get("code") or self.cannot_try("the page answers with no code")
                since = len(stage.server.exchanges)
                if fails:
                    stage.server.show("status_503", match=partial(_holds, code=code), times=None)
                outcome = await _outcome(one, answers)
                stage.server.clear()
                sent = sum(_holds(exchange.sent, code) for exchange in stage.server.exchanges[since:])
                expect(sent == 1, f"the code was sent {sent} times, and is good once: do not call it `repeatable`")
                if fails:
                    expect(
                        isinstance(outcome, BrokerRetryableError),
                        f"a code that met an outage is told as {told(outcome)}, not as a BrokerRetryableError",
                    )
                    continue
                expect(outcome is None, f"the answer of the page makes no login: {told(outcome)}")
                again = await _outcome(one, answers)
                expect(
                    isinstance(again, BrokerAuthError),
                    f"a code that was used is told as {told(again)}, not as BrokerAuthError",
                )

    async def test_a_consent_that_is_denied_asks_the_user(self) -> None:
        """`BrokerAuthError` with the code access_denied, and the broker is asked nothing."""
        async with self._page() as stage:
            one = await asked(stage, stage.login)
            since = len(stage.server.exchanges)
            outcome = await _outcome(one, {"error": "access_denied", "state": one.state})
            expect(
                isinstance(outcome, BrokerAuthError) and outcome.code == "access_denied",
                f"a login that was declined is told as {told(outcome)}, not as BrokerAuthError with code access_denied",
            )
            expect(len(stage.server.exchanges) == since, "a login was declined, and the broker was asked all the same")
            expect_no_secret(_shown(outcome), stage.secrets, "the error of a login that was declined")

    async def test_an_answer_to_another_consent_is_refused(self) -> None:
        """With another `state` or with none, and its code is not sent: somebody else may have made it."""
        async with self._page() as stage:
            other = await (await asked(stage, stage.login)).allowed()
            one = await asked(stage, stage.login)
            mine = await one.allowed()
            for what, answers in (
                ("another state", {**mine, "state": other.get("state", "")}),
                ("no state", {name: value for name, value in mine.items() if name != "state"}),
                ("the state of another login", other),
            ):
                since = len(stage.server.exchanges)
                outcome = await _outcome(one, answers)
                expect(
                    isinstance(outcome, BrokerAuthError),
                    f"an answer with {what} is told as {told(outcome)}, not as BrokerAuthError",
                )
                expect(len(stage.server.exchanges) == since, f"the code of an answer with {what} is sent to the broker")
                expect_no_secret(_shown(outcome), stage.secrets, f"the error of an answer with {what}")

    async def test_a_consent_names_who_gave_it(self) -> None:
        """The identity is the same at each login, and another one for somebody else; the token works."""
        async with self._page() as stage:
            first = await consented(stage, stage.login)
            again = await consented(stage, stage.login)
            expect(first.identity == again.identity, f"one user is {first.identity} and then {again.identity}")
            await _works(stage, again)
            for login in stage.sandbox.logins[1:]:
                if login.page and login.environment == stage.login.environment:
                    other = await consented(stage, login)
                    expect(other.identity != first.identity, f"two users are both {other.identity}")

    async def test_a_refresh_token_is_stored_before_its_token_is_used(self) -> None:
        """One that rotates is lost with its process else: core stores what `refresh_token` gives, and nothing else."""
        async with self._page() as stage:
            async with stage.service() as service:
                connection = await consented_connection(service, stage.login)
                old = await service.kept(connection)
                if old.access_token is None or old.refresh_token is None:
                    self.cannot_try("the login has no refresh token")
                seen = list[tuple[str, AuthResult]]()

                async def look(occasion: Occasion) -> web.StreamResponse:
                    seen.append((_bearer(occasion.request.headers), await service.kept(connection)))
                    given = await occasion.answer()
                    return web.Response(status=given.status, body=given.body, headers=dict(given.headers))

                dead = old.access_token.reveal()
                stage.server.expire(dead)
                stage.server.show(
                    Fault("looks", look), match=lambda sent: _bearer(sent.headers) not in ("", dead), times=None
                )
                report = await service.sync(connection)
                stage.server.clear()
                expect(not report.problems, f"a token that was renewed leaves problems: {report.problems}")
                if not seen:
                    self.cannot_try("requests carry no token in Authorization")
                for token, kept in seen:
                    expect(
                        kept.access_token is not None and kept.access_token.reveal() == token,
                        "a new token is used that core has not stored: make tokens in refresh_token alone",
                    )
            async with stage.service() as another:  # what a process knows that begins now
                stage.server.expire(seen[-1][0])
                report = await another.sync(connection)
                expect(not report.problems, f"renewed once more by another process: {report.problems}")

    async def test_a_consent_is_given_again_by_the_same_user_only(self) -> None:
        """The connection stays as it is, and goes on with the new login; the login of somebody else is refused."""
        async with self._page() as stage, stage.service() as service:
            connection = await consented_connection(service, stage.login)
            for login in stage.sandbox.logins[1:2]:
                if not login.page or login.environment != stage.login.environment:
                    continue
                try:
                    await renewed(service, connection, login)
                except BrokerAuthError:
                    continue
                raise BrokenContract("the login of another user takes the place of the first one's: look at identity")
            again = await renewed(service, connection, stage.login)
            expect(again.connection_id == connection.connection_id, "the same user's login makes another connection")
            report = await service.sync(again)
            expect(not report.problems, f"a login that was made anew leaves problems: {report.problems}")
            expect(await service.state(again) is ConnectionState.ACTIVE, "a login that was made anew is not active")

    async def test_a_login_that_takes_its_user_says_so_at_once(self) -> None:
        """`authenticate` raises `BrokerInteractionRequiredError`, and the broker is asked nothing."""
        self.needs(self.manifest.consents, "login at the broker's own page")
        async with self.stage() as stage:
            self.needs(stage.only_by_consent, "login that always takes its user")
            since = len(stage.server.exchanges)
            try:
                await stage.provider.authenticate(make_credentials(self.loaded, stage.fields()))
            except BrokerInteractionRequiredError as error:
                expect(len(stage.server.exchanges) == since, f"the broker is asked before {told(error)}")
            except Exception as error:
                raise BrokenContract(
                    f"a login without its user is told as {told(error)}, not as BrokerInteractionRequiredError"
                ) from error
            else:
                raise BrokenContract("a login is made without its user, which provider.toml says is not possible")

    @asynccontextmanager
    async def _page(self) -> AsyncGenerator[Stage, None]:
        self.needs(self.manifest.consents, "login at the broker's own page")
        async with self.stage() as stage:
            self.needs_a_broker(stage)
            if not stage.login.page:
                self.cannot_try("the logins of the sandbox have no `page`")
            yield stage

    def _kept_to_itself(self, stage: Stage, one: Asked) -> list[str]:
        """What the app and the login keep to themselves; `state` is sent along and comes back."""
        fields = stage.sandbox.operator_fields
        apps = [fields[field.name] for field in self.manifest.operator_fields if field.secret and field.name in fields]
        kept = [value.reveal() for value in one.challenge.state.values()]
        return [*apps, *(value for value in kept if value not in (REDIRECT_URI, one.state))]


async def _outcome(one: Asked, answers: Mapping[str, str]) -> BaseException | None:
    try:
        await one.completed(answers)
    except Exception as error:  # noqa: BLE001  what is raised is what is asked
        return error
    return None


def _shown(error: BaseException | None) -> str:
    return "" if error is None else all_of(error)


async def _works(stage: Stage, auth: AuthResult) -> None:
    try:
        await stage.accounts(auth)
    except BrokerError as error:
        raise BrokenContract(f"the token of a consent does not work: {told(error)}") from error


def _holds(sent: Sent, code: str) -> bool:
    return sent.holds(code) or sent.holds(quote(code, safe=""))


def _bearer(headers: Mapping[str, str]) -> str:
    """The token of a request; nothing where it is one for tokens."""
    value = {name.lower(): text for name, text in headers.items()}.get("authorization", "")
    kind, _, token = value.partition(" ")
    return token if kind.lower() == "bearer" else ""
