"""Logins of owners: tested at the broker, sealed, kept."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime

from brokersync.journal import Journal
from brokersync.records import Connection
from brokersync.secret import Secret
from brokersync.shared import Shared


class Connections(Journal):
    """Adds connections and looks after them."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared.store)
        self._shared = shared

    async def connect(
        self,
        provider: str,
        *,
        owner: str,
        fields: Mapping[str, str | Secret],
        environment: str | None = None,
        label: str | None = None,
        since: datetime | None = None,
    ) -> Connection:
        """Test a login at the broker and keep it, sealed; the same login again keeps its connection and history.

        `fields` are the user's fields of the manifest. History is read from `since` on, else from the beginning.
        Raises `BrokerConfigError` for fields that do not fit and `BrokerAuthError` when the broker refuses them; then
        nothing is kept.
        """
        shared = self._shared
        loaded = shared.registry.load(provider)
        environment = environment or loaded.manifest.environments[0]
        plain = {name: value.reveal() if isinstance(value, Secret) else value for name, value in fields.items()}
        async with shared.login(loaded, environment) as login:
            auth, accounts = await login.test(plain)
        connection = Connection(
            connection_id=f"{provider}-{secrets.token_hex(5)}",
            owner=owner,
            provider=provider,
            environment=environment,
            label=label or f"{loaded.manifest.display_name} ({environment})",
            identity=auth.identity,
            created_at=shared.clock.now(),
            since=since,
        )
        grant = await shared.vault.seal(
            owner=owner, provider=provider, environment=environment, auth=auth, fields=plain, generation=1
        )
        connection = await shared.store.add_connection(connection, grant)
        await shared.store.put_accounts(connection, accounts)
        return connection

    async def diagnose(self, connection_id: str) -> Sequence[str]:
        """What the user should change at the broker, in sentences; none where all is well or nobody can tell."""
        shared = self._shared
        connection = await self.connection(connection_id)
        loaded = shared.registry.load(connection.provider)
        grant, _ = await shared.vault.load(connection)
        async with shared.login(loaded, connection.environment) as login:
            return await login.diagnose(grant.auth)
