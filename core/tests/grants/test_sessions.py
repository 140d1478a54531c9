"""A broker that counts the sessions of a login, whoever shares it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import attrs
import pytest

from brokersync.config import GrantSettings, Settings
from brokersync.errors import (
    BrokerAuthError,
    BrokerError,
    BrokerPluginError,
    BrokerRateLimitError,
    BrokerResponseError,
    BrokerTimeoutError,
    BrokerTokenExpiredError,
    BrokerUnavailableError,
    StoreError,
)
from brokersync.limits import SessionLimit
from brokersync.login_sessions import LoginSessions, may_be_open
from brokersync.manifest import AuthKind, Field, Manifest, SourceSpec
from brokersync.records import Grant, Lease
from brokersync.session_places import places_of, places_text, session_places
from brokersync.underway import Underway

from .desk import CONNECTION, FIELDS, FRESH, MINUTE, NOW, Desk, login

LIMIT = SessionLimit(most=2, lasts=90 * MINUTE, named_by="username")


def manifest(sessions: SessionLimit | None = LIMIT) -> Manifest:
    return Manifest(
        key="paper",
        display_name="Paper",
        contract=1,
        environments=("live",),
        auth=(AuthKind.PASSWORD,),
        sources=(SourceSpec(name="trades", precedence=1),),
        licence="MIT",
        docs="",
        support="",
        user_fields=(Field(name="username", label="User name", help="Who logs in."),),
        sessions=sessions,
    )


def sessions_of(desk: Desk, owner: str = "ann") -> LoginSessions:
    return LoginSessions(manifest(), desk.store, desk.clock, owner)


async def opened(desk: Desk, fields: Mapping[str, str] = FIELDS, *, owner: str = "ann") -> Lease:
    session = await sessions_of(desk, owner).open(fields)
    assert session is not None
    return session


async def test_no_more_are_opened_than_the_broker_allows_however_many_ask_at_once(desk: Desk) -> None:
    found = await asyncio.gather(*(sessions_of(desk).open(FIELDS) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(one, Lease) for one in found) == 2
    assert sum(isinstance(one, BrokerRateLimitError) for one in found) == 6


async def test_the_wait_is_until_the_first_of_them_may_have_ended(desk: Desk) -> None:
    await opened(desk)
    desk.clock.moment += 20 * MINUTE
    await opened(desk)
    with pytest.raises(BrokerRateLimitError) as refused:
        await opened(desk)
    assert refused.value.retry_after == 70 * MINUTE
    desk.clock.moment += 70 * MINUTE
    await opened(desk)


async def test_another_login_has_places_of_its_own(desk: Desk) -> None:
    for name in ("me", "you"):
        for _ in range(2):
            await opened(desk, {**FIELDS, "username": name})


async def test_a_session_that_is_kept_lives_from_then_on_or_as_long_as_the_broker_says(desk: Desk) -> None:
    first, second = await opened(desk), await opened(desk)
    desk.clock.moment += 60 * MINUTE
    await sessions_of(desk).keep(first, None)
    await sessions_of(desk).keep(second, desk.clock.moment + 180 * MINUTE)
    for wait, allowed in ((89, False), (1, True), (89, False)):
        desk.clock.moment += wait * MINUTE
        if allowed:
            await opened(desk)
        else:
            with pytest.raises(BrokerRateLimitError):
                await opened(desk)


async def test_what_is_kept_or_ended_too_late_touches_nobody_elses(desk: Desk) -> None:
    late = await opened(desk)
    desk.clock.moment += 90 * MINUTE
    await opened(desk)
    await opened(desk)
    await sessions_of(desk).end(late)
    await sessions_of(desk).keep(late, None)
    with pytest.raises(BrokerRateLimitError):
        await opened(desk)


async def places(desk: Desk, fields: Mapping[str, str] | None = None) -> list[tuple[int, int]]:
    """How many sessions are in use of each login, and how many owners wait for one."""
    login = places_of(manifest(), fields) if fields else None
    found = await session_places(desk.store, manifest(), desk.clock.now(), login)
    assert {one.most for one in found} <= {2}
    return [(one.taken, one.waiting) for one in found]


async def test_how_many_sessions_are_in_use_and_who_waits_is_counted_by_login(desk: Desk) -> None:
    other = {**FIELDS, "username": "another"}
    assert await places(desk) == []
    first = await opened(desk)
    await opened(desk, other, owner="bob")
    assert await places(desk) == [(1, 0), (1, 0)]
    desk.clock.moment += 10 * MINUTE
    await opened(desk, owner="bob")
    for owner in ("eve", "joe", "eve"):
        with pytest.raises(BrokerRateLimitError):
            await opened(desk, owner=owner)
    assert await places(desk) == [(2, 2), (1, 0)]
    assert (await places(desk, FIELDS), await places(desk, other)) == ([(2, 2)], [(1, 0)])
    (full, _) = await session_places(desk.store, manifest(), desk.clock.now())
    assert full.free_at == NOW + 90 * MINUTE
    assert (
        places_text(full)
        == "2 of 2 sessions of its login in use, 2 waiting for one, and the first is free at 16:30 UTC"
    )

    await sessions_of(desk).end(first)
    await opened(desk, owner="eve")
    assert await places(desk, FIELDS) == [(2, 1)], "eve has come"
    desk.clock.moment += 90 * MINUTE
    assert await places(desk, FIELDS) == [(0, 1)], "joe is awaited for half an hour after his time"
    desk.clock.moment += 30 * MINUTE
    assert await places(desk) == []


async def test_what_people_are_shown_of_sessions_does_not_say_whose_they_are(desk: Desk) -> None:
    await opened(desk, owner="ann")
    shown = repr(await session_places(desk.store, manifest(), desk.clock.now()))
    assert "ann" not in shown
    assert FIELDS["username"] not in shown.split("login=")[1].split(",")[0]


async def test_a_broker_is_not_shown_the_sessions_of_another_one(desk: Desk) -> None:
    await opened(desk)
    assert await session_places(desk.store, attrs.evolve(manifest(), key="pape"), desk.clock.now()) == ()
    assert await session_places(desk.store, attrs.evolve(manifest(), key="paper2"), desk.clock.now()) == ()
    assert await session_places(desk.store, manifest(sessions=None), desk.clock.now()) == ()


async def test_where_the_broker_does_not_count_nothing_is_kept(desk: Desk) -> None:
    uncounted = LoginSessions(manifest(None), desk.store, desk.clock, "ann")
    assert [await uncounted.open(FIELDS) for _ in range(3)] == [None] * 3
    assert await sessions_of(desk).open({}) is None, "a login at the broker's own page has no name before it"


@pytest.mark.parametrize(
    ("error", "open_"),
    [
        (BrokerAuthError("Wrong."), False),
        (BrokerRateLimitError("Later."), False),
        (BrokerUnavailableError("Closed.", status=503), False),
        (BrokerUnavailableError("Broken inside.", status=500), True),
        (BrokerUnavailableError("Bad gateway.", status=502), True),
        (BrokerUnavailableError("Gateway time-out.", status=504), True),
        (BrokerTimeoutError("Silent."), True),
        (BrokerResponseError("Strange."), True),
        (BrokerPluginError("Bug."), True),
        (asyncio.CancelledError(), True),
    ],
)
def test_only_a_sure_refusal_says_that_none_was_opened(error: BaseException, open_: bool) -> None:
    assert may_be_open(error) is open_


def test_what_was_never_sent_has_opened_none() -> None:
    error = BrokerUnavailableError("No route.")
    assert may_be_open(error)
    error.sent = False
    assert not may_be_open(error)


async def kept(desk: Desk, session: Lease) -> Grant:
    await desk.connect(login(refresh=None))
    grant, _ = await desk.vault.load(CONNECTION)
    assert await desk.vault.replace(grant, login(), FIELDS, made_at=NOW, session=session)
    grant, _ = await desk.vault.load(CONNECTION)
    return grant


async def test_a_renewed_login_keeps_its_place(desk: Desk) -> None:
    grant = await kept(desk, await opened(desk))
    await opened(desk)
    desk.clock.moment += 80 * MINUTE
    desk.broker.refreshes = [attrs.evolve(FRESH, expires_at=desk.clock.moment + 60 * MINUTE)]
    await desk.keeper(sessions=sessions_of(desk)).renew(grant.auth)
    assert (await desk.vault.load(CONNECTION))[0].session == attrs.evolve(grant.session, expires_at=NOW + 90 * MINUTE)  # type: ignore[type-var, arg-type]  # a lease, as the test made it
    desk.clock.moment += 11 * MINUTE
    await opened(desk)
    with pytest.raises(BrokerRateLimitError):
        await opened(desk)


async def test_a_login_that_is_made_again_gives_its_place_back_first(desk: Desk) -> None:
    grant = await kept(desk, await opened(desk))
    desk.clock.moment += 61 * MINUTE
    await opened(desk)
    desk.broker.refreshes, desk.broker.logins = [BrokerTokenExpiredError("Over.")], [FRESH]

    async def one_more() -> Any:
        desk.broker.session = await opened(desk)
        return FRESH

    desk.broker.logins = [one_more]
    await desk.keeper(sessions=sessions_of(desk)).renew(grant.auth)
    assert (await desk.vault.load(CONNECTION))[0].session == desk.broker.session


async def test_a_session_that_may_have_been_renewed_unseen_keeps_its_place(desk: Desk) -> None:
    grant = await kept(desk, await opened(desk))
    await opened(desk)
    desk.broker.refreshes = [BrokerTimeoutError("Silent."), BrokerTokenExpiredError("Over.")]

    async def one_more() -> BrokerError:
        with pytest.raises(BrokerRateLimitError):
            await opened(desk)
        return BrokerRateLimitError("Full.")

    desk.broker.logins = [one_more]
    with pytest.raises(BrokerRateLimitError, match="Full"):
        await desk.keeper(sessions=sessions_of(desk)).renew(grant.auth)


@pytest.mark.parametrize("same_process", [True, False])
async def test_owners_who_share_a_login_renew_it_one_after_another(desk: Desk, same_process: bool) -> None:
    """The broker ends sessions that are renewed at the same time."""
    # they wait by a clock that runs ahead, for a store that takes its real time
    hour = timedelta(hours=1)
    desk.settings = Settings(grants=GrantSettings(longest_wait=hour, longest_renewal=hour))
    under_way = 0

    async def renewed() -> Any:
        nonlocal under_way
        under_way += 1
        for _ in range(8):  # as long as the others need to come here, too
            await desk.store.connections("ann")
            assert under_way == 1
        under_way -= 1
        return FRESH

    owners = [attrs.evolve(CONNECTION, connection_id=owner, owner=owner) for owner in ("ann", "bob", "eve")]
    desk.broker.refreshes = [renewed] * 3
    keepers = []
    for one in owners:
        await desk.vault.add(one, login(), FIELDS, made_at=None)
        keeper = desk.keeper(desk.underway if same_process else Underway(), sessions=sessions_of(desk), connection=one)
        keepers.append(keeper)
    assert await asyncio.gather(*(keeper.renew(login()) for keeper in keepers)) == [FRESH] * 3


def test_a_login_that_opened_a_session_and_is_refused_all_the_same_says_so() -> None:
    error = BrokerAuthError("Closed user.")
    error.opened = True
    assert may_be_open(error)


async def test_nothing_is_renewed_while_another_owner_waits_who_then_comes_in(desk: Desk) -> None:
    grant = await kept(desk, await opened(desk))
    await opened(desk, owner="bob")
    desk.clock.moment += 50 * MINUTE
    with pytest.raises(BrokerRateLimitError):
        await opened(desk, owner="eve")
    keeper = desk.keeper(sessions=sessions_of(desk), renew_before=15 * MINUTE)
    assert await keeper.current(grant.auth) == grant.auth, "its token lives until its end"
    assert (desk.broker.asked, await desk.in_doubt()) == ([], None)

    desk.clock.moment += 11 * MINUTE
    desk.broker.refreshes = [BrokerTokenExpiredError("Over.")] * 2
    desk.broker.login_of = lambda: opened(desk)
    for _ in range(2):  # however often it is tried
        with pytest.raises(BrokerRateLimitError, match="comes first"):
            await desk.keeper(sessions=sessions_of(desk)).renew(grant.auth)
    await opened(desk, owner="eve")


async def test_who_waits_and_does_not_come_keeps_nobody_for_long(desk: Desk) -> None:
    await opened(desk)
    desk.clock.moment += 30 * MINUTE
    await opened(desk, owner="bob")
    with pytest.raises(BrokerRateLimitError):
        await opened(desk, owner="eve")
    desk.clock.moment += 61 * MINUTE
    with pytest.raises(BrokerRateLimitError, match="comes first"):
        await opened(desk)
    desk.clock.moment += 29 * MINUTE
    await opened(desk)


async def test_ones_own_note_stops_nobody_but_others(desk: Desk) -> None:
    grant = await kept(desk, await opened(desk))
    await opened(desk)
    with pytest.raises(BrokerRateLimitError, match="sessions at once"):
        await opened(desk)
    desk.clock.moment += 50 * MINUTE
    desk.broker.refreshes = [FRESH]
    keeper = desk.keeper(sessions=sessions_of(desk), renew_before=15 * MINUTE)
    assert await keeper.current(grant.auth) == FRESH


async def test_a_session_that_died_early_is_replaced_in_its_place_whoever_waits(desk: Desk) -> None:
    session = await opened(desk)
    await opened(desk, owner="bob")
    with pytest.raises(BrokerRateLimitError):
        await opened(desk, owner="eve")
    assert await sessions_of(desk).open(FIELDS, instead_of=session) == session


async def test_an_answer_that_may_come_of_a_slow_broker_frees_no_place(desk: Desk) -> None:
    grant = await kept(desk, await opened(desk))
    await opened(desk, owner="bob")
    desk.broker.refreshes = [BrokerTokenExpiredError("Timed out.", status=408)]
    desk.broker.login_of = lambda: opened(desk)
    with pytest.raises(BrokerRateLimitError, match="sessions at once"):
        await desk.keeper(sessions=sessions_of(desk)).renew(grant.auth)


async def test_a_place_is_never_made_shorter_than_the_broker_told(desk: Desk) -> None:
    first, second = await opened(desk), await opened(desk, owner="bob")
    day = NOW + 1440 * MINUTE
    for one in (first, second):
        await sessions_of(desk).keep(one, day)
        await sessions_of(desk).going_on(one, FIELDS, day)
    desk.clock.moment += 1439 * MINUTE
    with pytest.raises(BrokerRateLimitError):
        await opened(desk)


async def test_a_store_that_fails_while_a_place_is_taken_keeps_none(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise StoreError("Gone.")

    with monkeypatch.context() as broken:
        broken.setattr(LoginSessions, "_awaited", fails)
        for _ in range(3):
            with pytest.raises(StoreError):
                await sessions_of(desk).open(FIELDS)
    await opened(desk)
    await opened(desk)
