"""Grants and credentials in the store, sealed for their owner."""

from __future__ import annotations

import json
from collections.abc import Mapping

from brokersync.converter import SEALED
from brokersync.errors import BrokerAuthError
from brokersync.records import Connection, Grant
from brokersync.sealing import Sealer
from brokersync.store import SealedGrant, Store
from brokersync.types import AuthResult


class GrantVault:
    """Grants and credentials in the store, sealed for their owner."""

    def __init__(self, store: Store, sealer: Sealer) -> None:
        self._store, self._sealer = store, sealer

    async def seal(
        self,
        *,
        owner: str,
        provider: str,
        environment: str,
        auth: AuthResult,
        fields: Mapping[str, str],
        generation: int,
    ) -> SealedGrant:
        """What may be written to the store of a login and the fields it was made from."""
        key = await self._key(owner)
        row = f"{provider}|{environment}|{auth.identity}"
        return SealedGrant(
            owner=owner,
            provider=provider,
            environment=environment,
            identity=auth.identity,
            generation=generation,
            auth=self._sealer.seal(key, owner, f"auth|{row}", json.dumps(SEALED.unstructure(auth))),
            credentials=self._sealer.seal(key, owner, f"credentials|{row}", json.dumps(dict(fields))),
            expires_at=auth.expires_at,
            grant_expires_at=auth.grant_expires_at,
        )

    async def load(self, connection: Connection) -> tuple[Grant, dict[str, str]]:
        """The connection's grant and the user's fields. Raises `BrokerAuthError` when there is none."""
        sealed = await self._store.grant(
            connection.owner, connection.provider, connection.grant_environment, connection.identity
        )
        if sealed is None:
            raise BrokerAuthError(f"The connection {connection.connection_id} has no login.")
        key = await self._key(connection.owner)
        auth = self._sealer.unseal(key, sealed.owner, f"auth|{sealed.row}", sealed.auth)
        fields = self._sealer.unseal(key, sealed.owner, f"credentials|{sealed.row}", sealed.credentials)
        grant = Grant(
            owner=sealed.owner,
            provider=sealed.provider,
            environment=sealed.environment,
            identity=sealed.identity,
            generation=sealed.generation,
            auth=SEALED.structure(json.loads(auth), AuthResult),
            renewing_since=sealed.renewing_since,
        )
        return grant, json.loads(fields)

    async def replace(self, grant: Grant, auth: AuthResult, fields: Mapping[str, str]) -> bool:
        """Make `auth` durable in place of `grant`; `False` when another worker was first."""
        return await self._store.replace_grant(
            await self.seal(
                owner=grant.owner,
                provider=grant.provider,
                environment=grant.environment,
                auth=auth,
                fields=fields,
                generation=grant.generation + 1,
            )
        )

    async def _key(self, owner: str) -> bytes:
        return await self._store.data_key(owner, lambda: self._sealer.new_data_key(owner))
