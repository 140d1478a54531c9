"""What a connection keeps of its login, to log in once more with: its tokens stay as they are, and are not sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import attrs

from brokersync.errors import BrokerConfigError
from brokersync.login_sessions import LoginSessions
from brokersync.manifest import Manifest
from brokersync.provider import Clock
from brokersync.records import Connection, ConnectionState
from brokersync.sealing import KeyProvider, Sealer
from brokersync.store import Store
from brokersync.vault import GrantVault


@attrs.frozen
class KeptLogin:
    """Where a connection logs in, and the fields that its user gave."""

    environment: str
    fields: Mapping[str, str] = attrs.field(repr=False)


@asynccontextmanager
async def kept_login(
    store: Store, keys: KeyProvider, manifest: Manifest, clock: Clock, *, connection_id: str, owner: str
) -> AsyncIterator[KeptLogin]:
    """The login of a stored connection, with a place of its own where the broker counts sessions.

    Raises `BrokerConfigError` where there is none of the owner at this broker that logs in by what is kept, and
    `BrokerRateLimitError` where one more session would end another one.
    """
    vault = GrantVault(store, Sealer(keys))
    await store.open()
    try:
        connection = await store.connection(connection_id)
        if connection is None or connection.owner != owner or connection.provider != manifest.key:
            raise BrokerConfigError(
                f"There is no connection {connection_id} of {owner} to {manifest.display_name}.",
                remedy="See them with: brokersync status",
            )
        fields = await _fields(vault, manifest, connection)
        # nobody ends the session that is opened now, so its place is taken until the broker does
        await LoginSessions(manifest, store, clock, owner).open(fields)
        yield KeptLogin(connection.environment, fields)
    finally:
        vault.close()
        await store.close()


async def _fields(vault: GrantVault, manifest: Manifest, connection: Connection) -> Mapping[str, str]:
    if connection.state is not ConnectionState.ACTIVE:
        raise BrokerConfigError(
            f"{connection.label} is {connection.state.value}: {connection.reason}", remedy=connection.remedy or ""
        )
    _, kept = await vault.load(connection)
    fields = {field.name: kept[field.name] for field in manifest.login_fields if field.name in kept}
    if missing := [field.name for field in manifest.login_fields if field.required and field.name not in fields]:
        # its refresh token is good once: it is the connection's, and a replay could not begin with it
        raise BrokerConfigError(
            f"{connection.label} keeps no {' and '.join(missing)} to log in once more with.",
            remedy="Record a login of its own: --oauth for one at the broker's own page, or --fields-from.",
        )
    return fields
