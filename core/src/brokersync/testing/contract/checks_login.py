"""Checks of logging in: refusals, outages, tokens that end and tokens that are replaced."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import attrs

from brokersync.errors import (
    BrokerAuthError,
    BrokerError,
    BrokerRetryableError,
    BrokerTokenExpiredError,
)
from brokersync.records import ConnectionState
from brokersync.renewal import completed
from brokersync.secret import Secret
from brokersync.testing.contract.base import OVER_THE_NETWORK, ContractBase
from brokersync.testing.contract.expecting import BrokenContract, expect, told
from brokersync.testing.contract.reading import sources_of
from brokersync.testing.contract.stage import HASTY, ONCE, Stage
from brokersync.testing.contract.tokens import Without, is_given_by_user, names_another, names_in_last_answer
from brokersync.types import AuthResult

_OUTAGES: Final = ("status_500", "status_502", "status_503", "status_504", "reset", "silence")
_LATER: Final = timedelta(days=40)
_ENDED: Final = (BrokerTokenExpiredError, BrokerAuthError)


class LoginChecks(ContractBase):
    """Of `authenticate` and `refresh_token`."""

    async def test_wrong_credentials_ask_the_user(self) -> None:
        """`BrokerAuthError`, nothing that is tried again, and no secret in what it says."""
        if self.manifest.only_consents:
            self.cannot_try("this login takes its user")
        secret = [field.name for field in self.manifest.user_fields if field.secret]
        self.needs(secret, "secret fields")
        for name in secret:
            async with self.stage() as stage:
                self.needs_a_broker(stage)
                wrong = "9" * max(len(stage.login.fields[name]), 8)
                try:
                    await stage.log_in(changed={name: wrong})
                except BrokerAuthError as error:
                    self._shows_nothing(stage, error)
                    continue
                except Exception as error:
                    raise BrokenContract(f"a wrong {name} is told as {told(error)}, not as BrokerAuthError") from error
                raise BrokenContract(f"a wrong {name} is accepted: log in with it, and ask the broker whose it is")

    async def test_an_outage_at_the_login_is_tried_again(self) -> None:
        """5xx, silence and lost connections are `BrokerRetryableError`, never a refusal."""
        async with self.stage() as stage:
            auth = await self.log_in(stage)
            count = len(stage.server.exchanges)
            self.needs(count, "requests at its login")
            stage.open(http=HASTY, retry=ONCE)
            for fault in _OUTAGES:
                for after in range(count):
                    await self._outage(stage, fault, after)
            await self._outages_of_a_renewal(stage, auth)

    async def test_a_renewal_gives_the_same_login_a_new_token(self) -> None:
        """Twice in a row, each time from what the last one gave; the token that is given works."""
        async with self.stage() as stage:
            auth = await self.log_in(stage)
            for turn in ("first", "second"):
                fresh = await self._renewed(stage, auth)
                expect(fresh.identity == auth.identity, f"the {turn} renewal changes the identity of the login")
                expect(
                    fresh.access_token != auth.access_token or fresh.secrets != auth.secrets,
                    f"the {turn} renewal gives the token that it was given",
                )
                auth = completed(fresh, auth)
                await self._works(stage, auth, f"the token of the {turn} renewal")

    async def test_a_replaced_refresh_token_is_given_to_core(self) -> None:
        """Where the broker answers with a new refresh token, the old one is not kept in its place."""
        async with self.stage() as stage:
            auth = await self.log_in(stage)
            fresh = await self._renewed(stage, auth)
            if auth.refresh_token is None:
                self.cannot_try("the login has no refresh token")
            answer = stage.server.exchanges[-1].answered
            body = b"" if answer is None else answer.body
            if auth.refresh_token.reveal().encode() in body:
                self.cannot_try("the broker keeps its refresh tokens")
            given = fresh.refresh_token
            expect(
                given is None or given != auth.refresh_token or not names_another(body, auth, fresh),
                "the broker answered with a new refresh token, and refresh_token gave the old one back",
            )

    async def test_a_refresh_token_that_is_left_out_stays(self) -> None:
        """A renewal whose answer names no refresh token is no error."""
        async with self.stage() as stage:
            auth = await self.log_in(stage)
            if auth.refresh_token is None:
                self.cannot_try("the login has no refresh token")
            fresh = await self._renewed(stage, auth)
            if fresh.refresh_token in (None, auth.refresh_token):
                self.cannot_try("the broker keeps its refresh tokens")
            auth = completed(fresh, auth)
            without = Without(names_in_last_answer(stage, fresh.refresh_token))
            stage.server.alter(without)
            again = await self._renewed(stage, auth)
            if not without.left_out:
                self.cannot_try("the answer to a renewal names no refresh token in JSON")
            expect(
                again.refresh_token in (None, auth.refresh_token),
                "the answer named no refresh token, and refresh_token gave one",
            )

    async def test_a_renewal_that_is_refused_ends_in_a_new_login(self) -> None:
        """`BrokerTokenExpiredError` where only a new login helps, or `BrokerAuthError` where only the user does."""
        async with self.stage() as stage:
            auth = await self.log_in(stage)
            dead = Secret("a-token-that-the-broker-never-gave")
            gone = attrs.evolve(
                auth,
                access_token=dead if auth.access_token else None,
                refresh_token=dead if auth.refresh_token else None,
            )
            try:
                await stage.provider.refresh_token(gone)
            except _ENDED as error:
                self._shows_nothing(stage, error)
                return
            except Exception as error:
                raise BrokenContract(
                    f"a dead login is told as {told(error)}, not as BrokerTokenExpiredError"
                ) from error
            raise BrokenContract("refresh_token makes new tokens out of dead ones")

    async def test_the_end_of_a_token_is_told_by_the_clock_of_the_context(self) -> None:
        """Absolute, and later by as much as the clock is."""
        ends = []
        for later in (timedelta(0), _LATER):
            async with self.stage() as stage:
                stage.clock.advance(later)
                auth = await self.log_in(stage)
                ends.append((auth.expires_at, stage.clock.now()))
        (first, then), (second, now) = ends
        if first is None or second is None:
            self.cannot_try("the broker tells no end of its tokens")
        expect(first > then, f"a token that was made at {then} ended at {first}, before it began")
        apart = abs((second - now) - (first - then))
        expect(
            apart < timedelta(seconds=5) or second == first,
            f"a token lives {first - then}, and {second - now} for a login {_LATER.days} days later: take the time from"
            " context.clock",
        )

    async def test_who_is_logged_in_has_one_name(self) -> None:
        """The identity is the same at each login, and another one for somebody else."""
        async with self.stage() as stage:
            first = (await self.log_in(stage)).identity
            stage.clock.advance(timedelta(minutes=1))
            expect((await self.log_in(stage)).identity == first, "two logins of one user have two identities")
            if len(stage.sandbox.logins) > 1:
                other = (await stage.log_in(stage.sandbox.logins[1])).identity
                expect(other != first, f"two users have one identity, {first!r}")

    async def test_one_provider_keeps_two_logins_apart(self) -> None:
        """Everything of a login is in its `AuthResult`, so what one sees is no matter of who came before."""
        async with self.stage() as stage:
            if len(stage.sandbox.logins) < 2:
                self.cannot_try("the sandbox has one login only")
            one, other = stage.sandbox.logins[:2]
            first = await self.log_in(stage)
            mine = await stage.accounts(first)
            second = await stage.log_in(other)
            theirs = await stage.accounts(second)
            expect(await stage.accounts(first) == mine, "after a second login the first sees other accounts")
            expect({a.account_id for a in mine} == set(one.trades), "the first login does not see its own accounts")
            expect(
                {a.account_id for a in theirs} == set(other.trades), "the second login does not see its own accounts"
            )

    async def test_one_refused_token_is_no_end_of_the_login(self) -> None:
        """A 401 in the middle of a sync is followed by a renewal, and not by a question to the user."""
        self.needs(sources_of(self.manifest.sources), OVER_THE_NETWORK)
        async with self.stage() as stage, stage.service() as service:
            connection = await self.connect(service)
            stage.server.show("status_401", after=1)
            report = await service.sync(connection)
            expect(
                await service.state(connection) is ConnectionState.ACTIVE,
                f"one 401 in a sync leads to the state {(await service.state(connection)).value}",
            )
            expect(not report.problems, f"one 401 in a sync leaves problems: {report.problems}")

    async def test_a_token_that_has_ended_is_replaced(self) -> None:
        """In the middle of a sync the broker refuses the token for good; a new one is had, and the sync goes on."""
        self.needs(sources_of(self.manifest.sources), OVER_THE_NETWORK)
        async with self.stage() as stage, stage.service() as service:
            self.needs_a_broker(stage)
            connection = await self.connect(service)
            told = [one.sent.headers.get("authorization", "") for one in stage.server.exchanges]
            if not (token := told[-1].partition(" ")[2]):
                self.cannot_try("requests carry no token in Authorization")
            if is_given_by_user(told[-1], stage.login.fields.values()):
                self.cannot_try("the token is what the user gave")
            stage.server.expire(token)
            report = await service.sync(connection)
            expect(not report.problems, f"a token that ended leaves problems: {report.problems}")
            expect(report.added, "a token that ended, and nothing is read any more")

    async def _outage(self, stage: Stage, fault: str, after: int) -> None:
        stage.server.clear()
        stage.server.show(fault, after=after)
        try:
            await self.log_in(stage)
        except BrokerRetryableError as error:
            self._shows_nothing(stage, error)
        except Exception as error:
            raise BrokenContract(
                f"{fault} at the login is told as {told(error)}, not as a BrokerRetryableError"
            ) from error

    async def _outages_of_a_renewal(self, stage: Stage, auth: AuthResult) -> None:
        for fault in _OUTAGES:
            stage.server.clear()
            before = len(stage.server.exchanges)
            stage.server.show(fault)
            try:
                await stage.provider.refresh_token(auth)
            except BrokerRetryableError:
                continue
            except _ENDED as error:
                asked = len(stage.server.exchanges) > before
                expect(not asked, f"{fault} at a renewal is told as {told(error)}, not as a BrokerRetryableError")

    async def _renewed(self, stage: Stage, auth: AuthResult) -> AuthResult:
        try:
            fresh = await stage.provider.refresh_token(auth)
        except BrokerTokenExpiredError:
            self.cannot_try("a login of this broker can not be renewed")
        except Exception as error:
            raise BrokenContract(f"a renewal that the broker answers fails with {told(error)}") from error
        stage.learn([fresh.access_token, fresh.refresh_token, *fresh.secrets.values()])
        return fresh

    async def _works(self, stage: Stage, auth: AuthResult, what: str) -> None:
        try:
            await stage.accounts(auth)
        except BrokerError as error:
            raise BrokenContract(f"{what} does not work: {told(error)}") from error

    def _shows_nothing(self, stage: Stage, error: BrokerError) -> None:
        shown = f"{error!r} {error} {error.describe()}"
        for secret in stage.secrets:
            expect(secret not in shown, f"the error of a refused login shows a secret: {type(error).__name__}")
