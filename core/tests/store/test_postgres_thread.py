"""Folding a page for Postgres: on a thread of the store's own, and the event loop goes on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from brokersync.store import PageRules, PostgresStore

from .pages import RULES, ids, page, trade

A_PAGE = [trade(f"t{number}") for number in range(500)]


@pytest.fixture
async def store(stores_in: Any, schemas: Any, tmp_path: Path) -> AsyncIterator[PostgresStore]:
    made = stores_in(tmp_path, schemas)
    yield await made.open()
    await made.close()


def folding(meanwhile: Callable[[], object]) -> PageRules:
    """The rules, with something done at each fold."""

    def fold(*given: Any, **named: Any) -> Any:
        meanwhile()
        return RULES.fold(*given, **named)

    return attrs.evolve(RULES, fold=fold)


async def test_the_loop_goes_on_while_a_page_is_folded(store: PostgresStore) -> None:
    folds, goes_on = threading.Event(), threading.Event()

    def wait_for_the_loop() -> None:
        folds.set()
        assert goes_on.wait(10), "the fold has stopped the loop"

    commit = asyncio.create_task(store.commit_page(page(trade("a")), folding(wait_for_the_loop)))
    assert await asyncio.to_thread(folds.wait, 10)
    goes_on.set()
    assert (await commit).added == 1


async def test_a_large_page_never_holds_the_loop_for_long(store: PostgresStore) -> None:
    # the time that the loop's thread spends, since a loaded machine makes it wait for as long as it likes
    longest, whole = 0.0, time.process_time()
    commit = asyncio.create_task(store.commit_page(page(*A_PAGE), folding(lambda: sum(range(10_000)))))
    while not commit.done():
        before = time.thread_time()
        await asyncio.sleep(0)
        longest = max(longest, time.thread_time() - before)
    assert (await commit).added == len(A_PAGE)
    assert longest < (time.process_time() - whole) / 4


async def test_a_commit_that_is_cancelled_while_it_folds_is_undone_and_harms_no_other(store: PostgresStore) -> None:
    folds, goes_on = threading.Event(), threading.Event()

    def hang() -> None:
        folds.set()
        goes_on.wait(10)

    commit = asyncio.create_task(store.commit_page(page(trade("a")), folding(hang)))
    assert await asyncio.to_thread(folds.wait, 10)
    for _ in range(3):
        commit.cancel()
        await asyncio.sleep(0)
    assert not commit.done(), "what runs can not be closed"
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await commit
    await store.commit_page(page(trade("b")), RULES)
    assert await ids(store) == ["b"]


async def test_a_fold_that_fails_is_told_as_it_failed_and_nothing_is_kept(store: PostgresStore) -> None:
    def fail() -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        await store.commit_page(page(trade("a")), folding(fail))
    assert await ids(store) == []


async def test_a_closed_store_leaves_no_thread_and_may_be_opened_again(store: PostgresStore) -> None:
    def threads() -> list[str]:
        return [one.name for one in threading.enumerate() if one.name.startswith("brokersync-script")]

    for _ in range(2):
        await store.commit_page(page(trade("a")), RULES)
        assert len(threads()) == 1
        await store.close()
        assert threads() == []
        await store.open()
