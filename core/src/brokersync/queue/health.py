"""Whether a worker lives and is ready, over HTTP, for what starts and stops it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from aiohttp.http import HttpProcessingError

from brokersync.errors import BrokerConfigError
from brokersync.queue.worker import Worker

_LOGGER: Final = logging.getLogger(__name__)


def _is_of_us(record: logging.LogRecord) -> bool:
    """What a stranger sends that is no HTTP is answered with 400, and would fill the log with what it sent."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_LOGGER.addFilter(_is_of_us)


@asynccontextmanager
async def serving_health(worker: Worker, host: str, port: int) -> AsyncIterator[str]:
    """`/healthz` answers as long as the worker's loop does, `/readyz` with 200 while it works and the store answers.

    Yields where it listens; port 0 takes a free one.
    """

    async def alive(_: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def ready(_: web.Request) -> web.Response:
        trouble = await worker.trouble()
        return web.json_response({"ready": trouble is None, "reason": trouble}, status=200 if trouble is None else 503)

    application = web.Application()
    application.add_routes([web.get("/healthz", alive), web.get("/readyz", ready)])
    runner = web.AppRunner(application, access_log=None, logger=_LOGGER)
    await runner.setup()
    try:
        named = f"[{host}]" if ":" in host else host
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise BrokerConfigError(
                f"{named}:{port} can not be listened at: {error.strerror}.", remedy="Name another with --health."
            ) from None
        yield f"http://{named}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
