"""What a broker does otherwise than the template's is put in where it is said, and the rendered tests hold for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .projects import beside

_ROW = '            "id": self.id,\n'
_FIELDS = "    at: datetime\n\n    @property"
_ROWS = "                at=datetime.combine(day, time(), UTC) + timedelta(milliseconds=milliseconds),\n            )\n"
_STANDING = '''
    def standing(self, account: Account) -> list[Execution]:
        """Without those that were cancelled, and with what was corrected in place of what it corrects."""
        rows = self.executions(account)
        later = {one.corrects: one for one in rows if one.corrects is not None}
        found = ((one, later.get(one.id)) for one in rows if one.corrects is None)
        return [
            one if other is None else attrs.evolve(other, id=one.id)
            for one, other in found
            if other is None or other.kind != "CANCEL"
        ]

    def _user('''
_CORRECTED = """            if number == 0:
                kind = random.choice(("CANCEL", "CORRECTION"))
                yield attrs.evolve(one, id=one.id + 5_000, kind=kind, corrects=one.id, price=one.price + 1)
"""
_BOOKED = "        return TradeBooking.of(_trade(Execution.of(row), account_id, environment), raw=row)\n"
_BOOKING = """        trade = _trade(Execution.of(row), account_id, environment)
        if row.get("corrects") is None:
            return TradeBooking.of(trade, raw=row)
        refs = (_name(id_in(row, "corrects")),)
        if row["kind"] == "CORRECTION":
            return TradeBooking.of(trade, effect=BookingEffect.REPLACE, refs=refs, raw=row)
        return TradeBooking(
            booking_id=trade.trade_id,
            environment=environment,
            account_id=account_id,
            effect=BookingEffect.CANCEL,
            refs=refs,
            raw=row,
        )
"""


def change(folder: Path, name: str, *changes: tuple[str, str]) -> None:
    path = folder / "src" / "brokersync_acme" / name
    text = path.read_text()
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text)


def correct_and_cancel(folder: Path) -> None:
    """The first execution of a day is corrected or cancelled by a row of its own, which names it."""
    change(folder, "provider.toml", ("auth = [", 'capabilities = ["corrections"]\nauth = ['))
    change(
        folder,
        "sandbox_books.py",
        (_FIELDS, '    at: datetime\n    kind: str = "NEW"\n    corrects: int | None = None\n\n    @property'),
        (_ROW, f'{_ROW}            "kind": self.kind,\n            "corrects": self.corrects,\n'),
        ("        return self.id // 10\n", "        return (self.corrects or self.id) // 10\n"),
        ("            yield Execution(", "            one = Execution("),
        (_ROWS, f"{_ROWS}            yield one\n{_CORRECTED}"),
        ("\n    def _user(", _STANDING),
    )
    change(
        folder,
        "sandbox_history.py",
        ("        return self._books.executions(account)\n", "        return self._books.standing(account)\n"),
    )
    change(
        folder,
        "normalise.py",
        (_BOOKED, _BOOKING),
        ("    AssetClass,\n    BrokerAccount", "    AssetClass,\n    BookingEffect,\n    BrokerAccount"),
    )


@pytest.mark.parametrize(("auth_kind", "history_kind"), [("api_key", "windows"), ("password", "cursor")])
def test_the_tests_hold_for_a_broker_that_corrects_and_has_a_narrow_limit(
    rendered: Any, tmp_path_factory: Any, auth_kind: str, history_kind: str
) -> None:
    folder: Path = rendered(auth_kind=auth_kind, history_kind=history_kind)
    correct_and_cancel(folder)
    change(folder, "provider.toml", ('amount = 60\nperiod = "1m"\n', 'amount = 2\nperiod = "10s"\n'))
    project = beside(folder, tmp_path_factory.mktemp("built"))

    printed = project.checked("pytest", "-q", "-p", "no:cacheprovider", "--contract-rows=5000")
    assert "no capability 'corrections'" not in printed
    project.checked("mypy", "--no-incremental")


def test_the_tests_hold_for_one_call_at_a_time_and_an_environment_of_another_name(
    rendered: Any, tmp_path_factory: Any
) -> None:
    folder: Path = rendered(auth_kind="signed", history_kind="session")
    change(
        folder,
        "provider.toml",
        ('amount = 60\nperiod = "1m"\n', 'amount = 1\nperiod = "2s"\n'),
        ('environments = ["live"]', 'environments = ["real"]'),
        ("\nlive = ", "\nreal = "),
    )
    project = beside(folder, tmp_path_factory.mktemp("built"))

    project.checked("pytest", "-q", "-p", "no:cacheprovider", "--ignore=tests/test_contract.py")
