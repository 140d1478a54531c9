"""`brokersync match`: an older journal's file against the store, at a terminal and in a pipe."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

_STATEMENT = """<FlexQueryResponse queryName="q" type="AF"><FlexStatements count="1">
<FlexStatement accountId="U9000001" fromDate="20260105" toDate="20260109" period="" whenGenerated="20260110;060000">
<Trades>
<Trade accountId="U9000001" currency="USD" assetCategory="STK" symbol="ACME" conid="77" multiplier="1" tradeID="501"
 transactionID="9001" ibExecID="0000aaaa.0000bbbb.01.01" ibOrderID="31" dateTime="20260106;093105" tradeDate="20260106"
 transactionType="ExchTrade" buySell="BUY" quantity="3" tradePrice="10.25" ibCommission="-0.35"
 ibCommissionCurrency="USD" levelOfDetail="EXECUTION" openCloseIndicator="O" exchange="NYSE" />
<Trade accountId="U9000001" currency="USD" assetCategory="STK" symbol="ACME" conid="77" multiplier="1" tradeID="502"
 transactionID="9002" ibExecID="0000aaaa.0000cccc.01.01" ibOrderID="32" dateTime="20260107;100000" tradeDate="20260107"
 transactionType="ExchTrade" buySell="SELL" quantity="-3" tradePrice="11.5" ibCommission="-0.35"
 ibCommissionCurrency="USD" levelOfDetail="EXECUTION" openCloseIndicator="C" exchange="NYSE" />
</Trades></FlexStatement></FlexStatements></FlexQueryResponse>
"""
_JOURNAL = """row_id,symbol,side,quantity,price,executed_at,trade_ids
1,ACME,buy,3,10.25,2026-01-06,501
2,ACME,sell,3,11.5,2026-01-07T10:00:00,
3,ACME,buy,1,9,2026-01-08T10:00:00,
"""


@pytest.fixture
def journal(brokersync: Run, tmp_path: Path) -> Path:
    statement = tmp_path / "statement.xml"
    statement.write_text(_STATEMENT)
    assert brokersync("import", "ibkr", statement).code == 0
    file = tmp_path / "journal.csv"
    file.write_text(_JOURNAL)
    return file


def test_each_row_has_its_answer_and_reason(brokersync: Run, journal: Path) -> None:
    answer = brokersync("match", journal, "--provider", "ibkr", "--json")
    assert answer.code == 0, answer
    found = answer.document["matches"]
    assert [(one["row_id"], one["verdict"], one["doubts"]) for one in found] == [
        ("1", "same", []),
        ("2", "likely", ["shifted"]),
        ("3", "new", []),
    ]
    assert found[0]["trades"][0]["trade_id"] == "exec:0000aaaa.0000bbbb.01"
    assert "5 hours earlier" in found[1]["reason"]
    assert answer.err.strip() == "3 rows: 1 same, 1 likely, 1 new"


def test_a_zone_takes_the_doubt_away(brokersync: Run, journal: Path) -> None:
    words = ("match", journal, "--provider", "ibkr", "--zone", "America/New_York", "--zone-certain", "--json")
    assert [one["doubts"] for one in brokersync(*words).document["matches"]] == [[], [], []]


@pytest.mark.parametrize("only", ["same", "likely", "new"])
def test_csv_and_json_lines_and_the_table_say_the_same(brokersync: Run, journal: Path, only: str) -> None:
    words = ("match", journal, "--provider", "ibkr", "--only", only)
    (from_csv,) = csv.DictReader(io.StringIO(brokersync(*words, "--format", "csv").out))
    (from_lines,) = map(json.loads, brokersync(*words, "--format", "jsonl").out.splitlines())
    table = brokersync(*words).out.split("\n", 2)[2]
    assert from_csv["verdict"] == from_lines["verdict"] == only
    assert from_csv["reason"] == from_lines["reason"]
    assert from_csv["trade_ids"].split() == [key["trade_id"] for key in from_lines["trades"]]
    assert only in table
    assert from_csv["reason"] in table


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("match", "nothing.csv"), "can not be opened"),
        (("match", "journal.csv"), "line 2, column provider: it is empty"),
        (("match", "journal.csv", "--zone", "Mars/Olympus"), "no time zone"),
    ],
)
def test_a_mistake_is_said_with_what_to_do(
    brokersync: Run, journal: Path, words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(journal.parent)
    answer = brokersync(*words)
    assert (answer.code, answer.out) == (3, "")
    assert said in answer.err
