"""IBKR rows without any id, which one statement tells without Conid and another one with it: each counts once."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from brokersync import BrokerSync
from brokersync.store import TradeFilter
from brokersync_ibkr import normalise

from .test_flex_readings import _ORIGINAL, read, statement

_NAMELESS = {name: text for name, text in _ORIGINAL.items() if name not in ("tradeID", "transactionID", "ibExecID")} | {
    "tradeID": "", "transactionID": "",
}  # fmt: skip
_LATE = _NAMELESS | {"reportDate": "20260304"}
_OTHER = _NAMELESS | {"symbol": "OTHR", "conid": "12"}
ROWS = {"one": [_NAMELESS], "equal ones": [_NAMELESS, _NAMELESS, _NAMELESS], "one that was booked late": [_LATE]}


def _files(rows: list[dict[str, str]], other_dates: bool = False) -> tuple[bytes, bytes]:
    """A statement without Conid and a whole one, of which another query made the second."""
    poor, whole = statement(*rows, _OTHER, without=("conid",)), statement(*rows, _OTHER)
    return poor, whole.replace(b"20260302;100000", b"2026-03-02 10:00:00") if other_dates else whole


@contextmanager
def _earlier(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As a version did that took a symbol for the number of a contract."""
    with monkeypatch.context() as patched:
        patched.setattr(normalise, "refuse_unsure", lambda _: None)
        yield


@pytest.mark.parametrize("whole_first", [False, True])
@pytest.mark.parametrize("other_dates", [False, True])
@pytest.mark.parametrize("rows", ROWS.values(), ids=list(ROWS))
async def test_a_row_in_quarantine_for_want_of_conid_leaves_it_when_a_statement_tells_it_whole(
    tmp_path: Path, rows: list[dict[str, str]], other_dates: bool, whole_first: bool
) -> None:
    poor, whole = _files(rows, other_dates)
    trades, reports, quarantined = await read(tmp_path, *([whole, poor] if whole_first else [poor, whole]))
    assert len(trades) == len(rows) + 1
    assert quarantined == []
    assert all(sum(report.dispositions.values()) == report.rows for report in reports)


async def test_equal_rows_in_quarantine_are_kept_and_leave_one_by_one(tmp_path: Path) -> None:
    poor, _ = _files(ROWS["equal ones"])
    _, _, quarantined = await read(tmp_path, poor, poor)
    assert len(quarantined) == 4
    trades, _, quarantined = await read(tmp_path, statement(_NAMELESS, _NAMELESS))
    assert (len(trades), len(quarantined)) == (2, 2)


async def test_a_confirmation_in_quarantine_leaves_it_when_activity_tells_the_row_whole(tmp_path: Path) -> None:
    confirmed = {**_NAMELESS, "ibExecID": ""}
    _, whole = _files([_NAMELESS])
    poor = statement(confirmed, without=("conid",), confirmations=True)
    _, _, quarantined = await read(tmp_path, poor)
    assert len(quarantined) == 1
    _, _, quarantined = await read(tmp_path, whole)
    assert quarantined == []


async def test_another_contract_of_the_same_size_time_and_price_takes_nothing_out(tmp_path: Path) -> None:
    poor, _ = _files([_NAMELESS])
    _, _, quarantined = await read(tmp_path, poor, statement(_OTHER))
    assert [row["raw"]["symbol"] for row in quarantined] == ["ACME"]


async def test_equal_rows_in_quarantine_leave_it_each_when_a_later_version_understands_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poor, _ = _files(ROWS["equal ones"])
    await read(tmp_path, poor)
    with _earlier(monkeypatch):
        async with BrokerSync.open(tmp_path / "s.db") as bs:
            assert (await bs.renormalise("me")).understood == 4
            assert len([one async for one in bs.trades("me")]) == 4
            assert list(await bs.quarantined("me")) == []


@pytest.mark.parametrize("rows", ROWS.values(), ids=list(ROWS))
async def test_rows_that_an_earlier_version_counted_without_conid_are_not_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, str]]
) -> None:
    poor, whole = _files(rows)
    with _earlier(monkeypatch):
        trades, _, _ = await read(tmp_path, poor)
    assert len(trades) == len(rows) + 1
    async with BrokerSync.open(tmp_path / "s.db") as bs:
        assert (await bs.renormalise("me")).refused == len(await bs.quarantined("me")) == len(rows) + 1
        await bs.import_statement("ibkr", io.BytesIO(whole), owner="me")
        await bs.import_statement("ibkr", io.BytesIO(poor), owner="me")
        told: list[Any] = [one async for one in bs.trades("me", TradeFilter(cancelled=True))]
        assert (len(told), list(await bs.quarantined("me"))) == (len(rows) + 1, [])
