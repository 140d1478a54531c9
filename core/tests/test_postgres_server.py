"""A scratch Postgres ends with the process that started it, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

_STARTS_ONE = """
import sys
from brokersync.testing.postgres_server import NoPostgresError, scratch_postgres

try:
    with scratch_postgres() as running:
        print((running.data / "postmaster.pid").read_text().split()[0], running.folder, flush=True)
        sys.stdin.read()
except NoPostgresError as error:
    sys.exit(f"No Postgres here: {error}")
"""


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGKILL, None], ids=["SIGTERM", "SIGKILL", "by itself"])
def test_a_scratch_server_and_its_folder_go_with_the_process_that_started_it(ended_by: signal.Signals | None) -> None:
    command = (sys.executable, "-c", _STARTS_ONE)
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as starter:
        assert starter.stdout is not None
        assert starter.stderr is not None
        said = starter.stdout.readline().split(maxsplit=1)
        if not said and "No Postgres here" in (why := starter.stderr.read()):
            pytest.skip(why)
        pid, folder = said
        assert _lives(int(pid))
        if ended_by is not None:
            os.killpg(starter.pid, ended_by)  # as `timeout` and a terminal do: to all of the group
    assert starter.returncode == -(ended_by or 0)
    deadline = time.monotonic() + 60
    while _lives(int(pid)) or Path(folder.strip()).exists():
        assert time.monotonic() < deadline, "the server outlives who started it"
        time.sleep(0.05)  # real time: it ends in processes of its own
