"""`brokersync worker`: sync what is due and what is asked for, until it is stopped."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from brokersync.cli.common import Common, finish, note, print_json
from brokersync.cli.exits import Exit, UsageError

if TYPE_CHECKING:
    from brokersync.config import QueueSettings
    from brokersync.events import EventSink
    from brokersync.queue.worker import Worker

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def worker(
    *,
    concurrency: Annotated[int | None, Parameter(help="How many syncs at a time. Else queue.concurrency.")] = None,
    health: Annotated[
        str | None, Parameter(help="HOST:PORT or PORT for /healthz and /readyz; a port alone is on 127.0.0.1.")
    ] = None,
    stop_within: Annotated[int | None, Parameter(help="Seconds to stop in. Else queue.stop_within.")] = None,
    common: Common = Common(),
) -> int:
    """Sync what is due and what is asked for, of all owners, until it is stopped.

    Any number may run, on any number of machines that share a store. With brokersync[otel] it gives metrics and spans
    to the OpenTelemetry SDK that the process has. SIGTERM or Ctrl-C stops it: syncs end at their
    next page, and another worker goes on with them. A second one does not wait.
    """
    return finish(_worker(concurrency, health, stop_within, common), common)


async def _worker(concurrency: int | None, health: str | None, stop_within: int | None, common: Common) -> int:
    if concurrency is not None and concurrency < 1:
        raise UsageError("--concurrency must be at least 1.", remedy="Leave it out, or give a number.")
    if stop_within is not None and stop_within < 0:
        raise UsageError("--stop-within must not be below 0.", remedy="Give seconds; 0 does not wait.")
    at = _address(health) if health is not None else None
    # its tracebacks of a Redis that is away: our events say it once
    logging.getLogger("docket").setLevel(logging.CRITICAL)
    async with common.open(hears=_telemetry()) as bs, AsyncExitStack() as stack:
        within = None if stop_within is None else timedelta(seconds=stop_within)
        made = bs.worker(concurrency=concurrency, stop_within=within)
        where = await stack.enter_async_context(_listening(made, at)) if at is not None else None
        syncs = "one sync" if made.concurrency == 1 else f"{made.concurrency} syncs"
        said = f"The worker has started: {syncs} at a time{f', health at {where}' if where else ''}."
        _tell_of_reserve(common.settings().queue, made.concurrency)
        await _until_stopped(made, lambda: note(said))
    if common.json:
        print_json({"syncs": made.outcomes})
    note("The worker has stopped.")
    return Exit.DONE


def _tell_of_reserve(queue: QueueSettings, places: int) -> None:
    """The file has places enough for its reserve, but the option may be smaller."""
    kept = queue.reserved(places)
    if queue.reserve is not None and kept < queue.reserve:
        note(
            f"queue.reserve is {queue.reserve}, and --concurrency {places}: one place is left to what is merely due, so"
            f" {kept} {'is' if kept == 1 else 'are'} kept for syncs that somebody waits for."
        )


def _telemetry() -> EventSink | None:
    if find_spec("opentelemetry") is None:
        return None
    from brokersync.telemetry import otel_events

    return otel_events()


@asynccontextmanager
async def _listening(made: Worker, at: tuple[str, int]) -> AsyncIterator[str]:
    from brokersync.queue.health import serving_health

    async with serving_health(made, *at) as where:
        yield where


async def _until_stopped(made: Worker, on_started: Callable[[], None]) -> None:
    running = asyncio.create_task(made.run(on_started=on_started))
    asked = False

    def stop() -> None:
        nonlocal asked
        if asked:
            running.cancel()
        asked = True
        made.stop()

    loop = asyncio.get_running_loop()
    for name in _SIGNALS:
        try:
            loop.add_signal_handler(name, stop)
        except NotImplementedError:
            # Windows has no signal handlers in its loop; there Ctrl-C ends the loop itself
            break
    try:
        await running
    except asyncio.CancelledError:
        if not running.cancelled():
            raise


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(
            f"--health {text!r} is no place to listen at.", remedy="Write it like 127.0.0.1:8080, or 8080."
        )
    return host.strip("[]") or "127.0.0.1", int(port)
