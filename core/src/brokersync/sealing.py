"""Authenticated encryption of credentials and tokens, bound to the row they stand in."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import OrderedDict
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from brokersync.errors import BrokerConfigError

KEY_VARIABLE: Final = "BROKERSYNC_KEY"
KEY_BYTES: Final = 32

_VERSION = b"\x01"
_ID_BYTES = 8
_NONCE_BYTES = 12
_REMEMBERED = 4096
_LOCKS = 64


class KeyProvider(Protocol):
    """Keeps the key that wraps every owner's data key, such as a key management service.

    `unwrap` opens whatever `wrap` ever gave for the same owner, and raises `BrokerConfigError` when it can not. What it
    gave is remembered in memory until the `BrokerSync` is closed, so it may be slow; it must not block the event loop.
    """

    async def wrap(self, data_key: bytes, owner: str) -> bytes: ...

    async def unwrap(self, wrapped: bytes, owner: str) -> bytes: ...


class DataKey:
    """The key of one owner's values; a value copied to another row or owner does not open."""

    def __init__(self, key: bytes, owner: str) -> None:
        self._key, self._owner = key, owner

    def seal(self, row: str, value: str) -> bytes:
        return encrypt(self._key, value.encode(), f"{self._owner}|{row}")

    def unseal(self, row: str, sealed: bytes) -> str:
        """Raises `BrokerConfigError` when the value was changed, moved, or sealed with another key."""
        return decrypt(self._key, sealed, f"{self._owner}|{row}").decode()


class Sealer:
    """Makes, opens and remembers the data keys of owners."""

    def __init__(self, keys: KeyProvider) -> None:
        self._keys = keys
        self._opened: OrderedDict[tuple[str, bytes], bytes] = OrderedDict()
        # tasks that want one key at the same time ask for it once
        self._locks = tuple(asyncio.Lock() for _ in range(_LOCKS))

    async def new_data_key(self, owner: str) -> bytes:
        """A fresh data key, wrapped, to be kept beside the owner's rows."""
        plain = os.urandom(KEY_BYTES)
        wrapped = await self._keys.wrap(plain, owner)
        self._remember((owner, wrapped), plain)
        return wrapped

    async def data_key(self, wrapped: bytes, owner: str) -> DataKey:
        """The key to seal and open with."""
        return DataKey(await self._plain(wrapped, owner), owner)

    async def rewrapped(self, wrapped: bytes, owner: str) -> bytes:
        """The same data key, wrapped with what the provider wraps with now."""
        return await self._keys.wrap(await self._plain(wrapped, owner), owner)

    def close(self) -> None:
        """Forget every key that was opened."""
        self._opened.clear()

    async def _plain(self, wrapped: bytes, owner: str) -> bytes:
        name = (owner, wrapped)
        async with self._locks[hash(name) % _LOCKS]:
            if name not in self._opened:
                self._remember(name, await self._keys.unwrap(wrapped, owner))
            self._opened.move_to_end(name)
            return self._opened[name]

    def _remember(self, name: tuple[str, bytes], plain: bytes) -> None:
        self._opened[name] = plain
        if len(self._opened) > _REMEMBERED:
            self._opened.popitem(last=False)


def key_id(key: bytes) -> bytes:
    """The name of a key, which tells nothing of it."""
    return hashlib.sha256(b"brokersync key id" + key).digest()[:_ID_BYTES]


def sealed_by(sealed: bytes) -> bytes:
    """The name of the key that a value was sealed with."""
    return sealed[1 : 1 + _ID_BYTES]


def encrypt(key: bytes, value: bytes, bound_to: str) -> bytes:
    """A value that only `key` opens, and only where it is `bound_to`."""
    nonce = os.urandom(_NONCE_BYTES)
    return _VERSION + key_id(key) + nonce + AESGCM(key).encrypt(nonce, value, bound_to.encode())


def decrypt(key: bytes, sealed: bytes, bound_to: str, *, or_else: str = "connect again") -> bytes:
    """Raises `BrokerConfigError` when the value was changed, moved, or sealed with another key."""
    version, rest = sealed[:1], sealed[1 + _ID_BYTES :]
    if not rest:
        raise _does_not_open(or_else)
    if version != _VERSION:
        raise BrokerConfigError("A sealed value was written by a newer brokersync.", remedy="Upgrade brokersync.")
    if sealed_by(sealed) != key_id(key):
        raise BrokerConfigError(
            "The credentials in this store were sealed with another key.",
            remedy=f"Set {KEY_VARIABLE} to the key they were sealed with, or put the store's key file back.",
        )
    try:
        return AESGCM(key).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], bound_to.encode())
    except (InvalidTag, ValueError):  # a value cut off within its nonce is a ValueError
        raise _does_not_open(or_else) from None


def _does_not_open(or_else: str) -> BrokerConfigError:
    return BrokerConfigError(
        "A sealed value does not open: it was changed or copied from another row.",
        remedy=f"Restore the store from a backup, or {or_else}.",
    )
