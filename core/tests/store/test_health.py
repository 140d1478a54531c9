"""A broker's health, and whose time has come, in either database."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import attrs

from brokersync.incidents import BrokerHealth, Probes, after_answer, after_failure, with_probe
from brokersync.records import Connection, ConnectionState
from brokersync.states import Cause, moved
from brokersync.store import SealedGrant, Store

from .pages import START

MINUTE = timedelta(minutes=1)
PROBES = Probes(MINUTE, 15 * MINUTE)


def connection(name: str, **facts: object) -> Connection:
    known = Connection(
        connection_id=name, owner="o", provider="toy", environment="live", label="", identity=name, created_at=START
    )
    return attrs.evolve(known, **facts)


def in_demo(one: Connection) -> Connection:
    return attrs.evolve(one, environment="demo")


async def add(store: Store, *connections: Connection) -> None:
    for one in connections:
        grant = SealedGrant(
            owner=one.owner, provider="toy", environment=one.environment, identity=one.identity,
            generation=1, auth=b"", credentials=b"",
        )  # fmt: skip
        await store.add_connection(one, grant)


async def fail(store: Store, name: str) -> BrokerHealth | None:
    def rule(known: BrokerHealth, active: int, _: int) -> BrokerHealth:
        return after_failure(known, name, connections=active, reason="503", now=START, probes=PROBES)

    return (await store.change_health("toy", "live", START, rule))[1]


async def test_an_incident_is_opened_once_by_those_who_race_for_it(store: Store) -> None:
    await add(store, *map(connection, "abcde"))
    await asyncio.gather(*(fail(store, name) for name in "abcde"))
    (incident,) = await store.incidents()
    assert (await store.broker_health("toy", "live")).open == incident
    for other in (("other", "live"), ("toy", "demo")):
        assert await store.broker_health(*other) == BrokerHealth(provider=other[0], environment=other[1])
    assert await store.broker_healths() == (await store.broker_health("toy", "live"),)


async def test_of_many_who_want_to_probe_one_does(store: Store) -> None:
    await add(store, connection("a"))
    for _ in range(3):
        await fail(store, "a")
    now = START + MINUTE
    changes = await asyncio.gather(
        *(
            store.change_health("toy", "live", now, lambda known, *_: with_probe(known, now=now, probes=PROBES))
            for _ in "12345"
        )
    )
    assert len([after for _, after in changes if after is not None]) == 1


async def test_a_closed_incident_knows_who_waited_and_stays_on_record(store: Store) -> None:
    later = START + timedelta(hours=1)
    await add(
        store,
        connection("never-synced"),
        connection("overdue", next_at=START),
        connection("not-yet", next_at=later + MINUTE),
        connection("asks-its-user", state=ConnectionState.NEEDS_USER),
        in_demo(connection("in-another-environment", next_at=START)),
    )
    for name in ("overdue", "not-yet", "never-synced"):
        await fail(store, name)
    await store.change_health("toy", "live", later, lambda known, _, due: after_answer(known, waiting=due, now=later))
    (closed,) = await store.incidents()
    assert (closed.closed_at, closed.kept_waiting) == (later, 2)
    assert (await store.broker_health("toy", "live")).open is None


async def test_what_is_due_is_what_its_state_and_time_say(store: Store) -> None:
    asks = {"state": ConnectionState.NEEDS_USER}
    await add(
        store,
        connection("new"),
        connection("due", next_at=START),
        connection("later", next_at=START + MINUTE),
        connection("asks", **asks),
        connection("asks-and-is-probed", next_at=START, **asks),
        connection("paused", state=ConnectionState.PAUSED, next_at=START),
        connection("operator", state=ConnectionState.NEEDS_OPERATOR, next_at=START),
        connection("another-owners", owner="p", next_at=START),
    )
    found = [one.connection_id for one in await store.due_connections("o", START)]
    assert sorted(found) == ["asks-and-is-probed", "due", "new", "operator"]
    assert len(await store.due_connections(None, START)) == 5
    assert await store.due_connections(None, START, [("toy", "live")]) == ()
    assert len(await store.due_connections(None, START, [("other", "live"), ("toy", "demo")])) == 5


async def test_a_connection_is_moved_by_a_rule_over_what_it_is_now(store: Store) -> None:
    await add(store, connection("c"))
    await asyncio.gather(*(store.move_connection("c", lambda known: moved(known, Cause.DOUBTED)) for _ in range(5)))
    known = await store.connection("c")
    assert known is not None
    assert known.refusals == 5
    assert await store.move_connection("unknown", lambda known: known) is None
