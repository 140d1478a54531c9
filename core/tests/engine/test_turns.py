"""One account that fails, in whatever way and for however long, keeps no other one from being read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import attrs
import pytest

from brokersync.errors import (
    BrokerConfigError,
    BrokerError,
    BrokerMaintenanceError,
    BrokerRateLimitError,
    BrokerUnavailableError,
    LimitScope,
)
from brokersync.manifest import Calendar, CalendarUnit, SourceScope, SourceSpec
from brokersync.records import Deferred, SpanState
from brokersync.types import BrokerAccount, TradeRequest

from .bench import DAY, NOW, START, TODAY, A, B, Bench, Step, fill, page, step

# what is decided here is decided above the store
pytestmark = pytest.mark.long_on_postgres

ALL = [(START, TODAY, SpanState.FINAL)]
C = attrs.evolve(A, account_id="C")
ERRORS = [
    BrokerUnavailableError("HTTP 500", status=500),
    BrokerRateLimitError("HTTP 423", status=423),
    BrokerMaintenanceError("closed"),
    BrokerConfigError("its rows can not be read"),
]


def sick(error: BrokerError, *accounts: BrokerAccount) -> Callable[[TradeRequest], list[Step]]:
    return lambda request: [error] if any(one in accounts for one in request.accounts) else [page(request)]


async def asked(bench: Bench) -> str:
    await bench.run()
    bench.clock.moment += timedelta(minutes=10)
    return "".join(one.account_id for request in bench.requests for one in request.accounts)


@pytest.mark.parametrize("error", ERRORS)
async def test_an_account_that_fails_for_ever_keeps_no_other_from_being_read(bench: Bench, error: BrokerError) -> None:
    bench.accounts = (A, B, C)
    bench.source_is(longest_window=DAY, open_day=False)
    bench.answer = sick(error, A)
    await asked(bench)
    await asked(bench)
    assert (await bench.spans("B"), await bench.spans("C")) == (ALL, ALL)
    bench.clock.moment += DAY
    assert (await asked(bench)).startswith("BCA"), "who was well comes first from then on"


@pytest.mark.parametrize("error", ERRORS)
async def test_of_several_that_fail_each_has_its_turn_and_so_is_read_when_it_is_well(
    bench: Bench, error: BrokerError
) -> None:
    bench.accounts = tuple(attrs.evolve(A, account_id=name) for name in "ABCDE")
    bench.source_is(longest_window=DAY, open_day=False)
    bench.answer = sick(error, *bench.accounts)
    turns = [(await asked(bench))[0] for _ in range(10)]
    assert set(turns[:5]) == set(turns[5:]) == set("ABCDE")
    bench.answer = sick(error, *bench.accounts[:4])
    for _ in range(5):
        await asked(bench)
    assert await bench.spans("E") == ALL


async def test_new_windows_of_an_account_that_fails_do_not_come_before_those_of_others(bench: Bench) -> None:
    bench.accounts = (A, B)
    bench.source_is(calendar=Calendar(unit=CalendarUnit.INSTANT), longest_window=DAY)
    bench.answer = sick(BrokerRateLimitError("HTTP 423"), A)
    assert await asked(bench) == "A"
    for _ in range(3):
        turns = await asked(bench)
        assert (turns[0], turns[-1], turns.count("A")) == ("B", "A", 1)


async def test_an_account_that_failed_by_a_clock_that_was_ahead_does_not_wait_until_then(bench: Bench) -> None:
    bench.accounts = (A, B)
    bench.source_is(open_day=False)
    bench.answer = sick(BrokerRateLimitError("HTTP 423"), A, B)
    await asked(bench)
    bench.clock.moment += 300 * DAY
    await asked(bench)
    bench.clock.moment -= 300 * DAY
    assert [await asked(bench) for _ in range(3)] == ["B", "A", "B"]


async def test_a_place_that_is_kept_for_an_account_that_fails_does_not_come_before_others(bench: Bench) -> None:
    bench.accounts = (A, B)
    bench.source_is(open_day=False)
    limit = BrokerRateLimitError("HTTP 423")
    bench.answer = lambda request: (
        [page(request)]
        if request.accounts == (B,)
        else [limit]
        if request.cursor
        else [step(fill("1"), cursor="on"), limit]
    )
    await asked(bench)
    assert await asked(bench) == "BA"
    assert await bench.spans("B") == ALL
    assert await bench.cursors() == ["on"]


async def test_a_limit_that_is_the_accounts_own_rests_that_account_alone(bench: Bench) -> None:
    bench.accounts = (A, B)
    bench.source_is(longest_window=DAY, open_day=False)
    bench.answer = sick(BrokerRateLimitError("busy", freeze=LimitScope.ACCOUNT, retry_after=timedelta(minutes=7)), A)
    outcome = await bench.run()
    assert isinstance(outcome, Deferred)
    assert outcome.until == NOW + timedelta(minutes=7)
    assert [request.accounts for request in bench.requests] == [(A,), *[(B,)] * 5]


async def test_an_account_that_fails_keeps_no_other_source_from_being_read(bench: Bench) -> None:
    bench.accounts = (A, B)
    bench.source_is(longest_window=DAY, open_day=False)
    bench.more_sources = (
        attrs.evolve(bench.source, name="late", precedence=0),
        SourceSpec(name="all", precedence=-1, scope=SourceScope.LOGIN, open_day=False),
    )
    bench.answer = lambda request: [BrokerUnavailableError("HTTP 500")] if request.accounts == (A,) else [page(request)]
    await asked(bench)
    await asked(bench)
    assert [await bench.spans("B", name) for name in ("fills", "late", "all")] == [ALL, ALL, ALL]


async def test_a_probe_that_meets_an_account_that_fails_asks_another_the_next_time(bench: Bench) -> None:
    bench.accounts = (A, B)
    bench.source_is(longest_window=DAY, open_day=False)
    bench.probes = True
    bench.answer = sick(BrokerUnavailableError("HTTP 500"), A)
    assert await asked(bench) == "A"
    assert await asked(bench) == "BBBBBAAA"


async def test_a_broker_that_is_down_is_asked_no_more_often_when_its_accounts_have_turns(bench: Bench) -> None:
    bench.accounts = tuple(attrs.evolve(A, account_id=str(number)) for number in range(9))
    bench.more_sources = (SourceSpec(name="late", precedence=0),)
    bench.answer = lambda request: [BrokerUnavailableError("down")]
    for _ in range(5):
        assert len(await asked(bench)) == 4


async def test_what_an_account_has_met_is_forgotten_when_it_is_read(bench: Bench) -> None:
    bench.source_is(longest_window=DAY, open_day=False)
    bench.answer = sick(BrokerRateLimitError("busy"), A)
    await asked(bench)
    assert [one.failures for one in (await bench.store.failing("c", "fills"))["live/A"]] == [0]
    bench.answer = lambda request: [page(request)]
    await asked(bench)
    assert not any((await bench.store.failing("c", "fills")).values())


async def test_a_round_that_never_ends_keeps_no_correction_away(bench: Bench) -> None:
    bench.accounts = (A, B)
    bench.source_is(calendar=Calendar(unit=CalendarUnit.INSTANT), reread=2 * DAY)
    bench.answer = sick(BrokerUnavailableError("HTTP 500", status=500), A)
    again = []
    for _ in range(14):
        await bench.run()
        again += [one for one in bench.requests if one.accounts == (B,) and one.window.start <= NOW - DAY]
        bench.clock.moment += timedelta(minutes=30)
    assert len(again) == 2
