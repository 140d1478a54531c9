"""The feed of changes: written in the order of commit, read from a position on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import attrs

from brokersync.converter import from_json, instant_text
from brokersync.errors import FeedPositionError
from brokersync.records import AccountKey, Change, ChangeCause, ChangeKind
from brokersync.store.sql import Fetch, NewPositions, Put, Script, fetch_one

_COLUMNS = (
    "position", "owner", "account", "trade_id", "kind", "cause", "revision", "at", "merged_into",
)  # fmt: skip


@attrs.frozen(kw_only=True)
class NewChange:
    """A change that has no position yet."""

    account: int
    trade_id: str
    kind: ChangeKind
    cause: ChangeCause
    revision: int
    merged_into: str | None = None


def publish(owner: str, at: datetime, changes: Sequence[NewChange]) -> Script[None]:
    """Give changes their positions and write them.

    The head stays locked until the transaction ends, so that positions are in the order of commit and nothing is ever
    committed behind a reader.
    """
    if not changes:
        return
    ((last,),) = yield NewPositions(len(changes))
    first = last - len(changes) + 1
    yield Put(
        "changes",
        _COLUMNS,
        [
            (
                position, owner, one.account, one.trade_id, one.kind.value, one.cause.value, one.revision,
                instant_text(at), one.merged_into,
            )
            for position, one in enumerate(changes, first)
        ],
    )  # fmt: skip


def feed_position() -> Script[int]:
    row = yield from fetch_one("SELECT position FROM feed_head WHERE one = 1")
    return int(row[0])


def changes(owner: str, since: int, limit: int) -> Script[tuple[Change, ...]]:
    newest, kept_from = yield from fetch_one(
        "SELECT position, coalesce((SELECT kept_from FROM feed_starts WHERE owner = ?), 0) FROM feed_head"
        " WHERE one = 1",
        owner,
    )
    # a reader ahead of the feed, as after a restore, would silently miss what is still to come up to its position
    if since > newest:
        raise FeedPositionError(since, kept_from, newest)
    if max(since, 0) < kept_from:
        raise FeedPositionError(since, kept_from)
    rows = yield Fetch(
        "SELECT position, kind, cause, provider, environment, account_id, trade_id, revision, at, merged_into"
        " FROM changes JOIN accounts ON accounts.account = changes.account"
        " WHERE changes.owner = ? AND position > ? ORDER BY position LIMIT ?",
        (owner, since, limit),
    )
    return tuple(
        Change(
            position=position, kind=ChangeKind(kind), cause=ChangeCause(cause),
            key=AccountKey(owner=owner, provider=provider, environment=environment, account_id=account_id),
            trade_id=trade_id, revision=revision, at=from_json(at, datetime), merged_into=merged_into,
        )
        for position, kind, cause, provider, environment, account_id, trade_id, revision, at, merged_into in rows
    )  # fmt: skip
