"""What is made of a session holds nothing of what was private in it, and what can be known from it still agrees."""

from __future__ import annotations

import csv
import json
import re
from decimal import Decimal
from io import StringIO
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.redaction import shows
from brokersync.testing.recording.kinds import Kind, Kinds
from brokersync.testing.recording.recording import texts_of

from .sessions import FACTS, KINDS, Facts, Row, exchanged, sanitised, session

SEEDS = st.integers(0, 2**32)


def written(facts: Facts, seed: int) -> str:
    return "\n".join(texts_of(sanitised(session(facts), seed).recording).values())


@settings(max_examples=60, deadline=None)
@given(FACTS, SEEDS)
def test_no_secret_is_written_in_any_form(facts: Facts, seed: int) -> None:
    text = written(facts, seed)
    assert [secret for secret in facts.secrets if shows(text, secret)] == []


@settings(max_examples=60, deadline=None)
@given(FACTS, SEEDS)
def test_no_id_no_name_and_no_remark_is_written(facts: Facts, seed: int) -> None:
    text = written(facts, seed)
    private = {*facts.ids, facts.username, facts.person, *facts.person.split(), *(row.note for row in facts.rows)}
    private |= {facts.account.removeprefix("U")}
    assert [one for one in private if one in text] == []


@settings(max_examples=60, deadline=None)
@given(FACTS, SEEDS)
def test_no_amount_is_written(facts: Facts, seed: int) -> None:
    numbers = {*re.findall(r"[0-9]+\.[0-9]+", written(facts, seed))}
    assert not numbers & {amount.lstrip("-") for amount in facts.amounts}


@settings(max_examples=60, deadline=None)
@given(FACTS, SEEDS)
def test_one_thing_is_replaced_alike_in_all_bodies_addresses_and_headers(facts: Facts, seed: int) -> None:
    recording = sanitised(session(facts), seed).recording
    login, trades, xml, report, nested = (recording.bodies[one.file] for one in recording.exchanges)
    account = json.loads(login)["account"]
    rows = json.loads(trades)
    assert {row["account"] for row in rows} == {account}
    assert recording.exchanges[0].answer_headers["x-next"] == account
    assert recording.exchanges[1].path == f"/trades/{account}"
    assert recording.exchanges[1].headers["X-Account"] == account
    assert ("account", account) in recording.exchanges[3].query
    assert f'account="{account}"' in xml
    assert json.loads(nested)["next"] == f"{{{{host:api}}}}/trades/{account}?t=1"
    table = list(csv.DictReader(StringIO(report)))
    assert [row["id"] for row in table] == [str(row["id"]) for row in rows]
    assert json.loads(nested)["data"] == report


@settings(max_examples=60, deadline=None)
@given(FACTS, SEEDS)
def test_money_still_agrees_with_quantity_price_and_costs(facts: Facts, seed: int) -> None:
    recording = sanitised(session(facts), seed).recording
    for row in json.loads(recording.bodies[recording.exchanges[1].file]):
        cash = Decimal(row["price"]) * row["quantity"] - Decimal(row["commission"])
        assert Decimal(row["netCash"]) == cash


@settings(max_examples=40, deadline=None)
@given(FACTS, SEEDS)
def test_nothing_is_said_to_leak_where_nothing_does(facts: Facts, seed: int) -> None:
    assert [str(leak) for leak in sanitised(session(facts), seed).leaks] == []


@settings(max_examples=30, deadline=None)
@given(FACTS, SEEDS)
def test_what_is_declared_harmless_and_looks_like_a_key_is_told_with_its_place(facts: Facts, seed: int) -> None:
    kinds = Kinds(harmless=["apiHint", "symbol", "side"], vocabulary=KINDS.vocabulary)
    body = json.dumps({"apiHint": "AKIAQ7Z3M9X1K5T2B8WD"})
    of = attrs.evolve(session(facts), exchanges=(exchanged("GET", "/me", body),))
    found = sanitised(of, seed, kinds)
    assert "/me.apiHint: what is kept of it looks like a secret" in {str(leak) for leak in found.leaks}
    assert not any("AKIA" in str(leak) for leak in found.leaks)


@settings(max_examples=30, deadline=None)
@given(FACTS, SEEDS)
def test_a_private_text_that_is_declared_harmless_elsewhere_is_found_at_the_end(facts: Facts, seed: int) -> None:
    body: dict[str, Any] = {"symbol": facts.person, "holder": facts.person}
    of = attrs.evolve(session(facts), exchanges=(exchanged("GET", "/me", json.dumps(body)),))
    assert any("a private text stands there" in str(leak) for leak in sanitised(of, seed).leaks)


_ROW = Row(id="396790000042", order="a-1", price="5912.50", fee="2.54", quantity=2, note="for Jane")
_FACTS = Facts(
    account="U7000001",
    username="janedoe",
    password="correct horse",
    token="t" * 30,
    person="Jane Doe",
    rows=(_ROW,),
)


def test_the_summary_names_fields_and_no_values() -> None:
    of = session(_FACTS)
    summary = sanitised(of, 1).summary
    assert summary[Kind.SECRET]["/me.access_token"] == 1
    assert summary[Kind.PRIVATE]["/me.user"] == 1
    assert summary[Kind.AMOUNT]["Trade.price"] == 1
    assert "Jane" not in str(summary)
    assert "7000001" not in str(summary)


def test_a_body_that_is_no_json_xml_or_csv_is_left_out_and_named() -> None:
    of = attrs.evolve(session(_FACTS), exchanges=(exchanged("GET", "/me", "Hello Jane"),))
    found = sanitised(of, 1)
    assert found.recording.bodies["001-me.txt"] == ""
    assert found.dropped == ["the body of answer 1, GET /me, which is no JSON, XML or CSV"]


def test_an_id_that_is_the_number_of_an_answer_leaves_each_answer_its_own_file() -> None:
    rows = json.dumps([{"orderId": f"{number:03}"} for number in range(1, 80)])
    of = attrs.evolve(session(_FACTS), exchanges=tuple(exchanged("GET", "/report", rows) for _ in range(40)))
    for seed in range(5):
        found = sanitised(of, seed)
        assert [one.file for one in found.recording.exchanges] == [
            f"{number:03}-report.json" for number in range(1, 41)
        ]
        assert found.leaks == []


def test_an_address_of_the_broker_leads_to_whoever_replays_it_and_any_other_nowhere() -> None:
    links = [
        "https://api.acme.example/v2/trades/7000001",
        "https://eu.acme.example/v2/report?format=csv",
        "https://api.acme.example/v22/trades",
        "https://mail.example/jane",
    ]
    of = attrs.evolve(
        session(_FACTS), exchanges=(*session(_FACTS).exchanges, exchanged("GET", "/me", json.dumps(links)))
    )
    found = sanitised(of, 1).recording
    told = json.loads(found.bodies[found.exchanges[-1].file])
    assert re.fullmatch(r"\{\{host:api\}\}/trades/[0-9]{7}", told[0])
    assert "7000001" not in told[0]
    assert told[1:] == ["{{host:api}}/report?format=csv", "https://elsewhere.invalid/", "https://elsewhere.invalid/"]
