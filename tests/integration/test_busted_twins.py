"""IBKR's equal fills of one second, some of them busted and booked anew: any statements end as one that tells all."""

from __future__ import annotations

import asyncio
import io
import itertools
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import attrs
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from brokersync import BrokerSync
from brokersync.store import TradeFilter

from .test_corrections_in_any_order import _CANCEL, _ORIGINAL, statement
from .test_corrections_with_missing_columns import confirmations, without

Row = dict[str, str]
End = tuple[str, Decimal, Decimal, Decimal]


@attrs.frozen
class Fill:
    """A fill of 100 at 10: the prices at which it was booked anew after each bust, and whether the last one stands."""

    prices: tuple[int, ...]
    stands: bool

    def rows(self, place: int) -> list[Row]:
        """As the broker books them."""
        trade, told = str(700 + place), list[Row]()
        for step, price in enumerate((10, *self.prices)):
            own = {"tradeID": trade, "transactionID": f"8{place}{step}1", "tradePrice": str(price)}
            told.append(_ORIGINAL | own | {"quantity": "100", "ibExecID": f"0000aa.0000b{place}.01.0{step + 1}"})
            if step < len(self.prices) or not self.stands:
                voids = {"origTradeID": trade, "origTransactionID": own["transactionID"], "tradePrice": str(price)}
                told.append(_CANCEL | voids | {"transactionID": f"8{place}{step}2"})
        return told

    @property
    def end(self) -> End:
        busts = len(self.prices) + (not self.stands)
        paid = 1 + len(self.prices) - Decimal("0.25") * busts
        return ("active" if self.stands else "cancelled", Decimal((10, *self.prices)[-1]), Decimal(100), paid)


class Shop:
    """One store; each reading under an owner of its own."""

    def __init__(self, runner: asyncio.Runner, bs: BrokerSync) -> None:
        self._runner, self._bs = runner, bs
        self._owners = (f"owner {number}" for number in itertools.count())

    def ends(self, *files: bytes) -> list[End]:
        return self._runner.run(self._read(files, next(self._owners)))

    async def _read(self, files: Sequence[bytes], owner: str) -> list[End]:
        for file in files:
            report = await self._bs.import_statement("ibkr", io.BytesIO(file), owner=owner)
            assert report.problems == ()
        trades = [one async for one in self._bs.trades(owner, TradeFilter(cancelled=True))]
        return sorted(
            (one.status.value, one.price, one.quantity, sum((fee.amount for fee in one.fees), Decimal(0)))
            for one in trades
        )


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder: Path = tmp_path_factory.mktemp("twins")
    with asyncio.Runner() as runner:
        opened = BrokerSync.open(folder / "s.db")
        bs = runner.run(opened.__aenter__())
        yield Shop(runner, bs)
        runner.run(opened.__aexit__(None, None, None))


_fills = st.lists(
    st.builds(Fill, st.lists(st.integers(10, 13), max_size=2).map(tuple), st.booleans()), min_size=1, max_size=3
)
# what a query may leave out, of both kinds; a cancel needs one of the two ids of its original
LESS = [(), ("conid",), ("symbol",), ("ibExecID",), ("origTradeID",), ("origTransactionID",), ("conid", "ibExecID")]
LESS_CONFIRMED = [(), ("conid",), ("symbol",)]
# a fill that was booked anew at a price it had before has rows that only their execution ids tell apart
LESS_OF_REPEATED = [less for less in LESS if "ibExecID" not in less]


@settings(deadline=None, max_examples=60)
@given(fills=_fills, data=st.data())
def test_statements_of_any_part_in_any_order_end_as_one_that_tells_all(
    shop: Shop, fills: list[Fill], data: st.DataObject
) -> None:
    chains = [fill.rows(place) for place, fill in enumerate(fills)]
    repeats = any(len({10, *fill.prices}) <= len(fill.prices) for fill in fills)
    less = LESS_OF_REPEATED if repeats else LESS

    def part(whole: bool) -> bytes:
        ends = [len(chain) if whole else data.draw(st.integers(0, len(chain))) for chain in chains]
        rows = [row for chain, end in zip(chains, ends, strict=True) for row in chain[:end]]
        order, confirmed = data.draw(st.permutations(rows)), data.draw(st.booleans())
        left_out = data.draw(st.sampled_from(LESS_CONFIRMED if confirmed else less))
        note((ends, confirmed, left_out, [one["transactionID"] for one in order]))
        return confirmations(order, *left_out) if confirmed else without(order, *left_out)

    files = [part(True), *(part(False) for _ in range(data.draw(st.integers(0, 2))))]
    order = data.draw(st.permutations([*files, data.draw(st.sampled_from(files))]))
    assert shop.ends(*order) == sorted(fill.end for fill in fills)


def test_equal_cancels_told_at_noon_and_in_the_evening_go_to_the_trades_that_they_name(shop: Shop) -> None:
    first, second = Fill((11,), stands=True), Fill((12,), stands=True)
    noon = confirmations([*first.rows(0)[:1], *second.rows(1)])
    evening = confirmations([*first.rows(0), *second.rows(1)])
    booked = statement([*second.rows(1), *first.rows(0)])
    for files in itertools.permutations([noon, evening, booked]):
        assert shop.ends(*files) == sorted([first.end, second.end])
    assert shop.ends(noon, evening) == shop.ends(evening, noon) == sorted([first.end, second.end])


@pytest.mark.parametrize("nothing", ["", "0", "-"])
def test_an_original_id_of_nothing_is_none(shop: Shop, nothing: str) -> None:
    twins = [Fill((), stands=False), Fill((), stands=False)]
    rows = [
        row | {"transactionID": nothing, "origTransactionID": nothing}
        for place in (0, 1)
        for row in twins[place].rows(place)
    ]
    assert shop.ends(statement(rows)) == [one.end for one in twins]
