"""What is known of an account's history, and what its sources will be asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import attrs

from brokersync.explaining.readings import Reading
from brokersync.manifest import Manifest, SourceSpec
from brokersync.records import Connection, FailedWindow, OpenRequest, Span
from brokersync.sync.history import SourceHistory, source_histories
from brokersync.types import BrokerAccount, TimeWindow


@attrs.frozen(kw_only=True)
class Login:
    """A connection that sees the account: what it has begun, what fails, and which sources it may read."""

    connection: Connection
    account: BrokerAccount
    begun: Sequence[OpenRequest]
    failing: Mapping[str, Mapping[str, Sequence[FailedWindow]]]
    readable: Sequence[str] | None


@attrs.frozen(kw_only=True)
class Known:
    """All that is known of one account's history."""

    manifest: Manifest
    spans: Mapping[str, Sequence[Span]]
    logins: Sequence[Login]
    readings: Mapping[str, Reading]
    now: datetime


def is_due(known: Known, source: SourceSpec, window: TimeWindow) -> bool:
    """Whether a part of the window will be asked for, again or for the first time."""
    return any(due.overlap(window) for one in _histories(known, source) for due in one.due)


def due_from(known: Known, source: SourceSpec, window: TimeWindow) -> datetime | None:
    """From when on it can be asked for what it can not be asked for yet."""
    later = [day for one in _histories(known, source) for day in one.later]
    return min((day.since for day in later if day.window.overlap(window)), default=None)


def readers_of(known: Known, source: SourceSpec) -> list[Login]:
    """The logins that may read a source."""
    return [one for one in known.logins if one.readable is None or source.name in one.readable]


def why_without(manifest: Manifest, source: SourceSpec) -> str:
    """Why a login does not have a source, as a clause."""
    for field in manifest.user_fields:
        if field.name == source.needs_field:
            return f"the login has no {field.label}; connect it again and give {field.name} as well"
    return "the login has no right to it"


def _histories(known: Known, source: SourceSpec) -> Iterator[SourceHistory]:
    """What the source says by each login that may read it."""
    for login in readers_of(known, source):
        one = login.connection
        histories = source_histories(
            known.manifest, login.account, known.spans, now=known.now, since=one.since, connected_at=one.created_at
        )
        yield next(one for one in histories if one.source == source.name)
