"""What is known of an account's history, and requests that are given up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from brokersync.records import OpenRequest, Span
from brokersync.store.rows import load_request, load_span, sortable
from brokersync.store.sql import Fetch, Many, Put, Script, execute, fetch_one
from brokersync.types import TimeWindow

Reopen: TypeAlias = Callable[[Sequence[Span], TimeWindow], tuple[Span, ...]]


def change_coverage(
    account: int, source: str, change: Callable[[tuple[Span, ...]], tuple[Span, ...]]
) -> Script[tuple[Span, ...]]:
    """Change what is known of an account whose row is locked; answers with what was known before."""
    rows = yield Fetch(
        "SELECT starts, ends, state FROM coverage WHERE account = ? AND source = ? ORDER BY starts", (account, source)
    )
    before = tuple(load_span(*row) for row in rows)
    after = change(before)
    if after != before:
        yield Many(
            "DELETE FROM coverage WHERE account = ? AND source = ? AND starts = ?",
            [(account, source, sortable(span.window.start)) for span in before if span not in after],
        )
        yield Put(
            "coverage",
            ("account", "source", "starts", "ends", "state"),
            [
                (account, source, sortable(span.window.start), sortable(span.window.end), span.state.value)
                for span in after
                if span not in before
            ],
        )
    return before


def drop_request(connection_id: str, source: str, account: str, reopen: Reopen) -> Script[None]:
    """Give up a request that was begun.

    One that had rows without ids may have given the names of some to others that are equal; what was final of its
    window is so no longer, and is read once more.
    """
    row = yield from fetch_one(
        "SELECT open_requests.data, owner, provider FROM open_requests"
        " JOIN connections ON connections.connection_id = open_requests.connection_id"
        " WHERE open_requests.connection_id = ? AND source = ? AND account = ?",
        *(connection_id, source, account),
    )
    if row is not None and (request := load_request(row[0])).counts:
        yield from _reopen(request, row[1], row[2], reopen)
    yield from execute(
        "DELETE FROM open_requests WHERE connection_id = ? AND source = ? AND account = ?",
        *(connection_id, source, account),
    )


def make_way(connection_id: str, source: str, account: str, window: TimeWindow, reopen: Reopen) -> Script[None]:
    """Give up what was begun of another window under the name of one that begins."""
    row = yield from fetch_one(
        "SELECT data FROM open_requests WHERE connection_id = ? AND source = ? AND account = ?",
        *(connection_id, source, account),
    )
    if row is not None and load_request(row[0]).window != window:
        yield from drop_request(connection_id, source, account, reopen)


def drop_requests(owner: str, provider: str, source: str, reopen: Reopen) -> Script[None]:
    """Give up all that was begun of a source by any connection of the owner."""
    rows = yield Fetch(
        "SELECT open_requests.connection_id, account FROM open_requests"
        " JOIN connections ON connections.connection_id = open_requests.connection_id"
        " WHERE source = ? AND owner = ? AND provider = ? ORDER BY open_requests.connection_id, account",
        (source, owner, provider),
    )
    for connection_id, account in rows:
        yield from drop_request(connection_id, source, account, reopen)


def _reopen(request: OpenRequest, owner: str, provider: str, reopen: Reopen) -> Script[None]:
    rows = yield Fetch(
        "SELECT environment, account_id, account FROM accounts WHERE owner = ? AND provider = ?"
        " ORDER BY account {for_update}",
        (owner, provider),
    )
    mine = request.accounts if request.accounts is not None or not request.account else (request.account,)
    if mine is None:  # a release before did not note whom in a login it was for
        mine = yield from _seen_by(request.connection_id)
    for environment, account_id, account in rows:
        if f"{environment}/{account_id}" in mine:
            yield from change_coverage(account, request.source, lambda spans: reopen(spans, request.window))


def _seen_by(connection_id: str) -> Script[tuple[str, ...]]:
    rows = yield Fetch(
        "SELECT environment, account_id FROM accounts JOIN connection_accounts"
        " ON connection_accounts.account = accounts.account WHERE connection_id = ?",
        (connection_id,),
    )
    return tuple(f"{environment}/{account_id}" for environment, account_id in rows)
