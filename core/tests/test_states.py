"""The states of a connection, by the table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokersync.records import Connection, ConnectionState
from brokersync.states import TRANSITIONS, Cause, moved

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ACTIVE, USER, OPERATOR, PAUSED = ConnectionState
TABLE = """
    before          worked  doubted  refused     misconfigured   paused  resumed
    active          active  active   needs_user  needs_operator  paused  active
    needs_user      active  needs_user needs_user needs_operator paused  needs_user
    needs_operator  active  active   needs_user  needs_operator  paused  needs_operator
    paused          paused  paused   paused      paused          paused  active
"""


def connection(state: ConnectionState = ACTIVE, **facts: object) -> Connection:
    known = Connection(
        connection_id="c", owner="o", provider="toy", environment="live", label="", identity="i", created_at=NOW
    )
    return attrs.evolve(known, state=state, **facts)


def rows() -> list[tuple[ConnectionState, Cause, ConnectionState]]:
    head, *lines = [line.split() for line in TABLE.strip().splitlines()]
    return [
        (ConnectionState(before), Cause(cause), ConnectionState(after))
        for before, *afters in lines
        for cause, after in zip(head[1:], afters, strict=True)
    ]


def test_the_table_knows_every_state_and_cause() -> None:
    assert {(before, cause) for before, cause, _ in rows()} == {(s, c) for s in ConnectionState for c in Cause}
    assert {(s, c) for s, causes in TRANSITIONS.items() for c in causes} == {(b, c) for b, c, _ in rows()}


@pytest.mark.parametrize(("before", "cause", "after"), rows(), ids=str)
def test_each_cause_leads_where_the_table_says(before: ConnectionState, cause: Cause, after: ConnectionState) -> None:
    assert moved(connection(before), cause, reason="why", remedy="what").state is after


@given(st.sampled_from(ConnectionState), st.lists(st.sampled_from(Cause), min_size=1))
def test_every_state_but_active_has_a_reason_and_a_remedy_and_active_has_neither(
    first: ConnectionState, causes: list[Cause]
) -> None:
    known = connection(first, **({} if first is ACTIVE else {"reason": "was so", "remedy": "do it"}))
    for cause in causes:
        known = moved(known, cause, reason=f"because {cause}", remedy="do that")
    assert (known.state is ACTIVE) is (known.reason is None)
    assert (known.reason is None) is (known.remedy is None)


@given(st.lists(st.sampled_from([Cause.DOUBTED, Cause.WORKED])))
def test_doubts_in_a_row_are_counted_and_one_success_withdraws_them(causes: list[Cause]) -> None:
    known, in_a_row = connection(), 0
    for cause in causes:
        known = moved(known, cause)
        in_a_row = in_a_row + 1 if cause is Cause.DOUBTED else 0
        assert known.refusals == in_a_row


def test_a_sync_that_ends_after_its_connection_was_paused_changes_nothing_of_it() -> None:
    paused = moved(connection(), Cause.PAUSED, reason="Its owner has paused it.", remedy="Resume it.")
    for cause in set(Cause) - {Cause.PAUSED, Cause.RESUMED}:
        assert moved(paused, cause, reason="other", next_at=NOW + timedelta(hours=1)) == paused
