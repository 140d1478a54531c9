"""A bare refusal is held against the account that was asked for, where the broker has answered its login."""

from __future__ import annotations

from datetime import timedelta

import pytest

from brokersync.errors import BrokerAuthError
from brokersync.manifest import SourceScope
from brokersync.records import Deferred, Done, SpanState
from brokersync.types import BrokerAccount, TradeRequest

from .bench import DAY, NOW, START, TODAY, A, B, Bench, Step, fill, page, problems, step

# what is decided here is decided above the store
pytestmark = pytest.mark.long_on_postgres

ALL = [(START, TODAY, SpanState.FINAL)]
BARE = BrokerAuthError("HTTP 403", status=403, certain=False)


def refused(bench: Bench, *accounts: BrokerAccount, error: BrokerAuthError = BARE) -> None:
    bench.answer = lambda request: [error] if any(one in accounts for one in request.accounts) else [page(request)]


def listed(*accounts: BrokerAccount) -> set[tuple[str, str]]:
    return {(one.environment, one.account_id) for one in accounts}


@pytest.fixture
def two(bench: Bench) -> Bench:
    bench.accounts, bench.listed = (A, B), listed(A, B)
    bench.source_is(longest_window=DAY, open_day=False)
    return bench


@pytest.mark.parametrize("shown", [(A, B), (B,)], ids=["still listed", "not listed any more"])
async def test_a_refused_account_is_asked_once_and_the_others_are_read(
    two: Bench, shown: tuple[BrokerAccount, ...]
) -> None:
    two.listed = listed(*shown)
    refused(two, A)
    outcome = await two.run()
    assert isinstance(outcome, Deferred)
    assert outcome.until == NOW + timedelta(seconds=30)
    assert problems(outcome.report) == ["BrokerAuthError"]
    assert [request.accounts for request in two.requests] == [(A,), *[(B,)] * 5]
    assert (await two.spans("A"), await two.spans("B")) == ([], ALL)


async def test_the_last_account_of_a_login_that_lists_none_is_refused_for_itself(two: Bench) -> None:
    two.accounts, two.listed = (A,), set()
    refused(two, A)
    outcome = await two.run()
    assert problems(outcome.report) == ["BrokerAuthError"]


async def test_a_refusal_that_stays_is_soon_asked_about_no_more_often_than_the_login_is_synced(two: Bench) -> None:
    refused(two, A)
    waits = []
    while isinstance(outcome := await two.run(), Deferred):
        waits.append(outcome.until - two.clock.now())
        two.clock.moment = outcome.until
    assert waits == [timedelta(seconds=30) * 2**number for number in range(5)]
    two.clock.moment += DAY
    assert isinstance(await two.run(), Done)
    assert [request.accounts for request in two.requests].count((A,)) == 1
    assert two.requests[-1].accounts == (A,)


async def test_a_window_that_alone_is_refused_keeps_no_other_of_its_account_from_being_read(two: Bench) -> None:
    two.answer = lambda request: [BARE] if request.accounts == (A,) and request.window.end == TODAY else [page(request)]
    await two.run()
    await two.run()
    assert await two.spans("A") == [(START, TODAY - DAY, SpanState.FINAL)]


async def test_of_windows_that_were_refused_the_one_that_waits_longest_is_asked_for_first(two: Bench) -> None:
    refused(two, A)
    for _ in range(5):
        await two.run()
        two.clock.moment += timedelta(minutes=10)
    two.answer = lambda request: [BARE] if request.accounts == (A,) and request.window.end == TODAY else [page(request)]
    for _ in range(2):
        await two.run()
        two.clock.moment += timedelta(minutes=10)
    assert await two.spans("A") == [(START, TODAY - DAY, SpanState.FINAL)]


@pytest.mark.parametrize("shown", [listed(A, B), None], ids=["all of those listed", "nothing else is answered"])
async def test_a_login_that_is_refused_everywhere_is_refused(two: Bench, shown: set[tuple[str, str]] | None) -> None:
    two.listed = shown
    refused(two, A, B)
    with pytest.raises(BrokerAuthError):
        await two.run()
    assert len(two.requests) == (1 if shown is None else 2)


async def test_where_no_accounts_could_be_listed_another_one_is_asked_before_the_login_is_doubted_again(
    two: Bench,
) -> None:
    two.listed = None
    refused(two, A)
    with pytest.raises(BrokerAuthError):
        await two.run()
    assert isinstance(await two.run(), Deferred)
    assert await two.spans("B") == ALL


@pytest.mark.parametrize("meant", ["in the broker's words", "no token is made", "for all accounts at once"])
async def test_what_is_refused_to_the_login_is_not_an_accounts_matter(two: Bench, meant: str) -> None:
    refused(two, A, error=BrokerAuthError("The password was changed.") if meant == "in the broker's words" else BARE)
    two.login_refused = meant == "no token is made"
    two.source_is(scope=SourceScope.LOGIN if meant == "for all accounts at once" else SourceScope.ACCOUNT)
    with pytest.raises(BrokerAuthError):
        await two.run()
    assert len(two.requests) == 1


async def test_a_place_that_is_refused_for_ever_is_given_up_in_the_end(two: Bench) -> None:
    def answer(request: TradeRequest) -> list[Step]:
        if request.accounts == (B,):
            return [page(request)]
        return [BARE] if request.cursor else [step(fill("1"), cursor="on"), BARE]

    two.answer = answer
    cursors = []
    for _ in range(12):
        await two.run()
        two.clock.moment += timedelta(minutes=10)
        cursors += [request.cursor for request in two.requests if request.accounts == (A,)]
    assert cursors == [None, *["on"] * 9, None, "on"]
