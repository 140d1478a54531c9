"""Interactive Brokers over the Flex Web Service: a statement is ordered, waited for, and read once for all accounts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence, Set
from contextlib import aclosing, closing
from datetime import timedelta
from typing import BinaryIO

from brokersync.plugin import (
    AuthResult,
    BrokerAccount,
    BrokerConfigError,
    BrokerNotReadyError,
    BrokerTokenExpiredError,
    ProviderContext,
    TradePage,
    TradeRequest,
)
from brokersync_ibkr.auth import CONFIRMATIONS_REFERENCE, ENDED_ON, REFERENCE, SecondLook, log_in
from brokersync_ibkr.client import Fetched, FlexClient
from brokersync_ibkr.codes import NO_STATEMENT, REFERENCE_GONE
from brokersync_ibkr.credentials import FlexCredentials
from brokersync_ibkr.diagnosis import damaged_answer
from brokersync_ibkr.guidance import NO_LAST_DAY
from brokersync_ibkr.pages import Reading, read_pages
from brokersync_ibkr.payloads import FlexSyntaxError
from brokersync_ibkr.querycheck import check_query, findings, look_over
from brokersync_ibkr.trades import StatementRequest
from brokersync_ibkr.vocabulary import ACTIVITY_TYPE, CONFIRMATION_TYPE, QUERIES

_LOOK_AGAIN = timedelta(seconds=5)


class FlexProvider:
    """The provider of `ibkr`; a login may run one Activity query and one Trade Confirmation query."""

    def __init__(self, context: ProviderContext) -> None:
        self._context = context
        self._client = FlexClient(context)
        self._second_look = SecondLook()

    async def authenticate(self, credentials: FlexCredentials) -> AuthResult:
        return await log_in(self._client, self._context, credentials, self._second_look)

    async def refresh_token(self, auth: AuthResult) -> AuthResult:
        """Always raises: a token lives until the date its user chose, and no request makes another."""
        raise BrokerTokenExpiredError("A token of the Flex Web Service can not be renewed.")

    async def get_accounts(self, auth: AuthResult) -> Sequence[BrokerAccount]:
        """The accounts of the statement that the login ordered."""
        fetched = await _first_statement(self._client, auth, REFERENCE)
        if fetched.file is None:
            return ()
        reading = Reading(environment=self._context.environment, expected=ACTIVITY_TYPE)
        with closing(fetched.file) as file:
            return await asyncio.to_thread(_accounts_in, file, reading)

    async def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        """Order a statement over the window, or go on with the one that the cursor names."""
        statement = StatementRequest(self._context, self._client, auth, request)
        async with aclosing(statement.pages()) as pages:
            async for page in pages:
                yield page

    async def aclose(self) -> None:
        """Nothing stays open between two requests."""


async def diagnose(context: ProviderContext, auth: AuthResult) -> Sequence[str]:
    """What the user should change at the queries, in sentences, by the statements that the login ordered."""
    client = FlexClient(context)
    said: list[str] = []
    aliases: dict[str, Set[str]] = {}
    for kind, name in ((ACTIVITY_TYPE, REFERENCE), (CONFIRMATION_TYPE, CONFIRMATIONS_REFERENCE)):
        try:
            fetched = await _first_statement(client, auth, name)
            if fetched.file is not None:
                with closing(fetched.file) as file:
                    said += await asyncio.to_thread(_findings_in, file, kind, aliases)
        except BrokerConfigError as error:
            what, field = QUERIES[kind]
            said.append(f"The {what} query ({field}) can not be used yet. {error}")
    if auth.grant_expires_at is None:
        over = auth.state.get(ENDED_ON)
        said.append(NO_LAST_DAY if over is None else f"The day given as expires_on, {over}, is over. {NO_LAST_DAY}")
    return said


async def _first_statement(client: FlexClient, auth: AuthResult, name: str) -> Fetched:
    reference = auth.state.get(name)
    if reference is None:
        return Fetched(code=NO_STATEMENT)
    fetched = await client.fetch(auth, reference)
    if fetched.file is not None or fetched.code == NO_STATEMENT:
        return fetched
    if fetched.code == REFERENCE_GONE:
        # the login is older than its statement; only a new login orders another, and core makes one when told this
        raise BrokerTokenExpiredError("The statement that the login ordered is gone.")
    raise BrokerNotReadyError("IBKR is still generating the statement.", retry_after=_LOOK_AGAIN, code=fetched.code)


def _accounts_in(file: BinaryIO, reading: Reading) -> Sequence[BrokerAccount]:
    check_query(look_over(file), ACTIVITY_TYPE)
    found: dict[str, BrokerAccount] = {}
    try:
        for page in read_pages(file, reading):
            found.update((account.account_id, account) for account in page.accounts)
    except FlexSyntaxError as error:
        raise damaged_answer(error) from None
    return tuple(found[account_id] for account_id in sorted(found))


def _findings_in(file: BinaryIO, kind: str, aliases: dict[str, Set[str]]) -> Sequence[str]:
    """Adds the aliases that the statement tells the ids of."""
    survey = look_over(file)
    check_query(survey, kind, dict(aliases))
    aliases.update({**survey.names.likely, **survey.names.aliases})
    return findings(survey, kind)
