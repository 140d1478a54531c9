"""An older journal's file: every row of it, or what is wrong with which column of which line."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from brokersync.cli.existing_rows import Reading, read_rows
from brokersync.errors import BrokerConfigError
from brokersync.matching import ExistingTrade
from brokersync.types import Side

HEAD = "row_id,provider,symbol,side,quantity,price,executed_at"
LINE = "7,acme,MESH6,buy,2,5012.25,2026-03-04T15:30:12Z"
ROW = ExistingTrade(
    row_id="7",
    provider="acme",
    symbol="MESH6",
    side=Side.BUY,
    quantity=Decimal(2),
    price=Decimal("5012.25"),
    executed_at=datetime(2026, 3, 4, 15, 30, 12, tzinfo=UTC),
)


def read(folder: Path, text: str | bytes, reading: Reading | None = None) -> list[ExistingTrade]:
    file = folder / "journal.csv"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_rows(file, reading or Reading())


@pytest.mark.parametrize(
    "text",
    [
        f"{HEAD}\n{LINE}\n",
        f"\ufeff{HEAD}\r\n{LINE}\r\n\r\n",
        f"{HEAD};order_id\n{LINE};\n".replace(",", ";"),
        f"{HEAD}\n{LINE}\n".replace(",", "\t"),
        f"{HEAD}\n{LINE}".replace("buy", "BOT"),
        HEAD.replace(",", ", ") + '\n7,acme,"MESH6",B,2.0,5012.25,2026-03-04 15:30:12+00:00',
        (
            '{"row_id": 7, "provider": "acme", "symbol": "MESH6", "side": "buy", "quantity": 2, "price": 5012.25,'
            ' "executed_at": "2026-03-04T15:30:12Z", "order_id": null}'
        ),
    ],
)
def test_a_row_is_read_from_csv_and_json_lines(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == [ROW]


def test_what_else_a_journal_kept_is_read(tmp_path: Path) -> None:
    (row,) = read(
        tmp_path,
        f"{HEAD},account_id,environment,trade_ids,order_id,instrument_ids,zone_doubtful,exit_price,exited_at\n"
        "7,acme,MESH6,s,2,5012.25,2026-03-04,A1,live,1;2 3,9,US0378331005,no,-5.5,2026-03-05",
    )
    assert (row.side, row.account_id, row.environment, row.order_id) == (Side.SELL, "A1", "live", "9")
    assert (row.trade_ids, row.instrument_ids, row.zone_doubtful) == (("1", "2", "3"), ("US0378331005",), False)
    assert (row.executed_at, row.exit_price, row.exited_at) == (date(2026, 3, 4), Decimal("-5.5"), date(2026, 3, 5))


def test_a_line_of_json_ends_where_its_line_does(tmp_path: Path) -> None:
    text = '{"row_id": "a\u2028b", "provider": "acme", "symbol": "MESH6", "side": "buy", "quantity": 2, "price": 1,'
    (row,) = read(tmp_path, text + ' "executed_at": "2026-03-04"}')
    assert row.row_id == "a\u2028b"


def test_ids_longer_than_a_float_keep_every_digit(tmp_path: Path) -> None:
    (row,) = read(
        tmp_path,
        '{"row_id": 12345678901234567890, "provider": "acme", "symbol": "X", "side": "buy", "quantity": 0.1,'
        ' "price": 1.10, "executed_at": "2026-03-04", "trade_ids": [98765432109876543210]}',
    )
    assert (row.row_id, row.trade_ids) == ("12345678901234567890", ("98765432109876543210",))
    assert (row.quantity, str(row.price)) == (Decimal("0.1"), "1.10")


def test_a_signed_quantity_says_the_side(tmp_path: Path) -> None:
    rows = read(tmp_path, f"{HEAD.replace('side,', '')}\n1,acme,X,-2,1,2026-03-04\n2,acme,X,2,1,2026-03-04\n")
    assert [(row.side, row.quantity) for row in rows] == [(Side.SELL, 2), (Side.BUY, 2)]


def test_what_the_file_does_not_tell_is_told_beside_it(tmp_path: Path) -> None:
    text = "row_id,symbol,side,quantity,price,executed_at\n7,X,buy,1,1,2026-03-04T10:00\n"
    (row,) = read(tmp_path, text, Reading("acme", ZoneInfo("America/New_York"), zone_certain=True))
    assert (row.provider, row.executed_at, row.zone_doubtful) == (
        "acme",
        datetime(2026, 3, 4, 15, tzinfo=UTC),
        False,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{HEAD}\n{LINE.replace('5012.25', '5.012,25')}", "line 2, there are 8 cells under 7 columns"),
        (f"{HEAD}\n{LINE}x", "line 2, column executed_at"),
        (f"{HEAD}\n{LINE.replace('5012.25', '5_012')}", "line 2, column price: '5_012' is no number"),
        (f"{HEAD}\n{LINE.replace('5012.25', '$5012')}", "line 2, column price: '$5012' is no number"),
        (f"{HEAD}\n{LINE.replace('5012.25', 'NaN')}", "line 2, column price: 'NaN' is no number"),
        (f"{HEAD}\n{LINE.replace(',2,', ',0,')}", "line 2, quantity must be positive"),
        (f"{HEAD}\n{LINE.replace('buy', 'long')}", "line 2, column side: 'long' is none of"),
        (f"{HEAD}\n{LINE.replace('acme', '')}", "line 2, column provider: it is empty"),
        (f"{HEAD}\n{LINE.replace('2026-03-04T15:30:12Z', '03/04/2026')}", "'03/04/2026' is no time"),
        (f"{HEAD}\n{LINE}\n\n{LINE}", "line 4, column row_id: '7' stands in line 2 already"),
        (f"{HEAD},order_ids\n{LINE},1", "'order_ids' is no column; the columns are row_id"),
        (f"{HEAD},side\n{LINE},buy", "the columns side are there twice"),
        ("symbol,side\nX,buy", "there is no column row_id"),
        ("", "there is no column row_id"),
        (f'{HEAD}\n7,"acme,X', "unexpected end"),
        (f"{HEAD}\n".encode() + b"\xff", "is not UTF-8"),
        ('{"row_id": 1', "line 1, it is no JSON"),
        ('{"row_id": 1}\n[]', "line 2, it is no JSON object"),
        ('{"row_id": 1, "sid": "buy"}', "line 1, 'sid' is no column"),
        ('{"row_id": {"a": 1}}', "line 1, column row_id: it is no single value"),
        ('{"row_id": 1, "trade_ids": [null]}', "column trade_ids: it is no list of ids"),
        (f"{HEAD},exit_price\n{LINE},5", "exit_price and exited_at are given together"),
        (f"{HEAD}\n{LINE.replace('2026-03-04T15:30:12Z', '9999-12-31T23:59:59-14:00')}", "line 2, 9999-12-31"),
        (f"{HEAD}\n{LINE.replace('2026-03-04T15:30:12Z', '0001-01-01T00:00:00+14:00')}", "beyond the calendar"),
        ('[{"row_id": 1}]', "is one JSON array"),
    ],
)
def test_a_mistake_is_named_by_line_and_column(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(BrokerConfigError) as caught:
        read(tmp_path, text)
    assert said in caught.value.message
    assert caught.value.remedy


def test_of_many_mistakes_the_first_are_told(tmp_path: Path) -> None:
    lines = "\n".join(f"{n},acme,X,buy,1,one,2026-03-04" for n in range(9))
    with pytest.raises(BrokerConfigError, match=r"line 2, .*line 6, .*And 4 lines more") as caught:
        read(tmp_path, f"{HEAD}\n{lines}")
    assert "line 7" not in caught.value.message


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(BrokerConfigError, match="can not be opened"):
        read_rows(tmp_path / "nothing.csv", Reading())
