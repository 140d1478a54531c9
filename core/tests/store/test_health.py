"""A broker's health, and whose time has come, in either database."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import attrs
import pytest

from brokersync.config import KeepSettings
from brokersync.incidents import BrokerHealth, Probes, Standing, after_answer, after_failure, after_refusal, with_probe
from brokersync.records import Connection, ConnectionState
from brokersync.states import Cause, moved
from brokersync.store import SealedGrant, SqlStore, Store
from brokersync.store.sql import Script, execute, fetch_one

from .pages import START

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
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
    def rule(known: BrokerHealth, standing: Standing) -> BrokerHealth:
        return after_failure(known, name, connections=standing.active, reason="HTTP 503", now=START, probes=PROBES)

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
            store.change_health("toy", "live", now, lambda known, _: with_probe(known, now=now, probes=PROBES))
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
    await store.change_health(
        "toy", "live", later, lambda known, standing: after_answer(known, waiting=standing.due, now=later)
    )
    (closed,) = await store.incidents()
    assert (closed.closed_at, closed.kept_waiting) == (later, 2)
    assert (await store.broker_health("toy", "live")).open is None


async def test_a_handful_of_those_that_were_just_read_are_counted(store: Store) -> None:
    now = START + 5 * HOUR
    await add(
        store,
        connection("a-while-ago", last_synced_at=now - MINUTE),
        in_demo(connection("elsewhere", last_synced_at=now)),
        connection("just-now", last_synced_at=now - MINUTE / 2),
    )
    assert (await standing_at(store, now)).just_read == 1
    await add(store, *(connection(f"c{number}", last_synced_at=now) for number in range(9)))
    assert (await standing_at(store, now)).just_read == 5


_WITH_REASONS = ("environment_health", "environment_incidents")


@pytest.mark.parametrize("ends_it", ["prune", "forget"])
async def test_what_an_older_release_kept_of_a_brokers_words_goes(store: Store, ends_it: str) -> None:
    await add(store, connection("a"))
    for _ in range(3):
        await fail(store, "a")
    assert isinstance(store, SqlStore)

    def as_of_old() -> Script[None]:
        for table in _WITH_REASONS:
            yield from execute(f"UPDATE {table} SET data = replace(data, 'HTTP 503', 'No place for alice!')")

    def kept() -> Script[list[str]]:
        rows = []
        for table in _WITH_REASONS:
            row = yield from fetch_one(f"SELECT data FROM {table}")
            rows.append(row[0])
        return rows

    before = await store._read(kept)
    assert all("HTTP 503" in data for data in before)
    await store._write(as_of_old)
    assert all("alice" in data for data in await store._read(kept))
    (incident,) = await store.incidents()
    assert incident.reason == "the broker fails", "nobody is shown it any more"
    await (store.prune(START, KeepSettings()) if ends_it == "prune" else store.forget("alice"))
    assert await store._read(kept) == [data.replace("HTTP 503", "the broker fails") for data in before]


async def standing_at(store: Store, now: datetime) -> Standing:
    seen = []
    await store.change_health("toy", "live", now, lambda _, standing: seen.append(standing))
    return seen[0]


async def test_refusals_count_that_began_lately_against_what_was_read_since_the_first(store: Store) -> None:
    now = START + 5 * HOUR
    await add(
        store,
        connection("doubted", doubted_since=now - 20 * MINUTE, refusals=1),
        connection("asked", doubted_since=now - 10 * MINUTE, state=ConnectionState.NEEDS_USER),
        connection("doubted-for-long", doubted_since=now - 3 * HOUR, last_synced_at=now),
        in_demo(connection("doubted-elsewhere", doubted_since=now)),
        connection("read", last_synced_at=now - 15 * MINUTE),
        connection("read-before", last_synced_at=now - 25 * MINUTE),
    )
    standing = await standing_at(store, now)
    assert (standing.refused, standing.read) == (2, 1)
    for _ in range(3):
        await fail(store, "read")
        await fail(store, "read-before")
        await fail(store, "asked")
    ended = now - 15 * MINUTE
    await store.change_health("toy", "live", ended, lambda known, _: after_answer(known, waiting=0, now=ended))
    assert (await standing_at(store, now)).refused == 1, "what was doubted before it ended is no other incident"


async def test_an_answer_has_those_tried_again_who_were_asked_in_vain(store: Store) -> None:
    now, asks = START + 5 * HOUR, {"state": ConnectionState.NEEDS_USER}
    await add(
        store,
        *(connection(f"doubted-{number}", doubted_since=now - 20 * MINUTE) for number in range(4)),
        connection("asked-in-vain", doubted_since=now - 30 * MINUTE, next_at=now + 9 * HOUR, **asks),
        connection("asked-long-ago", doubted_since=now - 9 * HOUR, next_at=now + 9 * HOUR, **asks),
        connection("asked-for-sure", **asks),
        in_demo(connection("asked-elsewhere", doubted_since=now, next_at=now + 9 * HOUR, **asks)),
    )
    await store.change_health(
        "toy", "live", now, lambda known, it: after_refusal(known, it, reason="HTTP 401", now=now, probes=PROBES)
    )
    assert (await store.broker_health("toy", "live")).open is not None
    later = now + MINUTE
    await store.change_health("toy", "live", later, lambda known, _: after_answer(known, waiting=0, now=later))
    due = {one.connection_id: one.next_at for one in await store.connections() if one.connection_id.startswith("asked")}
    waits = now + 9 * HOUR
    assert due == {
        "asked-in-vain": later, "asked-long-ago": waits, "asked-for-sure": None, "asked-elsewhere": waits,
    }  # fmt: skip


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
