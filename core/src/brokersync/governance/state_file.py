"""A small JSON file that several processes read and change."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from brokersync.errors import BrokerConfigError

Facts: TypeAlias = dict[str, Any]


class InMemory:
    """The same where there is no place for a file: what it holds ends with it."""

    def __init__(self) -> None:
        self._facts: Facts = {}

    def facts(self) -> Mapping[str, Any]:
        """See `StateFile`."""
        return self._facts

    def change(self, change: Callable[[Facts], None]) -> None:
        """See `StateFile`."""
        change(self._facts)


class StateFile:
    """Reads see it whole, and changes come one after the other. `purpose` names it in errors."""

    def __init__(self, path: Path, purpose: str) -> None:
        self.path, self._purpose = path, purpose
        self._read: tuple[object, Facts] = (None, {})

    def facts(self) -> Mapping[str, Any]:
        """What it holds; nothing where it is missing. Raises `BrokerConfigError` for one that can not be read."""
        try:
            told = self.path.stat()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._unusable(error.strerror) from None
        state = (told.st_mtime_ns, told.st_size, told.st_ino)
        if state != self._read[0]:
            self._read = (state, self._parsed())
        return self._read[1]

    def change(self, change: Callable[[Facts], None]) -> None:
        """Have `change` alter what it holds. Raises `BrokerConfigError` where it can not be written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _alone(self.path):
                facts = self._parsed() if self.path.exists() else {}
                change(facts)
                _write(self.path, json.dumps(facts, ensure_ascii=False, indent=2, sort_keys=True) + "\n")
        except OSError as error:
            raise self._unusable(error.strerror) from None

    def _parsed(self) -> Facts:
        try:
            facts = json.loads(self.path.read_text(encoding="utf-8"))
        except OSError as error:
            raise self._unusable(error.strerror) from None
        except ValueError:
            raise self._unusable("it is not JSON") from None
        if not isinstance(facts, dict):
            raise self._unusable("it is no JSON object")
        return facts

    def _unusable(self, why: str | None) -> BrokerConfigError:
        return BrokerConfigError(
            f"{self._purpose} in {self.path} can not be used: {why}.", remedy="Check the file and its permissions."
        )


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """The folder is locked, so that no further file is left behind; Windows can lock none, and gets one."""
    if sys.platform == "win32":
        import msvcrt

        handle = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        lock = partial(msvcrt.locking, handle, msvcrt.LK_LOCK, 1)
    else:
        import fcntl

        handle = os.open(path.parent, os.O_RDONLY)
        lock = partial(fcntl.flock, handle, fcntl.LOCK_EX)
    try:
        lock()
        yield
    finally:
        os.close(handle)  # which ends the lock, as the end of the process does


def _write(path: Path, text: str) -> None:
    import tempfile  # costs a listing 4 ms

    handle, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)  # it holds no secret, and who approves is not who runs
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
