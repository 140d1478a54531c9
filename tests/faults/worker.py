"""A worker as a process of its own: syncs connections until nothing is left to do.

Called with the store's place, the configuration, the number of the page before whose commit it stops itself (0: never),
by how many seconds its clock is behind, and the connections. One that has stopped itself and so lost its lease ends at
once; one that was only too slow runs again. Its last line says how many commits were refused for a lost lease.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from moved_clock import MovedClock  # beside this script

from brokersync import BrokerSync, Done
from brokersync.config import load_settings
from brokersync.errors import LeaseLostError
from brokersync.store.place import store_at
from brokersync_ibkr import orders

# a statement is asked for again at once, and not after ten real seconds
orders._WAITS = (0.1,)


class Watch:
    """Stands before a store's commits."""

    def __init__(self, store: Any, stop_at: int) -> None:
        self._commit, self._left = store.commit_page, stop_at
        self._extend, self._writing = store.extend_lease, asyncio.Lock()
        self.refused = 0
        store.commit_page, store.extend_lease = self, self._beat

    async def _beat(self, *lease: Any) -> Any:
        async with self._writing:
            return await self._extend(*lease)

    async def __call__(self, *page: Any) -> Any:
        self._left -= 1
        if self._left == 0:
            async with self._writing:  # one that stops in the middle of a write keeps everybody from writing
                print("stopping", flush=True)
                os.kill(os.getpid(), signal.SIGSTOP)
        try:
            return await self._commit(*page)
        except LeaseLostError:
            self.refused += 1
            raise


async def main(place: str, config: str, stop_at: int, behind: float, *connections: str) -> None:
    store, _ = store_at(place)
    watch = Watch(store, stop_at)
    clock = MovedClock(timedelta(seconds=behind))
    async with BrokerSync.open(store, settings=load_settings(Path(config)), clock=clock) as bs:
        left = list(connections)
        while left and not (stop_at and watch.refused):
            for connection in list(left):
                outcome = await bs.run(connection)
                if isinstance(outcome, Done) and not outcome.report.problems:
                    left.remove(connection)
                elif outcome.report.problems:
                    print(outcome.report.problems, file=sys.stderr)
            # real time: another process has the connection, and is alive or not
            await asyncio.sleep(0.05)
    print("refused", watch.refused, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), *sys.argv[5:]))
