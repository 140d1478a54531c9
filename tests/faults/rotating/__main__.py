"""A worker: so many tasks that use one login again and again, each as a run of its own would.

It ends with 0 when the server has enough, and with 3 when anything asked for the user.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial

from brokersync import BrokerAuthError, BrokerSync
from brokersync.errors import BrokerRetryableError
from brokersync.factory import open_provider
from brokersync.masterkeys import MasterKeys
from brokersync.plugin import TradeRequest
from brokersync.records import Connection
from brokersync.store import StoreCache
from brokersync.store.place import store_at
from brokersync.types import TimeWindow

from .plugin import registry, settings

_ASKED_FOR_THE_USER = 3
_REQUESTS = 100
_PAUSE = 0.15


async def _task(bs: BrokerSync, connection: Connection) -> None:
    refusals = 0
    while True:
        try:
            if not await _once(bs, connection):
                return
            refusals = 0
        except BrokerRetryableError:
            pass
        except BrokerAuthError as error:
            # one that was refused although it was new may have expired since, and asks at the third time
            refusals += 1
            if error.certain or refusals == bs.settings.refusals:
                raise
        await asyncio.sleep(0.1)  # real time: the other processes go on by it


async def _once(bs: BrokerSync, connection: Connection) -> bool:
    """A sync's way to its pages, without what comes of them; whether to go on."""
    shared = bs._shared
    loaded = shared.registry.load(connection.provider)
    keeper = shared.keeper(connection, partial(shared.login, loaded, connection.environment, owner=connection.owner))
    grant, _ = await shared.vault.load(connection)
    async with open_provider(
        loaded,
        environment=connection.environment,
        settings=shared.settings,
        clock=shared.clock,
        limiter=shared.limiter,
        cache=StoreCache(shared.store, connection.provider, connection.environment),
        tokens=keeper,
    ) as provider:
        now = shared.clock.now()
        request = TradeRequest(source="fills", accounts=(), window=TimeWindow(now.replace(year=2000), now))
        for _ in range(_REQUESTS):
            auth = await keeper.current(grant.auth)
            async for page in provider.get_trades(auth, request):
                if page.cursor is None:
                    return False
            await asyncio.sleep(_PAUSE)  # real time: a token has to live longer than fifty tasks need to take it up
    return True


async def _main(place: str, url: str, key: str, count: int) -> int:
    store, _ = store_at(place)
    async with BrokerSync(
        store=store, registry=registry(), keys=MasterKeys(bytes.fromhex(key)), settings=settings(url)
    ) as bs:
        (connection,) = await bs.connections()
        tasks = [asyncio.create_task(_task(bs, connection)) for _ in range(count)]
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    for end in ends:
        if isinstance(end, BrokerAuthError):
            sys.stderr.write(f"{end}\n")
            return _ASKED_FOR_THE_USER
        if end is not None:
            raise end
    return 0


sys.exit(asyncio.run(_main(*sys.argv[1:4], int(sys.argv[4]))))
