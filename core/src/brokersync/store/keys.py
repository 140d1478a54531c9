"""The owners' data keys, wrapped, and what is sealed with them."""

from __future__ import annotations

from collections.abc import Callable

from brokersync.store.sealed import KeyReplacedError, SealedGrant
from brokersync.store.sql import Fetch, Many, Put, Script, fetch_one


def wrapped_key(owner: str) -> Script[bytes | None]:
    row = yield from fetch_one("SELECT wrapped FROM owner_keys WHERE owner = ?", owner)
    return None if row is None else bytes(row[0])


def data_key(owner: str, new: Callable[[], bytes]) -> Script[bytes]:
    kept = yield from wrapped_key(owner)
    if kept is None:
        yield Put("owner_keys", ("owner", "wrapped"), [(owner, new())], key=("owner",))
        kept = yield from wrapped_key(owner)
    return kept or b""


def wrapped_keys(after: str, limit: int) -> Script[tuple[tuple[str, bytes], ...]]:
    rows = yield Fetch("SELECT owner, wrapped FROM owner_keys WHERE owner > ? ORDER BY owner LIMIT ?", (after, limit))
    return tuple((owner, bytes(wrapped)) for owner, wrapped in rows)


def replace_key(owner: str, old: bytes, new: bytes) -> Script[bool]:
    row = yield from fetch_one(
        "UPDATE owner_keys SET wrapped = ? WHERE owner = ? AND wrapped = ? RETURNING owner", new, owner, old
    )
    return row is not None


def reseal(owner: str, old: bytes, new: bytes, change: Callable[[SealedGrant], SealedGrant]) -> Script[bool]:
    """Another data key, and every grant of the owner sealed with it; their generations stay."""
    replaced = yield from replace_key(owner, old, new)
    if not replaced:
        return False
    rows = yield Fetch(
        "SELECT provider, environment, identity, generation, auth, credentials FROM grants WHERE owner = ?"
        " ORDER BY provider, environment, identity {for_update}",
        (owner,),
    )
    grants = [
        change(
            SealedGrant(
                owner=owner, provider=row[0], environment=row[1], identity=row[2],
                generation=row[3], auth=bytes(row[4]), credentials=bytes(row[5]),
            )
        )
        for row in rows
    ]  # fmt: skip
    yield Many(
        "UPDATE grants SET auth = ?, credentials = ?"
        " WHERE owner = ? AND provider = ? AND environment = ? AND identity = ?",
        [(one.auth, one.credentials, owner, one.provider, one.environment, one.identity) for one in grants],
    )
    return True


def check_key(grant: SealedGrant) -> Script[None]:
    """Raises `KeyReplacedError` unless the grant is sealed with the owner's key, which stays until the end."""
    if grant.sealed_with is None:
        return
    row = yield from fetch_one("SELECT wrapped FROM owner_keys WHERE owner = ? {for_share}", grant.owner)
    if row is None or bytes(row[0]) != grant.sealed_with:
        raise KeyReplacedError(grant.owner)
