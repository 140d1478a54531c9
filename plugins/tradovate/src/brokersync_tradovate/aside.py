"""Work that takes seconds, in a thread beside the loop: it ends soon after nobody waits for it any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

_I = TypeVar("_I")
_T = TypeVar("_T")


class Each(Protocol):
    """Gives the same items, one by one; a place at which work may end before its time."""

    def __call__(self, items: Iterable[_I], /) -> Iterator[_I]: ...


async def aside(work: Callable[[Each], _T]) -> _T:
    """What `work` comes to, done in a thread.

    A thread can not be cancelled, and a loop that ends waits for it. So who is cancelled ends the work at the next item
    of those that it goes through by the `Each` that it is given.
    """
    unwanted = threading.Event()

    def each(items: Iterable[_I], /) -> Iterator[_I]:
        for item in items:
            if unwanted.is_set():
                raise _UnwantedError
            yield item

    try:
        return await asyncio.to_thread(lambda: work(each))
    finally:
        unwanted.set()


class _UnwantedError(Exception):
    """Nobody hears it."""
