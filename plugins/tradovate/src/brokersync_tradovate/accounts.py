"""The accounts behind a login. One login reaches live and demo, and prop-firm accounts stand on the demo side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from brokersync.plugin import (
    AuthResult,
    BrokerAccount,
    BrokerAPIError,
    BrokerAuthError,
    BrokerError,
    BrokerTokenExpiredError,
)
from brokersync_tradovate.auth import user_of
from brokersync_tradovate.client import TradovateClient
from brokersync_tradovate.normalise import ENVIRONMENTS, account_of
from brokersync_tradovate.payloads import Account
from brokersync_tradovate.refusals import Meaning, Refusal, request_refused, unexpected
from brokersync_tradovate.rows import RowError

_NOT_THIS_SIDE = (401, 403, 404)


async def list_accounts(
    client: TradovateClient,
    auth: AuthResult,
    environment: str,
    meaning: Meaning = request_refused,
    unmapped: Counter[str] | None = None,
) -> Sequence[BrokerAccount]:
    """The accounts on one side, closed ones too: their history can still be read. What of them is odd is counted."""
    rows = await client.list_all(auth, environment, "account", meaning=meaning)
    user = user_of(auth)
    if not rows and user is not None:
        # one team saw an empty list for tokens of OAuth until the user was named
        rows = await client.list_all(auth, environment, "account", meaning=meaning, params={"userId": user})
    try:
        accounts = [Account.of(row) for row in rows]
    except RowError as error:
        raise unexpected("account/list", f"has an account without what is needed: {error}") from None
    if unmapped is not None:
        unmapped.update(f"Account row: {reason}" for one in accounts for reason in one.odd)
    return [account_of(one, environment) for one in accounts]


async def list_all_accounts(client: TradovateClient, auth: AuthResult, home: str) -> Sequence[BrokerAccount]:
    """The accounts on both sides, those of the login's own side first.

    A side that refuses the login has none of its accounts, but it is believed only when it does so twice: what is given
    up here is not read. Where no account is left the refusal is raised, that of the login's own side first.
    """
    sides = sorted(ENVIRONMENTS, key=lambda one: one != home)
    listed, refused = await _asked(client, auth, sides, {})
    if refused:
        # where both refuse, the token may be dead, and then core renews it for the first of these
        meanings = {sides[0]: request_refused} if len(refused) == len(sides) else {}
        again, refused = await _asked(client, auth, list(refused), meanings)
        listed |= again
    accounts = [account for side in sides for account in listed.get(side, ())]
    if refused and not accounts:
        raise next(iter(refused.values()))
    return accounts


async def _asked(
    client: TradovateClient, auth: AuthResult, sides: Sequence[str], meanings: Mapping[str, Meaning]
) -> tuple[dict[str, Sequence[BrokerAccount]], dict[str, BrokerError]]:
    """What each of the sides lists, and why the others do not, in the order in which they are asked."""
    listed: dict[str, Sequence[BrokerAccount]] = {}
    refused: dict[str, BrokerError] = {}
    for side in sides:
        try:
            listed[side] = await list_accounts(client, auth, side, meanings.get(side, _refused_here))
        except (BrokerAuthError, BrokerTokenExpiredError, BrokerAPIError) as error:
            if error.status not in _NOT_THIS_SIDE:
                raise
            refused[side] = error
    return listed, refused


def _refused_here(refusal: Refusal) -> BrokerError:
    """A prop firm's traders may have no rights on the live side; a renewal with each listing would not change that."""
    if refusal.status == 401 and not refusal.names_a_dead_token:
        return BrokerAPIError(f"Tradovate refuses this login on this side.{refusal.quoted}", **refusal.facts)
    return request_refused(refusal)
