"""A login that is known already: no further session is opened for another environment of it, nor where they count."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import attrs

from brokersync.errors import BrokerAuthError, BrokerError, BrokerRetryableError, BrokerTokenExpiredError
from brokersync.manifest import Manifest
from brokersync.records import Connection, ConnectionState
from brokersync.registry import LoadedProvider
from brokersync.shared import Shared

_LOGGED_IN = (ConnectionState.ACTIVE, ConnectionState.PAUSED)


async def known_login(
    shared: Shared, loaded: LoadedProvider, owner: str, environment: str, fields: Mapping[str, str]
) -> Connection | None:
    """A connection of the same fields that works: of another environment, where one login serves all, or of this one.

    Brokers count the sessions of a user and close the oldest, which may be the user's own. Where none are counted, a
    login of this environment is tested by a new one.
    """
    manifest = loaded.manifest
    if not fields or not (manifest.one_login or manifest.sessions):
        return None
    of_owner = [one for one in await shared.store.connections(owner) if one.provider == manifest.key]
    same = [one for one in of_owner if await _has(shared, one, fields)]
    here = [one for one in same if one.environment == environment]
    if here and manifest.sessions is None:
        return None
    for one in here or (same if manifest.one_login else ()):
        if one.state in _LOGGED_IN and await _works(shared, loaded, one):
            return one
    return None


async def connected_again(shared: Shared, known: Connection, wanted: Connection, unnamed: str) -> Connection:
    """The connection as it is now wanted, and due at once."""
    label = as_known(wanted, unnamed, {known.environment: known}).label
    again = await shared.store.change_connection(
        known.connection_id, label=label, since=wanted.since or known.since, next_at=None, silent_until=None
    )
    if again is None:
        raise BrokerAuthError("The login was removed meanwhile.", provider=known.provider)
    return again


def label_of(manifest: Manifest, environment: str) -> str:
    """What a connection is called whose user gives it no name."""
    return f"{manifest.display_name} ({environment})"


def as_known(connection: Connection, unnamed: str, known: Mapping[str, Connection]) -> Connection:
    """With the label that it has, where none is given now."""
    if connection.label != unnamed or connection.environment not in known:
        return connection
    return attrs.evolve(connection, label=known[connection.environment].label)


async def _has(shared: Shared, connection: Connection, fields: Mapping[str, str]) -> bool:
    try:
        _, kept = await shared.vault.load(connection)
    except BrokerError:
        return False
    return kept == dict(fields)


async def _works(shared: Shared, loaded: LoadedProvider, connection: Connection) -> bool:
    logins = partial(shared.login, loaded, connection.environment, owner=connection.owner)
    counts = loaded.manifest.sessions is not None
    try:
        grant, _ = await shared.vault.load(connection)
        async with logins() as login:
            await login.accounts(await shared.keeper(connection, logins, logs_in=False).current(grant.auth))
    except (BrokerTokenExpiredError, BrokerAuthError):
        if counts:
            await shared.sessions_of(loaded.manifest, connection.owner).end(grant.session)
        return False  # a new login says what is wrong
    except BrokerRetryableError:
        return counts  # it may live, and another session would be one more
    except BrokerError:
        return False
    return True
