"""Authenticated encryption of credentials and tokens, bound to the row they stand in."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from brokersync.errors import BrokerConfigError

KEY_VARIABLE = "BROKERSYNC_KEY"

_VERSION = b"\x01"
_KEY_BYTES = 32
_ID_BYTES = 8
_NONCE_BYTES = 12


class KeyProvider(Protocol):
    """Keeps the key that wraps every owner's data key."""

    def wrap(self, data_key: bytes, owner: str) -> bytes: ...

    def unwrap(self, wrapped: bytes, owner: str) -> bytes: ...


class MasterKey:
    """A `KeyProvider` over one 256-bit key in memory; `repr` shows only its id."""

    def __init__(self, key: bytes) -> None:
        if len(key) != _KEY_BYTES:
            raise BrokerConfigError(
                f"The master key has {len(key)} bytes and needs {_KEY_BYTES}.",
                remedy=f"Put 32 random bytes in base64 into {KEY_VARIABLE}.",
            )
        self._key = key

    def wrap(self, data_key: bytes, owner: str) -> bytes:
        return _encrypt(self._key, data_key, f"data-key|{owner}")

    def unwrap(self, wrapped: bytes, owner: str) -> bytes:
        return _decrypt(self._key, wrapped, f"data-key|{owner}")

    def __repr__(self) -> str:
        return f"MasterKey({_key_id(self._key).hex()})"


def master_key(key_file: Path | None, environ: Mapping[str, str] | None = None) -> tuple[MasterKey, bool]:
    """The key from `BROKERSYNC_KEY`, else from `key_file`, which is made with mode 0600 when it is missing.

    The second value says whether a key file was made just now, so that its owner is told once.
    """
    named = (os.environ if environ is None else environ).get(KEY_VARIABLE)
    if named:
        return MasterKey(_decoded(named, f"The environment variable {KEY_VARIABLE}")), False
    if key_file is None:
        return MasterKey(os.urandom(_KEY_BYTES)), False
    try:
        made = not key_file.exists() and _make_key_file(key_file)
        text = key_file.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise BrokerConfigError(
            f"The key file {key_file} can not be used: {error.strerror}.",
            remedy=f"Check its path and permissions, or put the key into {KEY_VARIABLE}.",
        ) from None
    return MasterKey(_decoded(text, f"The key file {key_file}")), made


class LazyMasterKey:
    """The `KeyProvider` of `master_key`, read or made when the first value is sealed or opened.

    `on_made` is told the path when a key file was made.
    """

    def __init__(self, key_file: Path, on_made: Callable[[Path], None]) -> None:
        self._key_file, self._on_made = key_file, on_made
        self._key: MasterKey | None = None

    def wrap(self, data_key: bytes, owner: str) -> bytes:
        return self._loaded().wrap(data_key, owner)

    def unwrap(self, wrapped: bytes, owner: str) -> bytes:
        if self._key is None and not os.environ.get(KEY_VARIABLE) and not self._key_file.exists():
            raise BrokerConfigError(
                f"The key file {self._key_file} is missing, and the logins in the store were sealed with it.",
                remedy=f"Put it back, or set {KEY_VARIABLE}; if it is lost, connect your logins again in a new store.",
            )
        return self._loaded().unwrap(wrapped, owner)

    def _loaded(self) -> MasterKey:
        if self._key is None:
            self._key, made = master_key(self._key_file)
            if made:
                self._on_made(self._key_file)
        return self._key


def _make_key_file(path: Path) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    # written aside and linked into place: another process sees no key or a whole one, and the first one wins
    handle, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(base64.b64encode(os.urandom(_KEY_BYTES)))
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def _decoded(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise BrokerConfigError(f"{where} is not base64.", remedy="Put 32 random bytes in base64 there.") from None


class Sealer:
    """Seals values with the data key of their owner; a value copied to another row or owner does not open."""

    def __init__(self, keys: KeyProvider) -> None:
        self._keys = keys

    def new_data_key(self, owner: str) -> bytes:
        """A fresh data key, wrapped, to be kept beside the owner's rows."""
        return self._keys.wrap(os.urandom(_KEY_BYTES), owner)

    def seal(self, wrapped_key: bytes, owner: str, row: str, value: str) -> bytes:
        return _encrypt(self._keys.unwrap(wrapped_key, owner), value.encode(), f"{owner}|{row}")

    def unseal(self, wrapped_key: bytes, owner: str, row: str, sealed: bytes) -> str:
        """Raises `BrokerConfigError` when the value was changed, moved, or sealed with another key."""
        return _decrypt(self._keys.unwrap(wrapped_key, owner), sealed, f"{owner}|{row}").decode()


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"brokersync key id" + key).digest()[:_ID_BYTES]


def _encrypt(key: bytes, value: bytes, bound_to: str) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return _VERSION + _key_id(key) + nonce + AESGCM(key).encrypt(nonce, value, bound_to.encode())


def _decrypt(key: bytes, sealed: bytes, bound_to: str) -> bytes:
    version, key_id, rest = sealed[:1], sealed[1 : 1 + _ID_BYTES], sealed[1 + _ID_BYTES :]
    if version != _VERSION:
        raise BrokerConfigError("A sealed value was written by a newer brokersync.", remedy="Upgrade brokersync.")
    if key_id != _key_id(key):
        raise BrokerConfigError(
            "The credentials in this store were sealed with another key.",
            remedy=f"Set {KEY_VARIABLE} to the key they were sealed with, or put the store's key file back.",
        )
    try:
        return AESGCM(key).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], bound_to.encode())
    except (InvalidTag, ValueError):  # a value cut off within its nonce is a ValueError
        raise BrokerConfigError(
            "A sealed value does not open: it was changed or copied from another row.",
            remedy="Restore the store from a backup, or connect again.",
        ) from None
