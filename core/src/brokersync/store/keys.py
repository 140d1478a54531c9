"""The owners' data keys, wrapped, and what is sealed with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from brokersync.store.sealed import KeyReplacedError, SealedGrant
from brokersync.store.sql import Fetch, Many, Put, Script, execute, fetch_one

_COLUMNS: Final = ("owner", "wrapped")
_NO_KEY: Final = b""


def wrapped_key(owner: str) -> Script[bytes | None]:
    row = yield from fetch_one("SELECT wrapped FROM owner_keys WHERE owner = ?", owner)
    return None if row is None else bytes(row[0])


def data_key(owner: str, new: Callable[[], bytes]) -> Script[bytes]:
    kept = yield from wrapped_key(owner)
    while kept is None:  # another one that was there may be destroyed between the two
        yield Put("owner_keys", _COLUMNS, [(owner, new())], key=("owner",))
        kept = yield from wrapped_key(owner)
    return kept


def hold_key(owner: str) -> Script[None]:
    """Nobody makes, replaces or reads the owner's key to go by it until the transaction ends, also where there is none.

    To be followed by destroying it. Where there is none, a row of no bytes is locked, which is never committed.
    """
    row = None
    while row is None:  # another one who destroys it may have done so between the two
        yield Put("owner_keys", _COLUMNS, [(owner, _NO_KEY)], key=("owner",))
        row = yield from fetch_one("SELECT 1 FROM owner_keys WHERE owner = ? {for_update}", owner)
    # others wait for the end of this transaction all the same, and it is not counted among what went
    yield from execute("DELETE FROM owner_keys WHERE owner = ? AND wrapped = ?", owner, _NO_KEY)


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


def keep_key(owner: str) -> Script[bool]:
    """`False` for one who has no key, as one who has just been forgotten; else it stays until the transaction ends."""
    return (yield from fetch_one("SELECT 1 FROM owner_keys WHERE owner = ? {for_share}", owner)) is not None


def check_key(grant: SealedGrant) -> Script[None]:
    """Raises `KeyReplacedError` unless the grant is sealed with the owner's key, which stays until the end."""
    if grant.sealed_with is None:
        return
    row = yield from fetch_one("SELECT wrapped FROM owner_keys WHERE owner = ? {for_share}", grant.owner)
    if row is None or bytes(row[0]) != grant.sealed_with:
        raise KeyReplacedError(grant.owner)
