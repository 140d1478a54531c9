"""Each public method refuses what is of the wrong kind, by the argument's name and with what to do."""

from __future__ import annotations

import asyncio
import inspect
import io
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from brokersync import BrokerConfigError, BrokerSync
from brokersync.records import AccountKey
from brokersync.store import TradeFilter

from .broker import NOW, Desk, open_desk

NAIVE = datetime(2030, 1, 1)
TEXTS = (7, b"alice", ["alice"], NOW)
LISTS = ("reports", 7, {"reports": 1}, [None], [""], [7])

# by the kind that a signature states: what must be refused
WRONG: dict[str, tuple[Any, ...]] = {
    "str": (None, "", " ", *TEXTS),
    "str | None": TEXTS,
    "int": (None, -1, "1", 1.0, True, 10**30),
    "int | None": (-1, "1", 1.0, True, 10**30),
    "timedelta | None": (5, "5s", 1.5, timedelta(seconds=-1)),
    "bool": (None, "no", 0, 1),
    "datetime | None": (NAIVE, "2030-01-01", date(2030, 1, 1), 0),
    "date | None": ("2030-01-01", NOW, 7),
    "Sequence[str] | None": LISTS,
    "Mapping[str, str | Secret]": (None, "user=ann", ["user"], {7: "ann"}, {"user": 7}, {"user": None}),
    "Mapping[str, str | Secret] | None": ("user=ann", {7: "ann"}, {"user": 7}),
    "Mapping[str, str | Secret | datetime]": (None, "token", ["token"], {7: "token"}),
    "EventSink": (None, 7, []),
    "OnRow | None": (7, "print"),
    "OnDifference": (None, 7),
    "AccountKey": (None, "alice", ("alice", "toy", "live", "a")),
    "TradeFilter | None": ("ACME", {"symbol": "ACME"}),
    "StatementHints | None": ("U1", {"account_id": "U1"}),
    "BinaryIO": (None, "statement.xml", b"<xml/>", io.StringIO("<xml/>")),
    "Iterable[ExistingTrade]": (None, 7, "rows", [{"row_id": "1"}], [None]),
}
# an empty text is as good as none where nothing is looked up by it
MAY_BE_EMPTY = {"label", "symbol", "trade_id"}
MORE = {
    ("changes", "limit"): (0,),
    ("run_due", "concurrency"): (0,),
    ("worker", "concurrency"): (0,),
    ("run", "sources"): ([],),
}

GIVEN: dict[str, Any] = {
    "owner": "alice",
    "provider": "toy",
    "source": "fills",
    "fields": {"user": "ann"},
    "tokens": {"access_token": "t"},
    "account": "a-ann",
    "trade_id": "0-0",
    "key": AccountKey(owner="alice", provider="toy", environment="live", account_id="a-ann"),
    "file": io.BytesIO(b""),
    "rows": (),
    "consent_id": "begun",
    "answers": {"code": "c"},
}

METHODS = {
    name: inspect.signature(method)
    for name, method in inspect.getmembers(BrokerSync, inspect.isfunction)
    if not name.startswith("_")
}


def _cases() -> list[Any]:
    cases = []
    for method, signature in METHODS.items():
        for name, one in itertools.islice(signature.parameters.items(), 1, None):
            wrong = (*WRONG[one.annotation], *MORE.get((method, name), ()))
            if one.annotation == "str | None" and name not in MAY_BE_EMPTY:
                wrong = ("", " ", *wrong)
            cases += [pytest.param(method, name, value, id=f"{method}({name}={value!r:.30})") for value in wrong]
    return cases


@pytest.fixture
async def desk(stores: Any) -> AsyncIterator[Desk]:
    made = open_desk(stores.place)
    async with made.bs:
        yield made


async def answer(bs: BrokerSync, method: str, **given: Any) -> Any:
    called = getattr(bs, method)(**given)
    async with asyncio.timeout(10):  # what follows the feed would do so for ever
        if inspect.isasyncgen(called):
            return [one async for one in called]
        return await called if inspect.isawaitable(called) else called


async def test_what_is_of_the_wrong_kind_is_refused_by_name_and_changes_nothing(desk: Desk) -> None:
    (connection_id,) = await desk.connect("ann")
    await desk.bs.run(connection_id)
    before, heard, asked = await desk.bs.connections(), len(desk.events), len(desk.broker.asked)
    failed = []
    for method, name, value in (case.values for case in _cases()):
        needed = [
            one.name
            for one in METHODS[method].parameters.values()
            if one.default is inspect.Parameter.empty and one.name != "self"
        ]
        given = {one: connection_id if one == "connection_id" else GIVEN[one] for one in needed} | {name: value}
        try:
            await answer(desk.bs, method, **given)
        except BrokerConfigError as error:
            if name not in error.message or not error.remedy:
                failed.append(f"{method}({name}={value!r}): {error}")
        except Exception as error:  # noqa: BLE001  whatever else comes is what is looked for
            failed.append(f"{method}({name}={value!r}): {error!r}")
        else:
            failed.append(f"{method}({name}={value!r}) was taken")
    assert failed == []
    assert (await desk.bs.connections(), len(desk.events), len(desk.broker.asked)) == (before, heard, asked)
    assert len(_cases()) > 300


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"since": NAIVE}, "since"),
        ({"until": NAIVE}, "until"),
        ({"until": "2030-01-01"}, "until"),
        ({"symbol": 7}, "symbol"),
        ({"provider": ["toy"]}, "provider"),
        ({"account_id": 12345}, "account_id"),
        ({"cancelled": "no"}, "cancelled"),
    ],
)
def test_a_filter_that_could_not_mean_what_it_says_is_refused(facts: dict[str, Any], named: str) -> None:
    with pytest.raises(BrokerConfigError, match=named) as refused:
        TradeFilter(**facts)
    assert refused.value.remedy


@pytest.mark.parametrize("place", [None, "", 7, object()])
def test_a_place_that_is_none_is_refused(place: Any) -> None:
    with pytest.raises(BrokerConfigError) as refused:
        BrokerSync.open(place)
    assert refused.value.remedy


async def test_a_store_that_is_asked_for_nobodys_trades_gives_nobodys(desk: Desk) -> None:
    (name,) = await desk.connect("ann")
    await desk.bs.run(name)
    nobody: Any = None
    for read in (desk.bs._store.trades, desk.bs._store.named_trades):
        assert (await read(nobody, TradeFilter()))[0] == ()


async def test_no_secret_is_shown_by_a_refusal(desk: Desk) -> None:
    for fields in ({"user": ["hidden"]}, ["hidden"], "hidden", {("hidden",): "x"}):
        wrong: Any = fields
        with pytest.raises(BrokerConfigError) as refused:
            await desk.bs.connect("toy", owner="alice", fields=wrong)
        assert "hidden" not in str(refused.value)


def test_what_is_checked_is_still_what_it_was_to_those_who_look_at_it() -> None:
    assert inspect.iscoroutinefunction(BrokerSync.run)
    assert "connection_id" in inspect.signature(BrokerSync.run).parameters
    assert BrokerSync.run.__doc__
    assert NOW.tzinfo is UTC
