"""The spellings of an option: whatever its order and its words, a root, a day, a strike and a right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal

from brokersync.enums import Right

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_NAME = "|".join(_MONTHS)
_YEAR = r"(?:20)?\d\d"
_BY_NUMBER = re.compile(rf"(?P<y>{_YEAR})-?(?P<m>\d\d)-?(?P<d>\d\d)")  # 260320, 2026-03-20
_BY_SLASH = re.compile(rf"(?P<m>\d\d?)/(?P<d>\d\d?)/(?P<y>{_YEAR})")  # 03/20/2026, and 20/03/2026 elsewhere
_DAY_FIRST = re.compile(rf"(?P<d>\d\d?) ?(?P<m>{_NAME}) ?'?(?P<y>{_YEAR})")  # 20MAR26, 20 MAR '26
_MONTH_FIRST = re.compile(rf"(?P<m>{_NAME}) ?(?P<d>\d\d?),? '?(?P<y>{_YEAR})")  # MAR 20, 2026
_DAYS = (_BY_NUMBER, _BY_SLASH, _DAY_FIRST, _MONTH_FIRST)

_ROOT = r"(?P<root>[A-Z][A-Z0-9./]{0,9})"
_STRIKE = r"\d+(?:\.\d+)?"
_IN_ONE = re.compile(rf"{_ROOT} *(?P<day>\d{{6}})(?P<right>[CP])(?P<strike>{_STRIKE})")  # AAPL260320C150
_IN_WORDS = re.compile(
    rf"{_ROOT} +(?P<day>[A-Z0-9/',\- ]{{4,15}}\d)[ ,]+"
    rf"(?:\$?(?P<strike>{_STRIKE}) *(?P<right>C|P|CALL|PUT)|(?P<right2>C|P|CALL|PUT) *\$?(?P<strike2>{_STRIKE}))"
)
_OCC_DIGITS = 8  # a strike in thousandths, with zeros before it
_NO_PART_OF_A_ROOT = re.compile(r"[\W_]+")


def name_of_option(root: str, expiry: date, right: Right, strike: Decimal) -> str:
    """The one name of all its spellings."""
    short = f"{strike:f}".rstrip("0").rstrip(".") if strike % 1 else f"{int(strike)}"
    return f"option|{_NO_PART_OF_A_ROOT.sub('', root.upper())}|{expiry.isoformat()}|{right.value}|{short}"


def names_of_option(text: str) -> list[str]:
    """What option a symbol in capitals spells: none, one, or two where day and month may be the other way round."""
    text = text.lstrip(".")
    found = _IN_ONE.fullmatch(text) or _IN_WORDS.fullmatch(text)
    if found is None:
        return []
    said = found.groupdict()
    right = Right.CALL if (said["right"] or said["right2"]).startswith("C") else Right.PUT
    written = said["strike"] or said["strike2"]
    strike = Decimal(written)
    if found.re is _IN_ONE and len(written) == _OCC_DIGITS and "." not in written:
        strike /= 1000
    return [name_of_option(said["root"], day, right, strike) for day in dict.fromkeys(_days(said["day"].strip(", ")))]


def _days(text: str) -> Iterator[date]:
    for pattern in _DAYS:
        found = pattern.fullmatch(text)
        if found is None:
            continue
        day, year, month = int(found["d"]), 2000 + int(found["y"][-2:]), found["m"]
        numbers = [(int(month), day)] if month.isdigit() else [(_MONTHS.index(month) + 1, day)]
        if pattern is _BY_SLASH:
            numbers.append((day, int(month)))
        for number, of_month in numbers:
            try:
                yield date(year, number, of_month)
            except ValueError:
                continue
