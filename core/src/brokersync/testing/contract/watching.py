"""What a plugin does besides answering: who sleeps, and who is talked to."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import attrs

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@attrs.define
class Watched:
    """What was seen: the plugin's modules that slept, and the hosts that somebody talked to."""

    slept: list[str] = attrs.field(factory=list)
    contacted: list[str] = attrs.field(factory=list)


_watching: list[Watched] = []
_hooked: list[bool] = []


@contextmanager
def watching(package: str, clock: Any) -> Iterator[Watched]:
    """Sees whether modules of this package sleep, and keeps all connections on this machine, until the block ends."""
    if not _hooked:
        _hooked.append(True)
        sys.addaudithook(_hear)
    seen = Watched()
    real_async, real_sync, real_clock = asyncio.sleep, time.sleep, clock.sleep

    def noting(real: Callable[..., Any]) -> Callable[..., Any]:
        def sleep(seconds: float, *more: Any) -> Any:
            frame = sys._getframe(1)  # noqa: SLF001  who calls is what is asked
            if seconds and _is_of(frame, package):
                seen.slept.append(f"{frame.f_globals['__name__']} line {frame.f_lineno}")
                seconds = 0
            return real(seconds, *more)

        return sleep

    _watching.append(seen)
    asyncio.sleep, time.sleep = noting(real_async), noting(real_sync)
    clock.sleep = noting(real_clock)
    try:
        yield seen
    finally:
        asyncio.sleep, time.sleep = real_async, real_sync
        del clock.sleep
        _watching.remove(seen)


def _is_of(frame: FrameType, package: str) -> bool:
    name = str(frame.f_globals.get("__name__", ""))
    return name == package or name.startswith(f"{package}.")


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook can not be taken away; it does nothing while nobody watches."""
    if not _watching:
        return
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        _note(str(arguments[1][0]))
    elif event == "socket.getaddrinfo" and arguments[0] is not None:
        name = arguments[0]
        _note(name.decode() if isinstance(name, bytes) else str(name))


def _note(host: str) -> None:
    if host in _LOOPBACK:
        return
    for one in _watching:
        one.contacted.append(host)
    raise ConnectionRefusedError(f"the contract suite lets nothing out, and {host} is outside")
