"""Runs commands of the command line, each in a process of its own that kills itself at one of its moments.

Forked, since a fresh interpreter for each would take most of the time. A line in is JSON: `words` of the command, the
moment `at` which it is killed (0: never), and how many seconds `later` it is for it. A line out: how it ended, and how
many moments it had when it was not killed.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
from contextlib import redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Any

from brokersync.__main__ import main
from brokersync.clock import SystemClock

from .moments import Moments

_NOWHERE = os.open(os.devnull, os.O_WRONLY)


def _run(words: list[str], at: int, later: float) -> tuple[int, int]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(_NOWHERE, 1)
        _command(words, at, later, writing)
    os.close(writing)
    with os.fdopen(reading) as told:
        moments = int(told.read() or 0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), moments


def _command(words: list[str], at: int, later: float, told: int) -> None:
    code = 99
    try:
        _put_on(later)
        moments = Moments(at)
        moments.watch()
        code = int(main(words))
        os.write(told, str(moments.number).encode())
    finally:
        os._exit(code)


def _put_on(seconds: float) -> None:
    now: Any = SystemClock.now
    SystemClock.now = lambda self: now(self) + timedelta(seconds=seconds)  # type: ignore[method-assign]  # time passes


def _warm_up() -> None:
    """What a command imports, the children have then."""
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        for command in (["migrate"], ["forget", "--yes"], ["rotate-key"]):
            main([*command, "--store", str(Path(folder) / "store.db")])


_warm_up()
print("ready", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    print(*_run(asked["words"], asked["at"], asked["later"]), flush=True)
