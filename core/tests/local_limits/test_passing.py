"""Pages that go on before others that wait, and what their owners let pass for it, on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.errors import BrokerRateLimitError, LimitScope
from brokersync.limits import RateLimit

from .toy import Caller, bucket, most_in_any_window, window

Make = Callable[..., RateLimit]


async def passes_three(toy: Caller) -> list[asyncio.Task[None]]:
    """One goes on with a page before three that wait, a second after the first of all."""
    await toy.call("first")
    waiting = [toy.spawn(name) for name in "abc"]
    await asyncio.sleep(0)
    await toy.call("page", waiter="long", continues=True)
    return waiting


@pytest.mark.parametrize("make", [window, bucket])
async def test_who_went_before_three_in_its_page_lets_three_more_pass_before_the_next(make: Make) -> None:
    toy = Caller(make(1, 1))
    tasks = [*await passes_three(toy), toy.spawn("next page", waiter="long")]
    await asyncio.sleep(0)
    tasks += [toy.spawn(name) for name in "defgh"]
    await asyncio.gather(*tasks)
    assert [name for name, _ in toy.went] == ["first", "page", "a", "b", "c", "d", "e", "f", "next page", "g", "h"]
    assert [at for _, at in toy.went] == list(range(11))


async def test_nothing_stays_unused_for_those_that_would_be_let_pass() -> None:
    toy = Caller(window(1, 1))
    tasks = [*await passes_three(toy), toy.spawn("next page", waiter="long")]
    await asyncio.gather(*tasks)
    assert toy.went[-1] == ("next page", 5)


async def test_what_was_let_pass_once_is_let_pass_no_more() -> None:
    toy = Caller(window(1, 1))
    tasks = [*await passes_three(toy), toy.spawn("next page", waiter="long")]
    await asyncio.gather(*tasks)
    tasks = [toy.spawn("e"), toy.spawn("the page after", waiter="long")]
    await asyncio.sleep(0)
    tasks.append(toy.spawn("f"))
    await asyncio.gather(*tasks)
    assert [name for name, _ in toy.went[-3:]] == ["e", "the page after", "f"]


async def test_who_lets_others_pass_for_too_long_is_refused_and_lets_the_rest_of_them_pass_then() -> None:
    toy = Caller(window(1, 1))
    tasks = await passes_three(toy)
    long = toy.spawn("next page", waiter="long", longest=timedelta(seconds=4))
    await asyncio.sleep(0)
    tasks.append(toy.spawn("d"))
    with pytest.raises(BrokerRateLimitError) as refused:
        await long
    assert refused.value.scope is None, "it holds up nobody else"
    tasks.append(toy.spawn("next page", waiter="long"))
    await asyncio.sleep(0)
    tasks += [toy.spawn(name) for name in "efg"]
    await asyncio.gather(*tasks)
    assert [name for name, _ in toy.went] == ["first", "page", "a", "b", "c", "d", "e", "next page", "f", "g"]


async def test_one_that_its_own_limit_holds_up_is_not_waited_for() -> None:
    toy = Caller(window(1, 1), window(1, 100, LimitScope.CREDENTIAL))
    await toy.call("first", credential="a")
    tasks = [toy.spawn("held up", credential="a"), toy.spawn("b", credential="b")]
    await asyncio.sleep(0)
    await toy.call("page", waiter="long", continues=True, credential="c")
    tasks += [toy.spawn("next page", waiter="long", credential="d")]
    await asyncio.gather(*tasks)
    assert toy.went == [("first", 0), ("page", 1), ("b", 2), ("next page", 3), ("held up", 100)]


async def test_nobody_passes_those_that_wait_for_a_limit_of_their_own() -> None:
    toy = Caller(window(2, 1), window(1, 10, LimitScope.CREDENTIAL))
    await toy.call("first", credential="a")
    held_up = [toy.spawn("held up", credential="a") for _ in range(3)]
    await asyncio.sleep(0)
    await toy.call("page", waiter="long", continues=True, credential="b")
    tasks = [toy.spawn("next page", waiter="long", credential="c"), toy.spawn("d", credential="d")]
    await asyncio.sleep(0)
    tasks.append(toy.spawn("e", credential="e"))
    await asyncio.gather(*tasks, *held_up)
    assert [name for name, _ in toy.went[:5]] == ["first", "page", "next page", "d", "e"]


async def test_what_somebody_waits_for_lets_no_routine_pass_where_it_has_a_reserve() -> None:
    toy = Caller(window(2, 1, reserve=1))
    await toy.call("first")
    await toy.call("asked", pressing=True)
    tasks = [toy.spawn(name) for name in "abc"]
    await asyncio.sleep(0)
    await toy.call("page", waiter="long", continues=True, pressing=True)
    await toy.call("asked", pressing=True)
    tasks.append(toy.spawn("next page", waiter="long", pressing=True))
    await asyncio.sleep(0)
    tasks += [toy.spawn(name) for name in "de"]
    await asyncio.gather(*tasks)
    assert ("next page", 3) in toy.went, "as one that has passed nobody"


@given(
    st.booleans(),
    st.integers(1, 4),
    st.integers(1, 5),
    st.lists(
        st.tuples(st.integers(0, 12), st.integers(1, 6), st.integers(1, 3), st.sampled_from("ab")),
        min_size=1,
        max_size=12,
    ),
)
@settings(deadline=None, max_examples=60)
def test_however_pages_come_nothing_stays_unused_and_no_limit_is_broken(
    leaky: bool, amount: int, seconds: int, owners: list[tuple[int, int, int, str]]
) -> None:
    async def play() -> None:
        toy = Caller((bucket if leaky else window)(amount, seconds))
        went: list[float] = []

        async def one(number: int, start: int, calls: int, pages: int, login: str) -> None:
            await toy.clock.sleep(start)
            for _ in range(pages):
                for made in range(calls):
                    await toy.call(waiter=str(number), continues=made > 0, credential=login)
                    went.append(toy.clock.time - toy.start)

        await asyncio.gather(*(one(number, *facts) for number, facts in enumerate(owners)))
        if not leaky:
            assert most_in_any_window([(at, 1) for at in went], seconds - 1e-9) <= amount
        calls = sum(calls * pages for _, calls, pages, _ in owners)
        assert max(went) <= max(start for start, *_ in owners) + calls * seconds / amount + 1e-3
        assert not toy.lane._waiting

    asyncio.run(play())
