from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs

from brokersync.records import Connection, ConnectionState, Grant
from brokersync.store import SealedGrant, SqliteStore
from brokersync.types import AuthResult

START = datetime(2026, 3, 2, 15, tzinfo=UTC)
DAY = timedelta(days=1)


def connection(connection_id: str = "live", **facts: object) -> Connection:
    whole = {
        "connection_id": connection_id, "owner": "o", "provider": "paper", "environment": connection_id,
        "label": "", "identity": "me", "created_at": START,
    }  # fmt: skip
    return Connection(**whole | facts)  # type: ignore[arg-type]  # a test may set any field


def grant(environment: str = "", **facts: object) -> SealedGrant:
    whole = {
        "owner": "o", "provider": "paper", "environment": environment, "identity": "me", "generation": 1,
        "auth": b"auth", "credentials": b"credentials", "grant_expires_at": START + DAY,
    }  # fmt: skip
    return SealedGrant(**whole | facts)  # type: ignore[arg-type]  # see above


async def kept(store: SqliteStore, environment: str = "") -> SealedGrant:
    found = await store.grant("o", "paper", environment, "me")
    assert found is not None
    return found


async def test_one_login_of_two_environments_is_two_connections_over_one_grant(store: SqliteStore) -> None:
    live, demo = connection("live", one_login=True), connection("demo", one_login=True)
    await store.add_connection(live, grant())
    await store.add_connection(demo, grant(auth=b"newer"))
    assert set(await store.connections()) == {attrs.evolve(live, logins=1), demo}
    assert (await kept(store)).generation == 2
    assert (await kept(store)).auth == b"newer"
    assert await store.grant("o", "paper", "live", "me") is None


async def test_a_grant_of_its_own_ends_when_one_login_comes_to_serve_all_environments(store: SqliteStore) -> None:
    await store.add_connection(connection("live"), grant("live"))
    await store.add_connection(connection("demo"), grant("demo"))
    await store.add_connection(connection("live", one_login=True), grant())
    assert await store.grant("o", "paper", "live", "me") is None
    assert (await kept(store, "demo")).generation == 1, "the other connection still lives by it"
    await store.log_in_again(connection("demo", one_login=True), grant())
    assert await store.grant("o", "paper", "demo", "me") is None
    assert (await kept(store)).generation == 2


async def test_logging_in_again_wins_over_whatever_is_there_and_ends_the_question(store: SqliteStore) -> None:
    live, demo = connection("live", one_login=True), connection("demo", one_login=True)
    for one in (live, demo):
        await store.add_connection(one, grant())
    for one in (live, demo):
        await store.change_connection(one.connection_id, state=ConnectionState.NEEDS_USER, reason="Log in.")
    await store.replace_grant(grant(generation=3, auth=b"renewed meanwhile"))
    recovered = await store.log_in_again(live, grant(auth=b"the user's"))
    live, demo = attrs.evolve(live, logins=2), attrs.evolve(demo, logins=1)
    assert recovered == (demo, live)
    assert set(await store.connections()) == {live, demo}
    assert await kept(store) == grant(auth=b"the user's", generation=4)
    assert not await store.replace_grant(grant(generation=4, auth=b"late")), "a renewal begun before lost"
    assert await store.log_in_again(live, grant()) == (), "nobody was asked"


async def test_logging_in_again_at_a_connection_that_is_gone_keeps_nothing(store: SqliteStore) -> None:
    assert await store.log_in_again(connection(), grant("live")) is None
    assert await store.grant("o", "paper", "live", "me") is None


async def test_that_a_renewal_is_under_way_is_kept_until_the_grant_is_replaced(store: SqliteStore) -> None:
    await store.add_connection(connection(one_login=True), grant())
    held = Grant(
        owner="o", provider="paper", environment="", identity="me", generation=1, auth=AuthResult(identity="me")
    )
    assert await store.mark_renewing(held, START)
    assert (await kept(store)).renewing_since == START
    assert await store.mark_renewing(held, None)
    assert (await kept(store)).renewing_since is None
    await store.mark_renewing(held, START)
    await store.replace_grant(grant(generation=2))
    assert (await kept(store)).renewing_since is None
    assert not await store.mark_renewing(held, START), "that generation is no more"
    assert (await kept(store)).renewing_since is None


async def test_since_when_a_refresh_token_is_refused_is_kept_until_the_grant_is_replaced(store: SqliteStore) -> None:
    await store.add_connection(connection(one_login=True), grant())
    held = Grant(
        owner="o", provider="paper", environment="", identity="me", generation=1, auth=AuthResult(identity="me")
    )
    assert await store.mark_renewing(held, START, START + DAY)
    assert (await kept(store)).refused_since == START + DAY
    await store.replace_grant(grant(generation=2, renewing_since=START, refused_since=START + DAY))
    assert (await kept(store)).refused_since == START + DAY, "it is refused still"
    await store.replace_grant(grant(generation=3))
    assert (await kept(store)).refused_since is None
    await store.mark_renewing(attrs.evolve(held, generation=3), START, START + DAY)
    await store.log_in_again(connection(one_login=True), grant())
    assert (await kept(store)).refused_since is None


async def test_grants_that_end_are_told_soonest_first_and_of_one_owner_where_asked(store: SqliteStore) -> None:
    for number, (owner, end) in enumerate([("o", 3 * DAY), ("x", 2 * DAY), ("o", DAY), ("o", -DAY), ("o", 9 * DAY)]):
        facts = {"owner": owner, "identity": str(number)}
        await store.add_connection(
            connection(f"c{number}", **facts), grant(f"c{number}", grant_expires_at=START + end, **facts)
        )
    await store.add_connection(connection("endless"), grant("endless", grant_expires_at=None))
    assert [one.identity for one in await store.ending_grants(None, START, START + 7 * DAY)] == ["2", "1", "0"]
    assert [one.identity for one in await store.ending_grants("o", START, START + 7 * DAY)] == ["2", "0"]


async def test_one_of_two_workers_looks_after_an_end_and_one_tells_the_user(store: SqliteStore) -> None:
    await store.add_connection(connection(one_login=True), grant())
    seen = await kept(store)
    assert [await store.claim_upkeep(seen, START) for _ in range(2)] == [True, False]
    again = await kept(store)
    assert again.tried_at == START
    assert [await store.claim_upkeep(again, START + DAY) for _ in range(2)] == [True, False]
    assert [await store.claim_warning(seen, START + DAY) for _ in range(2)] == [True, False]
    assert await store.claim_warning(seen, START + 2 * DAY), "another end is told of again"


async def test_an_end_that_has_moved_is_not_noted_as_fixed(store: SqliteStore) -> None:
    await store.add_connection(connection(one_login=True), grant())
    await store.note_fixed_end(await kept(store), START)
    assert (await kept(store)).fixed_end is None
    await store.note_fixed_end(await kept(store), START + DAY)
    assert (await kept(store)).fixed_end == START + DAY


async def test_what_was_told_of_an_end_outlives_a_login_that_does_not_move_it(store: SqliteStore) -> None:
    await store.add_connection(connection(one_login=True), grant())
    await store.claim_warning(await kept(store), START + DAY)
    await store.add_connection(connection(one_login=True), grant())
    assert await kept(store) == attrs.evolve(grant(generation=2), warned_of=START + DAY)
