"""Another environment of a login that is known already: no further session is opened for it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from brokersync.errors import BrokerError
from brokersync.records import Connection, ConnectionState
from brokersync.registry import LoadedProvider
from brokersync.shared import Shared


async def known_login(
    shared: Shared, loaded: LoadedProvider, owner: str, environment: str, fields: Mapping[str, str]
) -> Connection | None:
    """A connection of the same fields in another environment, where one login serves all and that one works.

    Brokers count the sessions of a user and close the oldest, which may be the user's own.
    """
    if not loaded.manifest.one_login:
        return None
    of_owner = [one for one in await shared.store.connections(owner) if one.provider == loaded.manifest.key]
    if not fields or environment in {one.environment for one in of_owner if await _has(shared, one, fields)}:
        return None
    for one in of_owner:
        active = one.state is ConnectionState.ACTIVE and await _has(shared, one, fields)
        if active and await _works(shared, loaded, one):
            return one
    return None


async def _has(shared: Shared, connection: Connection, fields: Mapping[str, str]) -> bool:
    try:
        _, kept = await shared.vault.load(connection)
    except BrokerError:
        return False
    return kept == dict(fields)


async def _works(shared: Shared, loaded: LoadedProvider, connection: Connection) -> bool:
    logins = partial(shared.login, loaded, connection.environment)
    try:
        grant, _ = await shared.vault.load(connection)
        async with logins() as login:
            await login.accounts(await shared.keeper(connection, logins, logs_in=False).current(grant.auth))
    except BrokerError:
        return False  # a new login says what is wrong
    return True
