"""What goes wrong at a broker of any kind costs a delay: nothing is lost, nothing doubled, nothing falsely covered."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

import pytest

from brokersync.errors import BrokerPluginError
from brokersync.plugin import (
    BrokerAPIError,
    BrokerAuthError,
    BrokerCursorError,
    BrokerDataUnavailableError,
    BrokerError,
    BrokerMaintenanceError,
    BrokerNotReadyError,
    BrokerRateLimitError,
    BrokerResponseError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    DataUnavailableReason,
    TimeWindow,
    TradeRequest,
)
from brokersync.records import Deferred, Done, SpanState
from brokersync.sync.ledger import subtract

from .ledger import DAY, START, truth
from .probes import Spy
from .stubs import KINDS, Kind
from .world import NOW, World, open_world

pytestmark = pytest.mark.sampled_on_postgres

HISTORY = [kind for kind in KINDS if kind.history]
WAIT = timedelta(minutes=20)

every_kind = pytest.mark.parametrize("kind", KINDS, ids=str)
with_history = pytest.mark.parametrize("kind", HISTORY, ids=str)
at_request = pytest.mark.parametrize("after", [0, 1], ids=["first request", "second request"])


def _problems(outcome: Done | Deferred) -> list[object]:
    return [problem["error"] for problem in outcome.report.problems]


async def _made_good(world: World) -> None:
    """After the trouble is over, one more catching up ends where it would have without."""
    assert await world.unproved() == []
    world.server.heal()
    await world.catch_up()
    assert await world.unproved() == []
    assert await world.facts() == truth(world.server.ledger)


@with_history
@at_request
@pytest.mark.parametrize("error", [BrokerUnavailableError, BrokerTimeoutError, BrokerMaintenanceError])
async def test_a_broker_that_fails_for_a_while_is_asked_again_later(
    kind: Kind, after: int, error: type[BrokerUnavailableError], stores: Any
) -> None:
    async with open_world(kind, stores) as world:
        world.server.fail(error("Not now."), after=after)
        outcome = await world.sync(long_wait=100)
        assert isinstance(outcome, Deferred)
        assert outcome.until > NOW
        assert error.__name__ in _problems(outcome)
        await _made_good(world)


@with_history
@at_request
async def test_a_limit_puts_the_sync_off_for_as_long_as_the_broker_says(kind: Kind, after: int, stores: Any) -> None:
    async with open_world(kind, stores) as world:
        world.server.fail(*[BrokerRateLimitError("Too many requests.", retry_after=WAIT)] * 50, after=after)
        outcome = await world.sync(long_wait=100)
        assert isinstance(outcome, Deferred)
        assert outcome.until == world.clock.now() + WAIT
        await _made_good(world)


@with_history
async def test_a_limit_of_one_request_a_sync_still_comes_to_an_end(kind: Kind, stores: Any) -> None:
    # without ids, a window has to be read in one go, and a day of this broker takes up to four requests
    budget = 1 if kind.named else 4
    async with open_world(kind, stores) as world:
        for _ in range(60):
            world.server.heal()
            world.server.fail(*[BrokerRateLimitError("Too many requests.", retry_after=WAIT)] * 9, after=budget)
            outcome = await world.sync()
            if isinstance(outcome, Done):
                break
            world.clock.set(outcome.until)
        assert isinstance(outcome, Done)
        await _made_good(world)


@with_history
@at_request
@pytest.mark.parametrize("error", [BrokerAPIError, BrokerResponseError])
async def test_a_refused_window_is_reported_and_asked_for_the_next_time(
    kind: Kind, after: int, error: type[BrokerAPIError], stores: Any
) -> None:
    async with open_world(kind, stores) as world:
        world.server.fail(error("No."), after=after)
        outcome = await world.sync(long_wait=100)
        assert isinstance(outcome, Done)
        assert _problems(outcome) == [error.__name__]
        await _made_good(world)


@with_history
@at_request
async def test_what_is_not_ready_is_asked_for_later_and_is_no_problem(kind: Kind, after: int, stores: Any) -> None:
    async with open_world(kind, stores) as world:
        world.server.fail(BrokerNotReadyError("Not finalised.", retry_after=WAIT), after=after)
        outcome = await world.sync(long_wait=100)
        assert isinstance(outcome, Deferred)
        assert outcome.until <= world.clock.now() + WAIT
        assert _problems(outcome) == []
        await _made_good(world)


@with_history
@pytest.mark.parametrize(
    ("reason", "state"),
    [
        (DataUnavailableReason.EXPIRED, SpanState.LOST),
        (DataUnavailableReason.BEFORE_ACCOUNT, SpanState.UNAVAILABLE),
    ],
)
async def test_what_can_not_be_had_is_written_down_and_not_asked_for_again(
    kind: Kind, reason: DataUnavailableReason, state: SpanState, stores: Any
) -> None:
    async with open_world(kind, stores, reread=timedelta(0)) as world:
        # a window of several days is asked for in smaller ones before it is given up
        world.server.fail(*[BrokerDataUnavailableError("Gone.", reason=reason)] * 4, after=1)
        await world.settle()
        assert await world.unproved() == []
        missing = await world.spans(state)
        assert any(missing.values())
        covered = await world.spans(SpanState.FINAL, SpanState.PROVISIONAL)
        for account, windows in missing.items():
            assert subtract(windows, covered[account]) == windows
        world.readings.clear()
        world.clock.set(world.clock.now() + 2 * DAY)
        await world.settle()
        for reading in world.readings:
            for windows in missing.values():
                settled = [window for window in windows if window.end <= NOW - DAY]
                assert subtract([reading.request.window], settled) == [reading.request.window]


@with_history
async def test_what_the_broker_does_not_have_yet_stays_open(kind: Kind, stores: Any) -> None:
    async with open_world(kind, stores) as world:
        error = BrokerDataUnavailableError("None yet.", reason=DataUnavailableReason.NO_SUCH_DATA)
        world.server.fail(error, after=1)
        outcome = await world.sync(long_wait=100)
        assert _problems(outcome) == ["BrokerDataUnavailableError"]
        assert not any((await world.spans(SpanState.LOST, SpanState.UNAVAILABLE)).values())
        await _made_good(world)


async def test_a_session_that_failed_is_made_good_before_it_is_over(stores: Any) -> None:
    (kind,) = (kind for kind in KINDS if not kind.history)
    async with open_world(kind, stores) as world:
        world.server.fail(BrokerUnavailableError("Not now."), BrokerAPIError("No."), BrokerNotReadyError("Soon."))
        world.clock.set(START + timedelta(hours=20))
        for expected in (Deferred, Done, Deferred):
            assert isinstance(await world.sync(), expected)
        await _made_good(world)


@every_kind
async def test_a_cursor_from_elsewhere_is_refused_before_anything_is_given(kind: Kind, stores: Any) -> None:
    async with open_world(kind, stores, now=NOW) as world:
        accounts = await world.store.accounts("c-1")
        request = TradeRequest(
            source=world.manifest.sources[0].name,
            window=TimeWindow(START + 8 * DAY, START + 9 * DAY),
            accounts=accounts[:1],
            cursor="from elsewhere",
        )
        pages = world.provider.get_trades(world.auth, request)
        with pytest.raises(BrokerCursorError):
            await anext(pages)


@every_kind
async def test_a_cursor_that_the_broker_does_not_know_starts_the_window_again(kind: Kind, stores: Any) -> None:
    async with open_world(kind, stores) as world:
        window = TimeWindow(START, START + DAY)
        await world.plant("from elsewhere", window)
        outcome = await world.sync(long_wait=100)
        assert _problems(outcome) == []
        assert world.readings[0].request.cursor == "from elsewhere"
        assert await world.store.open_requests("c-1") == ()
        await _made_good(world)


@every_kind
async def test_a_refused_login_ends_the_sync_and_the_next_one_completes_it(kind: Kind, stores: Any) -> None:
    async with open_world(kind, stores) as world:
        world.server.fail(BrokerAuthError("Locked."))
        with pytest.raises(BrokerAuthError):
            await world.catch_up()
        assert all(reading.closed for reading in world.readings)
        await _made_good(world)


@every_kind
async def test_a_bug_of_the_plugin_is_reported_as_one_and_loses_nothing(kind: Kind, stores: Any) -> None:
    async with open_world(kind, stores) as world:
        world.server.fail(ZeroDivisionError("a bug"))  # type: ignore[arg-type]  # what a plugin must not raise
        outcome = await world.sync()
        assert _problems(outcome)[0] == BrokerPluginError.__name__
        assert all(reading.closed for reading in world.readings)
        await _made_good(world)


@every_kind
@pytest.mark.parametrize("before", [False, True], ids=["after the page", "in the page"])
@pytest.mark.parametrize("place", [1, 2])
async def test_a_sync_cancelled_at_a_page_leaves_a_store_to_go_on_from(
    kind: Kind, place: int, before: bool, stores: Any
) -> None:
    async with open_world(kind, stores) as world:
        with pytest.raises(asyncio.CancelledError):
            await world.catch_up(store=Spy(world.store, place, _cancel, before=before))
        _uncancel()
        assert all(reading.closed for reading in world.readings)
        await _made_good(world)


@every_kind
@pytest.mark.parametrize("place", [1, 2])
async def test_a_sync_cancelled_in_a_request_leaves_a_store_to_go_on_from(kind: Kind, place: int, stores: Any) -> None:
    async with open_world(kind, stores) as world:
        world.server.on_call = lambda number: _cancel() if number == place else None
        with pytest.raises(asyncio.CancelledError):
            await world.catch_up()
        _uncancel()
        assert all(reading.closed for reading in world.readings)
        await _made_good(world)


def _cancel() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


def _uncancel() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()


@every_kind
@pytest.mark.parametrize("error", [BrokerUnavailableError, BrokerAPIError, BrokerAuthError])
async def test_a_generator_is_closed_whatever_it_ends_with(kind: Kind, error: type[BrokerError], stores: Any) -> None:
    async with open_world(kind, stores) as world:
        world.server.fail(*[error("No.")] * 9, after=1 if kind.history else 0)
        with contextlib.suppress(BrokerAuthError):
            await world.sync(long_wait=100)
        assert world.readings
        assert all(reading.closed for reading in world.readings)
