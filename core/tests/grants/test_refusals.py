"""How long a refresh token may be refused that may be used up, before the user is asked or a login is made."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs
import pytest

from brokersync.errors import BrokerAuthError, BrokerNotReadyError, BrokerTimeoutError
from brokersync.lost_answers import LONGEST_DOUBT

from .desk import CONNECTION, FRESH, MINUTE, NOW, Desk, login
from .test_renewal import PROLONGED, SILENT

LATER = BrokerNotReadyError("Later.", retry_after=MINUTE)


async def in_doubt(desk: Desk) -> None:
    desk.broker.refreshes = [*SILENT]
    with pytest.raises(BrokerTimeoutError):
        await desk.keeper().renew(login())


async def put_off(desk: Desk, pause: timedelta = MINUTE) -> timedelta | None:
    desk.broker.refreshes = [BrokerNotReadyError("Later.", retry_after=pause)]
    with pytest.raises(BrokerNotReadyError) as caught:
        await desk.keeper().renew(login())
    return caught.value.retry_after


async def refused_since(desk: Desk) -> datetime | None:
    return (await desk.vault.load(CONNECTION))[0].refused_since


async def test_the_first_refusal_in_doubt_is_waited_out_however_long_ago_the_answer_was_lost(desk: Desk) -> None:
    await in_doubt(desk)
    desk.clock.moment = first = NOW + timedelta(days=9)
    await put_off(desk)
    desk.clock.moment += LONGEST_DOUBT - MINUTE
    await put_off(desk)
    assert await refused_since(desk) == first
    desk.broker.refreshes = [FRESH]
    assert await desk.keeper().renew(login()) == FRESH
    assert "login" not in desk.broker.asked
    assert (await desk.in_doubt(), await refused_since(desk)) == (None, None)


async def test_refusals_in_doubt_that_go_on_for_long_are_no_longer_waited_out(desk: Desk) -> None:
    await in_doubt(desk)
    desk.clock.moment += timedelta(days=9)
    await put_off(desk)
    desk.clock.moment += LONGEST_DOUBT
    desk.broker.refreshes, desk.broker.logins = [LATER], [FRESH]
    assert await desk.keeper().renew(login()) == FRESH
    assert await refused_since(desk) is None


async def test_no_pause_outlasts_the_time_for_which_refusals_in_doubt_are_waited_out(desk: Desk) -> None:
    await in_doubt(desk)
    assert await put_off(desk, timedelta(hours=20)) == LONGEST_DOUBT
    desk.clock.moment += timedelta(hours=11)
    assert await put_off(desk, timedelta(hours=20)) == timedelta(hours=1)


async def test_a_renewal_that_is_put_off_without_a_doubt_is_no_refusal(desk: Desk) -> None:
    assert await put_off(desk, timedelta(hours=20)) == timedelta(hours=20)
    assert await refused_since(desk) is None


async def test_a_plain_refusal_without_a_doubt_asks_at_once(desk: Desk) -> None:
    desk.broker.refreshes, desk.broker.logins = [BrokerAuthError("Used.")], []
    with pytest.raises(BrokerAuthError, match="Used"):
        await desk.keeper().renew(login())
    assert desk.broker.asked == ["refresh with hidden-refresh-0"]


async def test_a_session_that_is_prolonged_keeps_since_when_the_refresh_token_is_refused(desk: Desk) -> None:
    await in_doubt(desk)
    desk.clock.moment = first = NOW + timedelta(hours=1)
    again = attrs.evolve(PROLONGED, access_token=FRESH.access_token, expires_at=NOW + timedelta(hours=20))
    desk.broker.refreshes = [PROLONGED, again]
    await desk.keeper().renew(login())
    desk.clock.moment += timedelta(hours=1)
    await desk.keeper().renew(PROLONGED)
    assert await refused_since(desk) == first


async def test_refusals_in_an_earlier_doubt_do_not_count_in_a_later_one(desk: Desk) -> None:
    """A release that does not know of refusals, beside this one, takes a doubt away and leaves them."""
    grant, _ = await desk.vault.load(CONNECTION)
    desk.clock.moment = NOW + timedelta(days=9)
    await desk.store.mark_renewing(grant, desk.clock.now(), NOW)
    await put_off(desk)
    assert await refused_since(desk) == desk.clock.now()
