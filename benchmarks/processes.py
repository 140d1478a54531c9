"""Processes of a table that print a line when they are ready, and what they counted when they are told to stop."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from typing import Any


def started(module: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", module, *words], stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    """Its next line."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ended(process: subprocess.Popen[str]) -> Any:
    """Its last line, as JSON."""
    process.terminate()
    return json.loads(process.communicate(timeout=120)[0].splitlines()[-1])


async def asked_to_stop() -> None:
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    await asked.wait()
