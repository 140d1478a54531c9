"""`brokersync renormalise`: the changed trades by field, first as a dry run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from brokersync_ibkr import normalise

Run = Callable[..., Any]

_ROW = (
    '<Trade accountId="U7" currency="USD" assetCategory="STK" symbol="ACME" conid="11" multiplier="1"'
    ' dateTime="20260302;100000" tradeDate="20260302" buySell="BUY" quantity="100" transactionType="ExchTrade"'
    ' tradePrice="10.5" ibCommission="-1" ibCommissionCurrency="USD" transactionID="{0}" tradeID="{0}" ibOrderID="5" />'
)


def _read_wrongly(brokersync: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Import a statement with a plugin that takes every order for another one."""
    rows = "".join(_ROW.format(number) for number in (1, 2))
    path = folder / "march.xml"
    path.write_text(
        '<FlexQueryResponse queryName="q" type="AF"><FlexStatements count="1"><FlexStatement accountId="U7"'
        ' fromDate="20260302" toDate="20260306" period="" whenGenerated="20260307">'
        f"<Trades>{rows}</Trades></FlexStatement></FlexStatements></FlexQueryResponse>"
    )
    with monkeypatch.context() as wrong:
        wrong.setattr(normalise, "_order_id", lambda fields: "wrong")
        assert brokersync("import", "ibkr", path).code == 0


def test_a_dry_run_shows_each_changed_field_and_the_real_run_makes_the_change(
    brokersync: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _read_wrongly(brokersync, tmp_path, monkeypatch)
    answer = brokersync("renormalise", "--dry-run")
    assert answer.code == 0
    assert answer.out.startswith("2 kept rows read again: 2 would change, 0 as before\n")
    assert "trades: 0 added, 2 modified, 0 removed\n" in answer.out
    (line,) = [line for line in answer.out.splitlines() if line.startswith("trade:1")]
    assert line.split() == ["trade:1", "ACME", "order_id", "wrong", "5"]
    assert "order_id: 2 trades" in answer.out
    assert '"order_id": "wrong"' in brokersync("trades", "--json").out
    assert "2 kept rows read again: 2 changed, 0 as before" in brokersync("renormalise", "--account", "U7").out
    assert '"order_id": "5"' in brokersync("trades", "--json").out
    document = brokersync("renormalise", "--json").document
    assert (document["report"]["unchanged"], document["changes"]) == (2, [])


def test_every_change_is_in_the_document(brokersync: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _read_wrongly(brokersync, tmp_path, monkeypatch)
    changes = brokersync("renormalise", "--dry-run", "--json").document["changes"]
    assert [(one["kind"], one["trade_id"], one["fields"]) for one in changes] == [
        ("modified", f"trade:{number}", {"order_id": {"before": "wrong", "after": "5"}}) for number in (1, 2)
    ]


@pytest.mark.usefixtures("empty_store")
def test_an_account_that_is_not_known_is_a_mistake_of_the_user(brokersync: Run) -> None:
    answer = brokersync("renormalise", "--account", "U9")
    assert (answer.code, "no such account 'U9'" in answer.err) == (3, True)
