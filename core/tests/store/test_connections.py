from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import attrs
import pytest

from brokersync.errors import StoreError
from brokersync.records import Connection, ConnectionState, OpenRequest, PageCommit
from brokersync.store import PageRules, SealedGrant, SqlStore, StoreCache
from brokersync.store.rows import load_request, request_text
from brokersync.sync.fold import fold
from brokersync.sync.ledger import cover, reopen
from brokersync.types import BrokerAccount, TimeWindow

START = datetime(2026, 3, 2, 15, 0, 0, 123456, tzinfo=UTC)
DAY = timedelta(days=1)
RULES = PageRules(fold=fold, cover=cover, reopen=reopen, precedence=lambda _: 1)


def connection(connection_id: str = "c", *, owner: str = "o", identity: str = "i") -> Connection:
    return Connection(
        connection_id=connection_id, owner=owner, provider="paper", environment="live", label="Main",
        identity=identity, created_at=START,
    )  # fmt: skip


def grant(*, owner: str = "o", identity: str = "i", generation: int = 1, auth: bytes = b"auth") -> SealedGrant:
    return SealedGrant(
        owner=owner, provider="paper", environment="live", identity=identity,
        generation=generation, auth=auth, credentials=b"credentials",
    )  # fmt: skip


async def test_a_connection_is_kept_with_its_grant(store: SqlStore) -> None:
    whole = attrs.evolve(connection(), since=START - DAY)
    assert await store.add_connection(whole, grant()) == whole
    assert await store.connections() == (whole,)
    assert await store.grant("o", "paper", "live", "i") == grant()
    assert await store.grant("o", "paper", "demo", "i") is None


async def test_the_same_login_again_keeps_the_connection_and_its_past_and_replaces_the_grant(
    store: SqlStore,
) -> None:
    await store.add_connection(attrs.evolve(connection(), since=START - DAY), grant())
    await store.log_sync("c", {"pages": 1}, START + DAY)
    await store.change_connection("c", state=ConnectionState.NEEDS_USER, reason="The token is dead.")
    again = attrs.evolve(connection("d"), label="New", created_at=START + 9 * DAY)
    kept = await store.add_connection(again, grant(auth=b"fresh"))
    assert await store.connections() == (kept,)
    assert kept == attrs.evolve(connection(), label="New", since=START - DAY, last_synced_at=START + DAY, logins=1)
    assert await store.grant("o", "paper", "live", "i") == grant(auth=b"fresh", generation=2)
    earlier = await store.add_connection(attrs.evolve(again, since=START - 9 * DAY), grant())
    assert earlier.since == START - 9 * DAY


async def test_connections_are_told_oldest_first_also_after_one_logged_in_again(store: SqlStore) -> None:
    for number in range(3):
        await store.add_connection(connection(f"c{number}", identity=f"i{number}"), grant(identity=f"i{number}"))
    await store.add_connection(connection("x", identity="i0"), grant(identity="i0"))
    assert [one.connection_id for one in await store.connections()] == ["c0", "c1", "c2"]


async def test_one_login_of_two_owners_is_two_connections(store: SqlStore) -> None:
    await store.add_connection(connection("c"), grant())
    await store.add_connection(connection("d", owner="x"), grant(owner="x", auth=b"other"))
    assert [one.connection_id for one in await store.connections("o")] == ["c"]
    assert [one.connection_id for one in await store.connections("x")] == ["d"]
    assert await store.connections("nobody") == ()
    found = await store.grant("o", "paper", "live", "i")
    assert found is not None
    assert found.auth == b"auth"


async def test_an_id_that_is_taken_never_replaces_somebody_elses_connection(store: SqlStore) -> None:
    await store.add_connection(connection("c"), grant())
    with pytest.raises(StoreError):
        await store.add_connection(connection("c", owner="x"), grant(owner="x"))
    assert await store.connections() == (connection("c"),)
    assert await store.grant("x", "paper", "live", "i") is None, "what failed left nothing"


async def test_a_grant_is_replaced_by_its_next_generation_only(store: SqlStore) -> None:
    await store.add_connection(connection(), grant())
    assert not await store.replace_grant(grant(generation=1, auth=b"again"))
    assert not await store.replace_grant(grant(generation=3, auth=b"too far"))
    assert await store.replace_grant(grant(generation=2, auth=b"next"))
    assert not await store.replace_grant(grant(generation=2, auth=b"second"))
    assert await store.grant("o", "paper", "live", "i") == grant(generation=2, auth=b"next")
    assert not await store.replace_grant(grant(identity="nobody", generation=2))


async def test_the_first_data_key_of_an_owner_stays(store: SqlStore) -> None:
    assert await store.data_key("o", lambda: b"first") == b"first"
    assert await store.data_key("o", lambda: b"second") == b"first"
    assert await store.data_key("x", lambda: b"third") == b"third"


async def test_the_state_of_a_connection_is_set_and_withdrawn(store: SqlStore) -> None:
    await store.add_connection(connection(), grant())
    await store.change_connection("c", state=ConnectionState.NEEDS_USER, reason="Log in.")
    (asking,) = await store.connections()
    assert (asking.state, asking.reason) == (ConnectionState.NEEDS_USER, "Log in.")
    await store.change_connection("c", state=ConnectionState.ACTIVE, reason=None)
    assert await store.connections() == (connection(),)
    await store.change_connection("unknown", state=ConnectionState.ACTIVE, reason=None)


async def test_the_last_report_is_the_latest_logged(store: SqlStore) -> None:
    await store.add_connection(connection(), grant())
    assert await store.last_report("c") is None
    await store.log_sync("c", {"pages": 1}, START)
    await store.log_sync("c", {"pages": 2}, START + DAY)
    await store.add_connection(connection("d", identity="j"), grant(identity="j"))
    await store.log_sync("d", {"pages": 3}, START + DAY)
    assert await store.last_report("c") == {"pages": 2}
    assert (await store.connections())[0].last_synced_at == START + DAY


async def test_all_accounts_of_an_owner_at_a_broker_are_known_with_what_was_told_of_them(store: SqlStore) -> None:
    told = BrokerAccount(account_id="A", environment="live", name="Old", state={"alias": "Old", "id": "7"})
    plain = BrokerAccount(account_id="B", environment="demo")
    await store.add_connection(connection(), grant())
    await store.put_accounts(connection(), [told], START)
    # a file tells of accounts that no connection sees
    page = PageCommit(owner="o", provider="paper", source="files", at=START, accounts=(plain,))
    await store.commit_page(page, RULES)
    later = attrs.evolve(page, as_of=START + DAY, accounts=(attrs.evolve(told, name=None, state={"alias": ""}),))
    await store.commit_page(later, RULES)
    now = attrs.evolve(told, state={"alias": "", "id": "7"})
    assert await store.known_accounts("o", "paper") == (plain, now)
    assert await store.known_accounts("o", "another") == await store.known_accounts("another", "paper") == ()


@pytest.mark.parametrize("read", [(0, 2, 1), (2, 0, 1), (1, 2, 0), (2, 1, 0), (None, 2, 1), (2, None, 1)])
async def test_of_an_account_stands_what_was_said_last_whichever_was_read_last(
    store: SqlStore, read: tuple[int | None, ...]
) -> None:
    page = PageCommit(owner="o", provider="paper", source="files", at=START + 9 * DAY)
    said = {
        None: BrokerAccount(account_id="A", environment="live", name="Undated", state={"alias": "Undated"}),
        0: BrokerAccount(account_id="A", environment="live", name="First", kind="cash", state={"alias": "First"}),
        1: BrokerAccount(account_id="A", environment="live", name="Next", closed=False, state={"alias": "", "id": "7"}),
        2: BrokerAccount(account_id="A", environment="live", closed=True, name="Last", state={"id": "8"}),
    }
    for day in read:
        made = None if day is None else START + day * DAY
        await store.commit_page(attrs.evolve(page, as_of=made, accounts=(said[day],)), RULES)
    [now] = await store.known_accounts("o", "paper")
    assert (now.name, now.closed, now.state) == ("Last", True, {"alias": "", "id": "8"})
    assert now.kind == ("cash" if 0 in read else None)


async def test_an_older_file_changes_nothing_of_what_the_service_said_again_since(store: SqlStore) -> None:
    told = BrokerAccount(account_id="A", environment="live", name="New")
    await store.add_connection(connection(), grant())
    for day in (0, 5):
        await store.put_accounts(connection(), [told], START + day * DAY)
    page = PageCommit(
        owner="o", provider="paper", source="files", at=START + 9 * DAY, as_of=START + 3 * DAY,
        accounts=(attrs.evolve(told, name="Old"),),
    )  # fmt: skip
    await store.commit_page(page, RULES)
    assert await store.known_accounts("o", "paper") == (told,)


async def test_what_was_said_last_stands_within_one_day_too(store: SqlStore) -> None:
    told = BrokerAccount(account_id="A", environment="live", name="New")
    page = PageCommit(owner="o", provider="paper", source="files", at=START + DAY)
    for hour, name in ((10, "New"), (18, "New"), (14, "Old")):
        made = START + timedelta(hours=hour)
        await store.commit_page(attrs.evolve(page, as_of=made, accounts=(attrs.evolve(told, name=name),)), RULES)
    assert await store.known_accounts("o", "paper") == (told,)


async def test_what_tells_nothing_of_an_account_s_end_does_not_open_it_again(store: SqlStore) -> None:
    told = BrokerAccount(account_id="A", environment="live", closed=True)
    page = PageCommit(owner="o", provider="paper", source="files", at=START, accounts=(told,))
    await store.commit_page(page, RULES)
    await store.commit_page(attrs.evolve(page, accounts=(attrs.evolve(told, closed=None),)), RULES)
    assert await store.known_accounts("o", "paper") == (told,)


async def test_accounts_are_those_a_connection_has_seen_as_they_were_last_told(store: SqlStore) -> None:
    first = BrokerAccount(account_id="A", environment="live", name="Old", opened_at=START)
    for one in (connection(), connection("d", identity="j")):
        await store.add_connection(one, grant(identity=one.identity))
    await store.put_accounts(connection(), [first, BrokerAccount(account_id="B", environment="demo")], START)
    await store.put_accounts(connection(), [attrs.evolve(first, name="New")], START)
    await store.put_accounts(connection("d"), [attrs.evolve(first, account_id="C")], START)
    told = await store.accounts("c")
    assert [(one.environment, one.account_id) for one in told] == [("demo", "B"), ("live", "A")]
    assert told[1] == attrs.evolve(first, name="New")


async def test_requests_are_kept_per_connection_source_and_account(store: SqlStore) -> None:
    request = OpenRequest(
        connection_id="c", source="fills", account="live/A", window=TimeWindow(START, START + DAY), cursor="2",
        begun_at=START, resume_at=START + DAY, attempts=3,
    )  # fmt: skip
    for account in ("live/A", "live/B"):
        frame = PageCommit(
            owner="o", provider="paper", source="fills", at=START, connection_id="c", request_account=account,
            next_request=attrs.evolve(request, account=account), bookmark=account,
        )  # fmt: skip
        await store.commit_page(frame, RULES)
    assert set(await store.open_requests("c")) == {request, attrs.evolve(request, account="live/B")}
    assert await store.open_requests("d") == ()
    await store.drop_request("c", "fills", "live/B", reopen)
    await store.drop_request("c", "fills", "live/B", reopen)
    assert await store.open_requests("c") == (request,)
    assert await store.bookmark("c", "fills", "live/B") == "live/B", "a bookmark outlives its request"
    assert await store.bookmark("d", "fills", "live/B") is None


async def test_a_place_that_is_no_good_without_its_counts_is_no_place_for_a_release_that_knows_none(
    store: SqlStore,
) -> None:
    request = OpenRequest(
        connection_id="c", source="fills", account="live/A", window=TimeWindow(START, START + DAY), cursor="2",
        begun_at=START, resume_at=START + DAY, attempts=3, gave_rows=True, counts={"1": "xyz", "3": "u"},
    )  # fmt: skip
    frame = PageCommit(
        owner="o", provider="paper", source="fills", at=START, connection_id="c", request_account="live/A",
        next_request=request,
    )  # fmt: skip
    await store.commit_page(frame, RULES)
    assert await store.open_requests("c") == (request,)
    kept = json.loads(request_text(request))
    known_before = {one.name for one in attrs.fields(OpenRequest)} - {"counts"}
    assert kept.keys() - known_before == {"counted"}
    assert (kept["cursor"], kept["resume_at"]) == (None, None)
    # and what such a release keeps of the request leads on for nobody
    del kept["counted"]
    again = load_request(json.dumps(kept))
    assert (again.cursor, again.resume_at, again.attempts, again.counts) == (None, None, 3, {})
    assert request_text(again) == request_text(attrs.evolve(request, cursor=None, resume_at=None, counts={}))


async def test_reference_data_is_kept_per_broker_and_environment(store: SqlStore) -> None:
    live, demo = StoreCache(store, "paper", "live"), StoreCache(store, "paper", "demo")
    await live.put_many({"1": {"tick": Decimal("0.250")}, "2'": None, "3": [1, "x"]})
    await live.put_many({"3": "new"})
    assert await live.get_many(["1", "2'", "3", "4"]) == {"1": {"tick": "0.250"}, "2'": None, "3": "new"}
    assert await demo.get_many(["1"]) == {}
    assert await live.get_many([]) == {}
    await live.put_many({})
