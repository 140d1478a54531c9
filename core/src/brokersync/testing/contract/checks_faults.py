"""Checks of what the plugin makes of a broker that fails, told by a fault server in front of the sandbox."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Final

import pytest

from brokersync.errors import (
    BrokerAPIError,
    BrokerAuthError,
    BrokerConfigError,
    BrokerDataUnavailableError,
    BrokerError,
    BrokerRetryableError,
    BrokerTokenExpiredError,
)
from brokersync.testing.contract.base import OVER_THE_NETWORK, ContractBase
from brokersync.testing.contract.changing import drawn, samples, unlike
from brokersync.testing.contract.expecting import expect, told
from brokersync.testing.contract.reading import Reading, sources_of
from brokersync.testing.contract.showing import expect_for_the_user
from brokersync.testing.contract.stage import HASTY, ONCE, ROOMY, Stage
from brokersync.testing.fault_server import Exchange, Sent
from brokersync.testing.faults import ASKED_WAIT, FAULTS
from brokersync.types import AuthResult

_REFUSED = (BrokerAPIError, BrokerAuthError, BrokerDataUnavailableError, BrokerTokenExpiredError)
_LATER = (BrokerRetryableError,)
_LOGIN = (BrokerAuthError, BrokerTokenExpiredError)
_NONSENSE = (BrokerAPIError, BrokerRetryableError)

MEANS: Final[Mapping[str, tuple[type[BrokerError], ...]]] = MappingProxyType(
    {
        **{name: _REFUSED for name in FAULTS if name.startswith("status_4")},
        **{name: _LATER for name in FAULTS if name.startswith("status_5")},
        "status_300": (BrokerAPIError,),
        "status_401": _LOGIN,
        "status_403": (BrokerAuthError, BrokerAPIError),
        # some brokers end a session so
        "status_408": (*_LATER, *_LOGIN),
        **{f"status_{code}": _LATER for code in (423, 425, 429)},
        "too_many_seconds": _LATER,
        "too_many_date": _LATER,
        "too_many_nonsense": _LATER,
        "maintenance_seconds": _LATER,
        **dict.fromkeys(("html", "empty", "truncated", "wrong_type", "not_text"), _NONSENSE),
        "redirect": (BrokerAPIError,),
        "gzip_bomb": _NONSENSE,
        **dict.fromkeys(("cut", "reset", "silence", "drip"), _LATER),
        "wrong_clock": (),
    }
)
"""What each fault may be told as."""

_WAITS: Final = {
    "too_many_seconds": ASKED_WAIT,
    "too_many_date": ASKED_WAIT,
    "maintenance_seconds": timedelta(seconds=120),
}
_SLOW: Final = frozenset({"silence", "drip"})
_MOST_PLACES: Final = 6
_MOST_SLOW_PLACES: Final = 2
_ROUNDED: Final = timedelta(seconds=2)


class FaultChecks(ContractBase):
    """Of a broker that fails."""

    @pytest.mark.parametrize("fault", sorted(MEANS))
    async def test_a_fault_is_told_as_what_it_is(self, fault: str) -> None:
        """At each kind of request: the class of the error says what happens next, or all rows came all the same."""
        async with self.stage() as stage:
            auth = await self.log_in(stage)
            # a broker whose trades come in files tells of accounts all the same
            readings = await stage.readings(auth) if sources_of(self.manifest.sources) else []
            for sample in samples(readings):
                before, exchanges = await _undisturbed(stage, auth, sample)
                most = _MOST_SLOW_PLACES if fault in _SLOW else _MOST_PLACES
                places = drawn(self.random("places", fault), _kinds(exchanges), most)
                for place in places:
                    again = await _spoilt(stage, auth, before, fault, place)
                    _check_fault(again, before, fault, exchanges[place].sent)
            await self._accounts(stage, auth, fault)

    async def test_a_sync_overcomes_what_passes(self) -> None:
        """With faults drawn by the seed now and then, a sync ends with the trades of one that met none."""
        self.needs(sources_of(self.manifest.sources), OVER_THE_NETWORK)
        async with self.stage() as stage, stage.service("calm") as service:
            await service.sync(await self.connect(service))
            calm = {(one.account_id, one.trade_id): one for one in await service.trades()}
        async with self.stage() as stage, stage.service("rough") as service:
            connection = await self.connect(service)
            stage.server.show_by_seed(self.seed, share=0.15)
            await service.sync(connection)
            stage.server.clear()
            stage.clock.advance(timedelta(hours=2))
            report = await service.sync(connection)
            rough = {(one.account_id, one.trade_id): one for one in await service.trades()}
        expect(not report.problems, f"after faults by the seed {self.seed} problems stay: {report.problems}")
        lost = sorted(calm.keys() - rough.keys())
        expect(not lost, f"faults by the seed {self.seed} lose {len(lost)} trades, the first is {lost[:1]}")

    async def test_it_neither_sleeps_nor_tries_again(self) -> None:
        """A request that fails is made once, since core waits and repeats."""
        async with self.stage() as stage:
            auth, readings = await self.readings(stage)
            for sample in samples(readings):
                stage.open(retry=ONCE)
                since = len(stage.server.exchanges)
                stage.server.show("status_503", times=None)
                with stage.watched() as watched:
                    await stage.read(auth, sample.request)
                stage.server.clear()
                made = [exchange.sent for exchange in stage.server.exchanges[since:]]
                for sent in made:
                    same = [one for one in made if _is_same(one, sent)]
                    expect(len(same) == 1, f"{sent} failed with 503 and was made {len(same)} times: core repeats it")
                expect(not watched.slept, f"the plugin sleeps, in {', '.join(watched.slept)}: give `resume_at` instead")
                with stage.watched() as watched:
                    stage.open()
                    await stage.read(auth, sample.request)
                expect(not watched.slept, f"the plugin sleeps, in {', '.join(watched.slept)}: give `resume_at` instead")

    async def _accounts(self, stage: Stage, auth: AuthResult, fault: str) -> None:
        stage.open()
        since = len(stage.server.exchanges)
        before = await stage.accounts(auth)
        if len(stage.server.exchanges) == since:
            return
        stage.open(http=HASTY if fault in _SLOW else ROOMY, retry=ONCE)
        stage.server.show(fault)
        try:
            after = await stage.accounts(auth)
        except Exception as error:  # noqa: BLE001  a check tells what the plugin raised, whatever it is
            expect(
                isinstance(error, MEANS[fault]) and not isinstance(error, BrokerConfigError),
                f"{fault} at get_accounts is told as {told(error)}, not as {_names(fault)}",
            )
            expect_for_the_user(error, f"{fault} at get_accounts")
        else:
            strange = [one.account_id for one in before if one not in after]
            expect(after == before, f"{fault} at get_accounts is no error, and the accounts {strange} are not given")
        finally:
            stage.server.clear()


async def _undisturbed(stage: Stage, auth: AuthResult, sample: Reading) -> tuple[Reading, list[Exchange]]:
    stage.open()
    since = len(stage.server.exchanges)
    before = await stage.read(auth, sample.request)
    return before, stage.server.exchanges[since:]


async def _spoilt(stage: Stage, auth: AuthResult, before: Reading, fault: str, place: int) -> Reading:
    stage.open(http=HASTY if fault in _SLOW else ROOMY, retry=ONCE)
    stage.server.show(fault, after=place)
    try:
        return await stage.read(auth, before.request)
    finally:
        stage.server.clear()


def _check_fault(again: Reading, before: Reading, fault: str, sent: Sent) -> None:
    where = f"{fault} at {sent.method} {sent.path}, in {before}"
    error = again.error
    if error is None:
        if fault == "wrong_clock":
            expect(not unlike(again, before), f"{where}, changes what is read: {unlike(again, before)}")
        lost = sorted({*before.ids} - {*again.ids})
        expect(not lost, f"{where}, is swallowed: no error, and {len(lost)} rows are missing, the first is {lost[:1]}")
        return
    expect(
        isinstance(error, MEANS[fault]) and not isinstance(error, BrokerConfigError),
        f"{where}, is told as {told(error)}, not as {_names(fault)}",
    )
    expect_for_the_user(error, where)
    if (wait := _WAITS.get(fault)) is not None:
        asked = getattr(error, "retry_after", None)
        expect(
            asked is not None and abs(asked - wait) <= _ROUNDED,
            f"{where}, asks for a wait of {wait}, and the error says {asked}: leave the status to core",
        )


def _kinds(exchanges: list[Exchange]) -> list[int]:
    """The place of the first request of each path."""
    seen: dict[tuple[str, str], int] = {}
    for place, exchange in enumerate(exchanges):
        seen.setdefault((exchange.sent.method, exchange.sent.path), place)
    return sorted(seen.values())


def _names(fault: str) -> str:
    return " or ".join(kind.__name__ for kind in MEANS[fault]) or "no error"


def _is_same(one: Sent, other: Sent) -> bool:
    return (one.method, one.path, one.query, one.body) == (other.method, other.path, other.query, other.body)
