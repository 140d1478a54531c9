"""`connect ibkr` at a terminal: what to do first, a test of both queries, and exactly what is wrong with them."""

from __future__ import annotations

import io
import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Sandbox

Run = Callable[..., Any]
SetUp = Callable[..., None]

pytestmark = pytest.mark.parametrize("sandbox", ["ibkr"], indirect=True)


QUERIES = "Client Portal > Performance & Reports > Flex Queries"
AS_MADE = {
    "format": "XML",
    "date_format": "yyyyMMdd",
    "alias": False,
    "breakout_by_day": False,
    "sections": ["AccountInformation", "Trades"],
    "levels": ["EXECUTION"],
    "without": [],
}


@pytest.fixture
def set_up(sandbox: Sandbox) -> Iterator[SetUp]:
    """`set_up("activity", alias=True)` changes a query of the first login as its user does."""

    def change(query: str, **settings: object) -> None:
        url = f"{sandbox.facts['base_url']}/_sandbox/queries/{sandbox.login[f'{query}_query_id']}"
        data = json.dumps(AS_MADE | settings).encode()
        with urllib.request.urlopen(urllib.request.Request(url, data, method="PATCH")) as answer:
            assert answer.status == 200

    change("activity")
    change("confirmations")
    yield change
    change("activity")
    change("confirmations")


@pytest.fixture
def connect(brokersync: Run, sandbox: Sandbox, tmp_path: Path) -> Run:
    def run(*words: object, **fields: str) -> Any:
        told = tmp_path / "fields.json"
        told.write_text(json.dumps(sandbox.login | fields))
        told_words = ("--fields-from", told, "--environment", sandbox.environment, "--config", sandbox.config)
        return brokersync("connect", "ibkr", *told_words, *words)

    return run


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_person_is_told_what_to_do_at_ibkr_before_anything_is_asked(
    brokersync: Run, sandbox: Sandbox, set_up: SetUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up("activity")
    typed = [sandbox.login["activity_query_id"], sandbox.login["confirmations_query_id"], "2099-01-31"]
    monkeypatch.setattr("sys.stdin", Terminal("\n".join(typed) + "\n"))
    monkeypatch.setattr("getpass.getpass", lambda _: sandbox.login["token"])
    answer = brokersync("connect", "ibkr", "--environment", sandbox.environment, "--config", sandbox.config)
    assert answer.code == 0, answer
    said = " ".join(answer.err.split())
    steps = [said.index(f"{number}. ") for number in (1, 2, 3, 4)]
    assert steps == sorted(steps)
    assert steps[-1] < said.index("Activity Flex Query ID:")
    for words in ("tick Execution and select all columns", "Date Format yyyyMMdd", "tick Flex Web Service Status"):
        assert words in said
    assert "Please note" not in said
    assert sandbox.login["token"] not in answer.out + answer.err


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"levels": ["ORDER"]}, ("no executions", "click its section Trades, tick Execution")),
        ({"sections": ["OptionEAE"]}, ("no Trades section", "click its section Trades, tick Execution")),
        ({"without": ["tradeID"]}, ("does not tell Trade ID", "tick Trade ID")),
        ({"alias": True}, ("shows an alias", "set Display Account Alias in place of Account ID to No")),
        ({"format": "CSV"}, ("text (CSV)", "set Format to XML")),
        (
            {"without": ["transactionID", "multiplier"], "alias": True},
            (
                "does not tell Transaction ID",
                "Also: - The query shows an alias",
                "There click the section Trades, tick Multiplier",
            ),
        ),
    ],
    ids=["executions", "section", "column", "alias", "csv", "several"],
)
def test_a_query_that_can_not_work_is_refused_with_where_to_click_and_nothing_is_kept(
    connect: Run, brokersync: Run, set_up: SetUp, settings: dict[str, Any], words: tuple[str, ...]
) -> None:
    set_up("activity", **settings)
    answer = connect()
    assert answer.code == 3
    said = " ".join(answer.err.split())
    for one in (*words, QUERIES):
        assert one in said
    assert brokersync("status", "--json").document["connections"] == []


@pytest.mark.parametrize(
    ("query", "settings", "words"),
    [
        ("activity", {"breakout_by_day": True}, "set Breakout by Day to No"),
        ("activity", {"sections": ["Trades"]}, "click the section Account Information, tick all columns"),
        ("activity", {"without": ["multiplier", "ibExecID"]}, "section Trades, tick Multiplier, IB Exec ID as well"),
        ("confirmations", {"format": "CSV"}, "set Format to XML"),
    ],
)
def test_what_is_better_changed_at_a_query_is_said_with_where_to_click(
    connect: Run, set_up: SetUp, query: str, settings: dict[str, Any], words: str
) -> None:
    set_up(query, **settings)
    answer = connect("--json", expires_on="2099-01-31")
    assert answer.code == 0, answer
    [said] = answer.document["advice"]
    assert words in said
    assert QUERIES in said


def test_advice_that_can_not_be_had_is_said_and_does_not_undo_the_login(
    connect: Run, sandbox: Sandbox, set_up: SetUp
) -> None:
    set_up("activity")
    # the first two are for the accounts and the Activity query, the third for the confirmations
    wish = {"fault": "html", "operation": "GetStatement", "after": 2}
    urllib.request.urlopen(f"{sandbox.facts['base_url']}/_sandbox/faults", json.dumps(wish).encode()).close()
    answer = connect()
    assert answer.code == 0, answer
    assert "Connected ibkr-" in answer.out
    assert "could not be looked at" in " ".join(answer.err.split())


def test_a_wrong_query_id_names_its_field(connect: Run, brokersync: Run, sandbox: Sandbox) -> None:
    answer = connect(confirmations_query_id="999")
    assert answer.code == 3
    assert "given as confirmations_query_id" in " ".join(answer.err.split())
    swapped = connect(
        activity_query_id=sandbox.login["confirmations_query_id"],
        confirmations_query_id=sandbox.login["activity_query_id"],
    )
    assert swapped.code == 3
    assert "may be swapped" in " ".join(swapped.err.split())
    assert brokersync("status", "--json").document["connections"] == []


def test_who_sells_the_same_service_is_a_label_and_no_other_broker(
    brokersync: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    told = tmp_path / "fields.json"
    told.write_text(json.dumps(sandbox.login))
    words = ("--fields-from", told, "--environment", sandbox.environment, "--config", sandbox.config, "--json")
    made = brokersync("connect", "captrader", *words).document["connection"]
    assert made["provider"] == "ibkr"
    assert made["label"] == f"CapTrader ({sandbox.environment})"
    assert made["connection_id"].startswith("ibkr-")
    again = brokersync("connect", "ibkr", *words).document["connection"]
    assert again["connection_id"] == made["connection_id"]
    shown = brokersync("providers", "lynx").out
    assert shown.startswith("LYNX (ibkr)")
    assert "WH SelfInvest (wh-selfinvest)" in " ".join(shown.split())


def test_what_else_is_wrong_with_a_refused_query_is_a_list_that_names_the_way_once(connect: Run, set_up: SetUp) -> None:
    set_up("activity", without=["transactionID", "multiplier"], alias=True, breakout_by_day=True)
    answer = connect()
    assert answer.code == 3
    lines = [line for line in answer.err.splitlines() if line.startswith("  ")]
    assert lines[1] == "  Also:"
    assert len(lines) == 5
    assert all(line.startswith("  - ") for line in lines[2:])
    assert answer.err.count(QUERIES) == 1
