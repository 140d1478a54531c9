"""What a commission is made of, where the query tells it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import BinaryIO, Final

from brokersync.plugin import FeeKind
from brokersync_ibkr.aside import Aside
from brokersync_ibkr.documents import CHUNK, read_document
from brokersync_ibkr.identity import plain
from brokersync_ibkr.numbers import NULLS, number

_SECTION: Final = "UnbundledCommissionDetails"
_ELEMENT: Final = "UnbundledCommissionDetail"
# a dot is in no name of an attribute that IBKR uses
_KEPT: Final = f"{_ELEMENT}."
# what a Trade Confirmation and what the details of an Activity statement call a part. The broker's own two stay in the
# commission, with what the others lack to its sum: they are rounded, and it is not
_PARTS: Final = (
    ("thirdPartyExecutionCommission", "thirdPartyExecutionCharge", FeeKind.EXCHANGE),
    ("thirdPartyClearingCommission", "thirdPartyClearingCharge", FeeKind.CLEARING),
    ("thirdPartyRegulatoryCommission", "thirdPartyRegulatoryCharge", FeeKind.REGULATORY),
    ("otherCommission", "other", FeeKind.OTHER),
)
_OWN: Final = (
    ("brokerExecutionCommission", "brokerExecutionCharge", FeeKind.COMMISSION),
    ("brokerClearingCommission", "brokerClearingCharge", FeeKind.COMMISSION),
)
_DETAILS: Final = tuple(detail for _, detail, _ in (*_PARTS, *_OWN))
_MARK: Final = _KEPT + _DETAILS[0]
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_ROUNDED: Final = Decimal("0.0005")


def parts_of(
    fields: Mapping[str, str], commission: Decimal, note_unknown: Callable[[str], None]
) -> list[tuple[FeeKind, Decimal]] | None:
    """The parts of a row's commission, which are as much as it; `None` where the row tells none that are.

    A cost is negative, as in the row. The commission is known without them, so a part that is no number is only noted.
    """
    is_detailed = _MARK in fields
    if not is_detailed and _PARTS[0][0] not in fields:
        return None
    told: list[tuple[FeeKind, Decimal]] = []
    for confirmed, detail, kind in (*_PARTS, *_OWN):
        name = detail if is_detailed else confirmed
        try:
            amount = number(fields.get(_KEPT + name if is_detailed else name))
        except ValueError:
            note_unknown(f"a part of a commission that is no number: {name}")
            return None
        if amount:
            told.append((kind, amount))
    others: list[tuple[FeeKind, Decimal]] = [one for one in told if one[0] is not FeeKind.COMMISSION]
    rest = commission - sum(amount for _, amount in others)
    own = sum(amount for kind, amount in told if kind is FeeKind.COMMISSION)
    if rest == commission or abs(rest - own) > _ROUNDED:
        return None
    return [(FeeKind.COMMISSION, rest), *others] if rest else others


class CommissionDetails:
    """The details of a document's commissions, looked up when they are first asked for.

    They stand behind the trades that they belong to, so the document is read for them once more where it has any.
    """

    def __init__(self, file: BinaryIO, start: int, aside: Aside) -> None:
        self._file, self._start, self._aside = file, start, aside
        self._has_any: bool | None = None

    def add(self, raw: dict[str, str], account: str | None) -> None:
        """Write into a row what the details say of its commission."""
        if self._has_any is None:
            self._has_any = self._read()
        if not self._has_any:
            return
        key = _key(raw.get("accountId") or account, raw.get("tradeID"), raw.get("ibCommission"))
        if key and (told := self._aside.get(key)):
            raw.update(zip([_KEPT + name for name in _DETAILS], json.loads(told), strict=True))

    def _read(self) -> bool:
        here = self._file.tell()
        self._file.seek(self._start)
        try:
            if not _mentions(self._file, _ELEMENT):
                return False
            self._file.seek(self._start)
            details = _Details(self._aside)
            for _ in read_document(self._file, details, sections=frozenset({_SECTION})):
                pass
            return details.found
        finally:
            self._file.seek(here)


class _Details:
    """Puts aside the details of commissions that others have a part in; `found` says that there are some."""

    def __init__(self, aside: Aside) -> None:
        self._aside = aside
        self.found = False
        self._account: str | None = None

    def document(self, attributes: Mapping[str, str]) -> None:
        """Nothing in it is of use here."""

    def statement(self, attributes: Mapping[str, str]) -> None:
        self._account = attributes.get("accountId")

    def section(self, name: str, attributes: Mapping[str, str]) -> None:
        """Only its rows are of use here."""

    def row(self, section: str, element: str, names: list[str], values: list[str]) -> None:
        told = dict(zip(names, values, strict=True))
        key = _key(told.get("accountId") or self._account, told.get("tradeID"), told.get("totalCommission"))
        texts = tuple(told.get(name, "") for name in _DETAILS)
        if element == _ELEMENT and key and any(text not in NULLS and text != "0" for text in texts[: len(_PARTS)]):
            self._aside.put(key, json.dumps(texts))
            self.found = True

    def statement_ends(self) -> None:
        self._account = None


def _key(account: str | None, trade: str | None, total: str | None) -> str | None:
    """A cancelled and rebooked trade has one id for its rows, and another commission in each."""
    try:
        amount = number(total)
    except ValueError:
        return None
    return f"detail {account or ''} {trade} {plain(amount)}" if trade and amount else None


def _mentions(file: BinaryIO, word: str) -> bool:
    """Whether the word is in the rest of the file, which is a document from its beginning."""
    rest, sought = b"", word.encode()
    while chunk := file.read(CHUNK):
        if not rest and chunk.startswith(_UTF_16):
            # of two bytes a letter the first or the last is zero, whichever order they are in
            sought = word.encode("utf-16-le")[:-1]
        rest += chunk
        if sought in rest:
            return True
        rest = rest[-len(sought) :]
    return False
