"""Which state a connection is in after what has happened to it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

import attrs

from brokersync.records import Connection, ConnectionState


class Cause(StrEnum):
    """What may happen to a connection.

    `worked`: the broker answered its login. `doubted`: it was refused, which may be the broker's fault.
    `refused`: the login is. `misconfigured`: a plugin is missing, broken or held, or the configuration is wrong.
    """

    WORKED = "worked"
    DOUBTED = "doubted"
    REFUSED = "refused"
    MISCONFIGURED = "misconfigured"
    PAUSED = "paused"
    RESUMED = "resumed"


_ACTIVE, _USER = ConnectionState.ACTIVE, ConnectionState.NEEDS_USER
_OPERATOR, _PAUSED = ConnectionState.NEEDS_OPERATOR, ConnectionState.PAUSED

TRANSITIONS: Final[Mapping[ConnectionState, Mapping[Cause, ConnectionState]]] = MappingProxyType(
    {
        _ACTIVE: {
            Cause.WORKED: _ACTIVE, Cause.DOUBTED: _ACTIVE, Cause.REFUSED: _USER,
            Cause.MISCONFIGURED: _OPERATOR, Cause.PAUSED: _PAUSED, Cause.RESUMED: _ACTIVE,
        },
        _USER: {
            Cause.WORKED: _ACTIVE, Cause.DOUBTED: _USER, Cause.REFUSED: _USER,
            Cause.MISCONFIGURED: _OPERATOR, Cause.PAUSED: _PAUSED, Cause.RESUMED: _USER,
        },
        # a token was refused, so there was a plugin to ask with
        _OPERATOR: {
            Cause.WORKED: _ACTIVE, Cause.DOUBTED: _ACTIVE, Cause.REFUSED: _USER,
            Cause.MISCONFIGURED: _OPERATOR, Cause.PAUSED: _PAUSED, Cause.RESUMED: _OPERATOR,
        },
        # a sync that was under way when its owner paused it changes nothing; what it met is met again after resuming
        _PAUSED: {
            Cause.WORKED: _PAUSED, Cause.DOUBTED: _PAUSED, Cause.REFUSED: _PAUSED,
            Cause.MISCONFIGURED: _PAUSED, Cause.PAUSED: _PAUSED, Cause.RESUMED: _ACTIVE,
        },
    }
)  # fmt: skip


def moved(
    connection: Connection, cause: Cause, *, reason: str | None = None, remedy: str | None = None, **facts: Any
) -> Connection:
    """The connection after `cause`, with its reason and the other `facts`; an active one has neither reason nor remedy.

    `refusals` counts up with each doubt; that and the failures start again when the login works.
    """
    state = TRANSITIONS[connection.state][cause]
    if state is _PAUSED and cause is not Cause.PAUSED:
        return connection
    if cause is Cause.PAUSED and connection.state is _USER:
        facts["asked_before"] = (connection.reason or "", connection.remedy or "")
    if cause is Cause.RESUMED and connection.asked_before is not None:
        # what its user was asked for is not given by a pause
        why, help_ = connection.asked_before
        return attrs.evolve(connection, state=_USER, reason=why, remedy=help_, asked_before=None)
    if state is _ACTIVE:
        reason = remedy = None
    elif cause in (Cause.DOUBTED, Cause.RESUMED):
        reason, remedy = connection.reason, connection.remedy
    if cause is Cause.DOUBTED:
        facts["refusals"] = connection.refusals + 1
    elif cause is Cause.RESUMED and connection.state is _PAUSED:
        facts["next_at"] = None
    elif cause is Cause.WORKED:
        facts |= {"refusals": 0, "doubted_since": None, "logins_refused": 0, "failures": 0, "failing_since": None}
    return attrs.evolve(connection, state=state, reason=reason, remedy=remedy, **facts)


def waiting(
    next_at: datetime, deadline: datetime | None, *, failed_at: datetime | None = None
) -> Callable[[Connection], Connection]:
    """To be synced next then: nothing is known of the login; one that waits for its user alone goes on doing so."""

    def rule(known: Connection) -> Connection:
        asked, due = known.state is ConnectionState.NEEDS_USER, known.next_at
        due = (due and max(due, next_at)) if asked else next_at
        known = attrs.evolve(known, next_at=due, deadline=deadline or known.deadline)
        if failed_at is None:
            return known
        return attrs.evolve(known, failures=known.failures + 1, failing_since=known.failing_since or failed_at)

    return rule
