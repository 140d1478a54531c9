"""Answers of the real broker, as other people published them, where their files lie beside the repository."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from brokersync.plugin import BrokerConfigError, BrokerError, HttpResponse, StatementHints, loads_exact
from brokersync_tradovate.cash_history import read_cash_history
from brokersync_tradovate.exchange import Exchange
from brokersync_tradovate.fills_report import FillsReport
from brokersync_tradovate.local_times import instant
from brokersync_tradovate.payloads import (
    Account,
    Contract,
    ContractMaturity,
    Currency,
    Fill,
    FillFee,
    Login,
    Order,
    Product,
    by_id,
)
from brokersync_tradovate.refusals import request_refused
from brokersync_tradovate.rows import exact_number
from brokersync_tradovate.statements import TradovateStatementReader
from brokersync_tradovate.tables import TableError

SAMPLES = Path(__file__).parents[3].parent / "shared" / "samples" / "tradovate"

pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the published samples do not lie beside this checkout")


def sample(name: str) -> Any:
    return loads_exact((SAMPLES / name).read_bytes())


@pytest.mark.parametrize("name", ["fill_list_d.json", "fill_deps_d.json"])
def test_published_fills_are_understood(name: str) -> None:
    rows = sample(name)

    fills = [Fill.of(row) for row in rows]

    assert [(one.id, one.price, one.qty) for one in fills] == [
        (row["id"], Decimal(row["price"]), Decimal(row["qty"])) for row in rows
    ]
    assert all(one.active and one.trade_date for one in fills)


def test_an_evening_fill_belongs_to_the_next_session() -> None:
    (fill,) = [Fill.of(row) for row in sample("fill_deps_d.json")]

    assert fill.trade_date is not None
    assert fill.trade_date > fill.timestamp.date()


def test_every_published_shape_is_understood() -> None:
    shapes = sample("shapes_synthetic.json")
    unmapped: Counter[str] = Counter()
    kinds: dict[str, Any] = {
        "account_list": Account,
        "order_list": Order,
        "fill_list": Fill,
        "fill_fee_list": FillFee,
        "contract_items": Contract,
        "contract_maturity_items": ContractMaturity,
        "product_items": Product,
        "currency_list": Currency,
    }

    assert all(len(by_id(kind, shapes[name], unmapped)) == len(shapes[name]) > 0 for name, kind in kinds.items())
    assert not unmapped
    assert Login.of(shapes["auth_ok"]).user_id == shapes["auth_ok"]["userId"]
    assert list(FillsReport(io.StringIO(shapes["report_empty"]["data"])).rows()) == []


@pytest.mark.parametrize(
    "name", ["auth_error", "penalty", "penalty_captcha", "oauth_error_http200", "report_error_http200"]
)
def test_every_published_refusal_is_an_error(name: str) -> None:
    body = json.dumps(sample("shapes_synthetic.json")[name], default=str).encode()

    with pytest.raises(BrokerError):
        Exchange("fill/list", request_refused).check(HttpResponse(status=200, headers={}, body=body, url=""))


@pytest.mark.parametrize(
    "name", ["performance_b.csv", "orders_b.csv", "position_history_c.csv", "cash_history_synthetic.csv"]
)
def test_another_report_is_not_taken_for_the_fills_report(name: str) -> None:
    with (
        (SAMPLES / name).open(encoding="utf-8", newline="") as file,
        pytest.raises(TableError, match="lacks the columns"),
    ):
        FillsReport(file)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("orders_b.csv", "export of Orders"),
        ("performance_b.csv", "export of Performance"),
        ("position_history_c.csv", "export of Position History"),
        ("cash_history_synthetic.csv", "export of Cash History"),
    ],
)
def test_each_published_export_is_told_apart(name: str, what: str) -> None:
    reader = TradovateStatementReader()
    with (SAMPLES / name).open("rb") as file:
        assert reader.recognises(file.read(65536))
        file.seek(0)
        with pytest.raises(BrokerConfigError, match=what):
            reader.source(file, StatementHints())


def test_the_published_cash_history_is_understood() -> None:
    unmapped: Counter[str] = Counter()

    with (SAMPLES / "cash_history_synthetic.csv").open(encoding="utf-8", newline="") as file:
        history = read_cash_history(file, "DEMO0000009", unmapped)

    assert (history.whole, unmapped) == (True, Counter())
    assert [(one.fee, one.currency) for one in history.charges] == [
        ("exchangeFee", "USD"),
        ("nfaFee", "USD"),
        ("commission", "USD"),
        ("commission", "USD"),
    ]
    assert all(one.amount > 0 and one.contract == "MESM6" for one in history.charges)


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("orders_b.csv", ("Timestamp", "Fill Time")),
        ("performance_b.csv", ("boughtTimestamp", "soldTimestamp")),
        ("position_history_c.csv", ("Timestamp", "Bought Timestamp", "Sold Timestamp")),
    ],
)
def test_the_times_of_published_exports_are_written_month_first(name: str, columns: tuple[str, ...]) -> None:
    with (SAMPLES / name).open(encoding="utf-8", newline="") as file:
        told = [row[column] for row in csv.DictReader(file) for column in columns if row[column]]

    assert told
    assert all(instant(one, UTC).strftime("%m/%d/%Y %H:%M:%S") == one for one in told)


def test_the_pnl_of_published_pairs_is_read_to_the_cent() -> None:
    with (SAMPLES / "performance_b.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    for row in rows:
        moved = (Decimal(row["sellPrice"]) - Decimal(row["buyPrice"])) * Decimal(row["qty"])
        assert exact_number(row["pnl"]) == moved * 2, "a point of the MNQ is worth two dollars"
