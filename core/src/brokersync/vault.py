"""Grants and credentials in the store, sealed for their owner."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Final

import attrs

from brokersync.converter import SEALED
from brokersync.errors import BrokerAuthError, BrokerError
from brokersync.records import Connection, ConnectionState, Grant, Lease
from brokersync.sealing import Sealer, sealed_by
from brokersync.store import KeyReplacedError, SealedGrant, Store
from brokersync.types import AuthResult

# how many bits it has: too many to be met twice, and few enough to be exact in JSON
_FIRST_GENERATION: Final = 48
# beside the fields of a login, which have other names
_KNOWN: Final = "brokersync"


@attrs.frozen
class _Unstored:
    """What a broker gave in place of a grant, and the store has not taken yet."""

    grant: Grant
    new: Grant
    fields: Mapping[str, str] = attrs.field(repr=False)


class GrantVault:
    """Grants and credentials in the store, sealed for their owner.

    What is sealed while the owner's data key is replaced is sealed again, so that what is kept always opens. What the
    store does not take of a renewal exists nowhere else, so it is held here until the store takes it, or has a newer
    one.
    """

    def __init__(self, store: Store, sealer: Sealer) -> None:
        self.store, self._sealer = store, sealer
        self._unstored: dict[tuple[str, ...], _Unstored] = {}

    async def add(
        self,
        connection: Connection,
        auth: AuthResult,
        fields: Mapping[str, str],
        *,
        made_at: datetime | None,
        session: Lease | None = None,
        taken_over: str | None = None,
    ) -> Connection:
        """See `Store.add_connection`; `taken_over` is the fingerprint of foreign tokens, and their made-up name.

        A login of the same fields that was made after this one, by a process that was faster, stays while it works.
        """
        if await self._has_newer(connection, fields, made_at):
            joined = await self.store.join_connection(connection)
            if joined is not None and joined.state is not ConnectionState.NEEDS_USER:
                return joined
        while True:
            with suppress(KeyReplacedError):
                grant = await self._user_made(
                    connection, auth, fields, made_at=made_at, session=session, taken_over=taken_over
                )
                return await self.store.add_connection(connection, grant, instead_of=taken_over)

    async def log_in_again(
        self,
        connection: Connection,
        auth: AuthResult,
        fields: Mapping[str, str],
        *,
        made_at: datetime | None,
        session: Lease | None = None,
    ) -> tuple[Connection, ...] | None:
        """See `Store.log_in_again`."""
        # a connection has its owner's key; where that has gone, a new one would outlive the owner who was forgotten
        while (wrapped := await self.store.wrapped_key(connection.owner)) is not None:
            with suppress(KeyReplacedError):
                grant = await self._user_made(
                    connection, auth, fields, made_at=made_at, session=session, wrapped=wrapped
                )
                return await self.store.log_in_again(connection, grant)
        return None

    async def keep(self, connection: Connection, auth: AuthResult, fields: Mapping[str, str]) -> SealedGrant:
        """See `Store.keep_grant`."""
        while True:
            with suppress(KeyReplacedError):
                grant = await self._user_made(connection, auth, fields)
                await self.store.keep_grant(grant)
                return grant

    async def seal(
        self,
        *,
        owner: str,
        provider: str,
        environment: str,
        auth: AuthResult,
        fields: Mapping[str, str],
        generation: int,
        taken_over: Iterable[str] = (),
        made_at: datetime | None = None,
        session: Lease | None = None,
        wrapped: bytes | None = None,
    ) -> SealedGrant:
        """What may be written to the store of a login, the fields it was made from, and what core knows of it.

        It is sealed with the data key `wrapped`, else with the owner's, which is made on first use.
        """
        wrapped = wrapped or await self.store.wrapped_key(owner) or await self._first_key(owner)
        key = await self._sealer.data_key(wrapped, owner)
        known = SEALED.unstructure({"taken_over": [*taken_over], "made_at": made_at, "session": session})
        row = f"{provider}|{environment}|{auth.identity}"
        return SealedGrant(
            owner=owner,
            provider=provider,
            environment=environment,
            identity=auth.identity,
            generation=generation,
            auth=key.seal(f"auth|{row}", json.dumps(SEALED.unstructure(auth) | {_KNOWN: known})),
            credentials=key.seal(f"credentials|{row}", json.dumps(dict(fields))),
            expires_at=auth.expires_at,
            grant_expires_at=auth.grant_expires_at,
            sealed_with=wrapped,
        )

    async def _first_key(self, owner: str) -> bytes:
        new = await self._sealer.new_data_key(owner)
        wrapped = await self.store.data_key(owner, lambda: new)
        if wrapped != new:
            return wrapped
        # a rotation of the master key that had ended before it was stored has not seen it
        again = await self._sealer.rewrapped(new, owner)
        if sealed_by(again) == sealed_by(new) or not await self.store.replace_key(owner, new, again):
            return wrapped
        return again

    async def load(self, connection: Connection) -> tuple[Grant, dict[str, str]]:
        """The connection's grant and the user's fields. Raises `BrokerAuthError` when there is none."""
        sealed = await self.store.grant(
            connection.owner, connection.provider, connection.grant_environment, connection.identity
        )
        if sealed is None or sealed.sealed_with is None:
            raise BrokerAuthError(f"The connection {connection.connection_id} has no login.")
        return await self._opened(sealed, sealed.sealed_with)

    async def reload(self, grant: Grant) -> Grant:
        """The grant as it is now. Raises `BrokerAuthError` when there is none any more."""
        sealed = await self.store.grant(grant.owner, grant.provider, grant.environment, grant.identity)
        if sealed is None or sealed.sealed_with is None:
            raise BrokerAuthError("The login was removed while it was in use.", provider=grant.provider)
        return (await self._opened(sealed, sealed.sealed_with))[0]

    async def _opened(self, sealed: SealedGrant, wrapped: bytes) -> tuple[Grant, dict[str, str]]:
        key = await self._sealer.data_key(wrapped, sealed.owner)
        auth = json.loads(key.unseal(f"auth|{sealed.row}", sealed.auth))
        known = auth.pop(_KNOWN, {})
        fields = key.unseal(f"credentials|{sealed.row}", sealed.credentials)
        grant = Grant(
            owner=sealed.owner,
            provider=sealed.provider,
            environment=sealed.environment,
            identity=sealed.identity,
            generation=sealed.generation,
            auth=SEALED.structure(auth, AuthResult),
            renewing_since=sealed.renewing_since,
            refused_since=sealed.refused_since,
            taken_over=tuple(known.get("taken_over", ())),
            made_at=SEALED.structure(known.get("made_at"), datetime | None),  # type: ignore[arg-type]  # cattrs takes unions, and its types do not say so
            session=SEALED.structure(known.get("session"), Lease | None),  # type: ignore[arg-type]  # as above
        )
        return grant, json.loads(fields)

    async def replace(
        self,
        grant: Grant,
        auth: AuthResult,
        fields: Mapping[str, str],
        *,
        made_at: datetime,
        session: Lease | None = None,
        doubt: datetime | None = None,
        refused_since: datetime | None = None,
    ) -> Grant | None:
        """Make `auth` durable in place of `grant`; `None` when another worker was first, or the owner is forgotten.

        An earlier renewal is in `doubt` still, where given. Whatever it raises, `auth` is held until `catch_up`.
        """
        new = attrs.evolve(grant, auth=auth, generation=grant.generation + 1, made_at=made_at, session=session)
        new = attrs.evolve(new, renewing_since=doubt, refused_since=refused_since)
        self._unstored[_login(grant)] = unstored = _Unstored(grant, new, fields)
        return new if await self._stored(unstored) else None

    def holds_newer(self, grant: Grant | SealedGrant) -> bool:
        """Whether what replaces this grant is held here only, for want of a store that takes it."""
        unstored = self._unstored.get(_login(grant))
        return unstored is not None and unstored.grant.generation == grant.generation

    def held(self, owner: str | None) -> tuple[Grant, ...]:
        """The grants of an owner, or of all, whose replacement is held here only."""
        return tuple(one.grant for one in self._unstored.values() if owner in (None, one.grant.owner))

    async def catch_up(self, grant: Grant) -> None:
        """Store what is held of this login, unless the store has a newer one. Raises `StoreError` when it still fails.

        To be called before anything is sent with what is stored.
        """
        if (unstored := self._unstored.get(_login(grant))) is not None:
            await self._stored(unstored)

    async def catch_up_all(self) -> None:
        """Store all that is held; one that fails keeps no other from it."""
        failed: BrokerError | None = None
        for unstored in tuple(self._unstored.values()):
            try:
                await self._stored(unstored)
            except BrokerError as error:
                failed = error
        if failed is not None:
            raise failed

    async def _stored(self, unstored: _Unstored) -> bool:
        done, name = await self._replace(unstored), _login(unstored.grant)
        if self._unstored.get(name) is unstored:
            del self._unstored[name]
        return done

    async def _replace(self, unstored: _Unstored) -> bool:
        grant = unstored.new
        while (wrapped := await self.store.wrapped_key(grant.owner)) is not None:
            with suppress(KeyReplacedError):
                sealed = await self.seal(
                    owner=grant.owner,
                    provider=grant.provider,
                    environment=grant.environment,
                    auth=grant.auth,
                    fields=unstored.fields,
                    generation=grant.generation,
                    taken_over=grant.taken_over,
                    made_at=grant.made_at,
                    session=grant.session,
                    wrapped=wrapped,
                )
                sealed = attrs.evolve(sealed, renewing_since=grant.renewing_since, refused_since=grant.refused_since)
                return await self.store.replace_grant(sealed)
        return False

    def close(self) -> None:
        """Forget every key that was opened."""
        self._sealer.close()

    async def _has_newer(self, connection: Connection, fields: Mapping[str, str], made_at: datetime | None) -> bool:
        """Whether what is kept of the login was made later than `made_at`, which the broker may have ended by it."""
        with suppress(BrokerError):  # there is none, or it does not open
            kept, kept_fields = await self.load(connection)
            if made_at is not None and kept.made_at is not None and kept_fields == dict(fields):
                return kept.made_at > made_at
        return False

    async def _user_made(
        self,
        connection: Connection,
        auth: AuthResult,
        fields: Mapping[str, str],
        *,
        made_at: datetime | None = None,
        session: Lease | None = None,
        taken_over: str | None = None,
        wrapped: bytes | None = None,
    ) -> SealedGrant:
        known = [] if taken_over is None else [taken_over]
        with suppress(BrokerError):  # there was none, or it does not open
            known = [*(await self.load(connection))[0].taken_over, *known]
        return await self.seal(
            owner=connection.owner,
            provider=connection.provider,
            environment=connection.grant_environment,
            auth=auth,
            fields=fields,
            # a renewal of an earlier login, ended since, must not take this one for the one it renews
            generation=secrets.randbits(_FIRST_GENERATION),
            taken_over=dict.fromkeys(known),
            made_at=made_at,
            session=session,
            wrapped=wrapped,
        )


def _login(grant: Grant | SealedGrant) -> tuple[str, ...]:
    return grant.owner, grant.provider, grant.environment, grant.identity
