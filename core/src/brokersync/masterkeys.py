"""Master keys: from the environment or a key file, the first one seals and every one opens."""

from __future__ import annotations

import base64
import binascii
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Protocol, runtime_checkable

from brokersync.errors import BrokerConfigError
from brokersync.sealing import KEY_BYTES, KEY_VARIABLE, KeyProvider, decrypt, encrypt, key_id, sealed_by

_BETWEEN_KEYS = re.compile(r"[\s,]+")


@runtime_checkable
class Rotates(Protocol):
    """A `KeyProvider` whose wrapping key `rotate_key` replaces.

    The old key goes on opening until `end`. Both may be interrupted at any moment.
    """

    async def begin(self) -> KeyProvider:
        """Make the new key; what is given wraps with it, and opens with the old ones too, also after `end`."""

    async def end(self) -> Sequence[str]:
        """What is left to do for the operator, in sentences."""


class MasterKeys:
    """A `KeyProvider` over 256-bit keys in memory; the first seals, all open. `repr` shows only their ids."""

    def __init__(self, *keys: bytes) -> None:
        if not keys:
            raise BrokerConfigError("There is no master key.", remedy=_remedy())
        for key in keys:
            if len(key) != KEY_BYTES:
                raise BrokerConfigError(f"The master key has {len(key)} bytes and needs {KEY_BYTES}.", remedy=_remedy())
        self.keys = keys
        self._by_id = {key_id(key): key for key in keys}

    async def wrap(self, data_key: bytes, owner: str) -> bytes:
        return encrypt(self.keys[0], data_key, f"data-key|{owner}")

    async def unwrap(self, wrapped: bytes, owner: str) -> bytes:
        # a key that is not there is told by the first one, after what else may be wrong with the value
        key = self._by_id.get(sealed_by(wrapped), self.keys[0])
        return decrypt(key, wrapped, f"data-key|{owner}", or_else="forget the owner and connect again")

    def knows(self, wrapped: bytes) -> bool:
        """Whether one of these keys sealed it."""
        return sealed_by(wrapped) in self._by_id

    def __repr__(self) -> str:
        return f"MasterKeys({', '.join(name.hex() for name in self._by_id)})"


def master_keys(key_file: Path, environ: Mapping[str, str] | None = None) -> tuple[MasterKeys, bool]:
    """The keys from `BROKERSYNC_KEY`, else from `key_file`, which is made with mode 0600 when it is missing.

    The second value says whether a key file was made just now, so that its owner is told once.
    """
    named = _named(environ)
    if named:
        return _parsed(named, f"The environment variable {KEY_VARIABLE}"), False
    try:
        made = not key_file.exists() and _write(key_file, [os.urandom(KEY_BYTES)], first=True)
        text = key_file.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise _unusable(key_file, error) from None
    return _parsed(text, f"The key file {key_file}"), made


class KeyFile:
    """The `KeyProvider` of `master_keys`, read or made when the first value is sealed or opened.

    `on_made` is told the path when a key file was made. The file is read again for each new owner and when a value
    names a key that is not known, so another process may rotate it. A file that is `shared` by several stores never
    loses a key, since only a store itself can tell which of them still open what is in it.
    """

    def __init__(self, path: Path, on_made: Callable[[Path], None] = lambda _: None, *, shared: bool = False) -> None:
        self._path, self._on_made, self._shared = path, on_made, shared
        self._known: MasterKeys | None = None
        self._replaced: frozenset[bytes] = frozenset()

    async def wrap(self, data_key: bytes, owner: str) -> bytes:
        return await self._read().wrap(data_key, owner)

    async def unwrap(self, wrapped: bytes, owner: str) -> bytes:
        if self._known is None or not self._known.knows(wrapped):
            if not _named() and not self._path.exists():
                raise BrokerConfigError(
                    f"The key file {self._path} is missing, and the logins in the store were sealed with it.",
                    remedy=f"Put it back, or set {KEY_VARIABLE}; if it is lost, connect again in a new store.",
                )
            self._read()
        return await self._read_once().unwrap(wrapped, owner)

    async def begin(self) -> KeyProvider:
        """Put a new key at the head of the file. Of `BROKERSYNC_KEY` the first key is the new one."""
        if _named():
            keys = self._read()
            if len(keys.keys) == 1:
                raise _new_key_for_the_environment()
            return keys
        # the lease of a rotation keeps away those of the same store only
        with self._alone() if self._shared else nullcontext():
            keys = self._read()
            self._replaced = frozenset(keys.keys)
            return self._rewrite([os.urandom(KEY_BYTES), *keys.keys])

    async def end(self) -> Sequence[str]:
        """Take the old keys out of the file, unless it is shared."""
        keys = self._read()
        if _named():
            return (f"Nothing is sealed with the other keys of {KEY_VARIABLE} any more: take out all but the first.",)
        if self._shared:
            why = "since other stores of yours may be sealed with them. Of this one they open only old copies."
            return (f"The old keys stay in {self._path}, {why}",)
        self._rewrite([key for key in keys.keys if key not in self._replaced])
        return ()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Rotations of several stores put their keys into a shared file one after the other."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._path.with_name(f"{self._path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _unusable(self._path, error) from None
        try:
            try:
                _lock(handle)
            except OSError as error:
                raise _unusable(self._path, error) from None
            yield
        finally:
            os.close(handle)  # which ends the lock, as the end of the process does

    def _rewrite(self, keys: Sequence[bytes]) -> MasterKeys:
        try:
            _write(self._path, keys)
        except OSError as error:
            raise _unusable(self._path, error) from None
        self._known = MasterKeys(*keys)
        return self._known

    def _read(self) -> MasterKeys:
        self._known, made = master_keys(self._path)
        if made:
            self._on_made(self._path)
        return self._known

    def _read_once(self) -> MasterKeys:
        return self._known or self._read()


def _named(environ: Mapping[str, str] | None = None) -> str:
    return (os.environ if environ is None else environ).get(KEY_VARIABLE, "").strip()


def _parsed(text: str, where: str) -> MasterKeys:
    try:
        keys = [base64.b64decode(one, validate=True) for one in _BETWEEN_KEYS.split(text.strip())]
    except (binascii.Error, ValueError):
        raise BrokerConfigError(f"{where} is not base64.", remedy="Put 32 random bytes in base64 there.") from None
    return MasterKeys(*keys)


def _write(path: Path, keys: Sequence[bytes], *, first: bool = False) -> bool:
    """Write the keys, the old file or the new one being there whole at any moment; of several `first` ones one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(b"\n".join(map(base64.b64encode, keys)))
            file.flush()
            os.fsync(file.fileno())
        if not first:
            draft.replace(path)
        else:
            os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink(missing_ok=True)
    _settle(path.parent)
    return True


def _lock(handle: int) -> None:
    """Wait until no other process or thread holds it."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_LOCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX)


def _settle(folder: Path) -> None:
    """Make a name durable; Windows does so by itself and can not open folders."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remedy() -> str:
    return f"Put 32 random bytes in base64 into {KEY_VARIABLE}."


def _unusable(path: Path, error: OSError) -> BrokerConfigError:
    return BrokerConfigError(
        f"The key file {path} can not be used: {error.strerror}.",
        remedy=f"Check its path and permissions, or put the key into {KEY_VARIABLE}.",
    )


def _new_key_for_the_environment() -> BrokerConfigError:
    return BrokerConfigError(
        f"The key comes from {KEY_VARIABLE}, which only you can change.",
        remedy=(
            f"Put a new key in front of the old one in {KEY_VARIABLE}, with a comma between them, start every process "
            "that uses the store again, run this command again, and then take the old key out. A new key is made by: "
            "openssl rand -base64 32"
        ),
    )
