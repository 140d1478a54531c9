"""The spellings of one instrument: which of them are the same, and which may be."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from brokersync.enums import AssetClass
from brokersync.matching.options import name_of_option, names_of_option
from brokersync.types import Instrument

_MONTHS = "FGHJKMNQUVXZ"
_MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")

_EXCHANGE_BEFORE = re.compile(r"[A-Z0-9_]+:(?=.)")
_ROOT_ONLY = re.compile(r"([A-Z0-9]+?)(?:\d*!|=F|_F)")  # the continuous contract: ES1!, ES=F, ES_F
_BY_NUMBER = re.compile(r"([A-Z0-9]+) (\d\d)-(?:20)?(\d\d)")  # MES 12-26
_BY_NAME = re.compile(rf"([A-Z0-9]+) ?({'|'.join(_MONTH_NAMES)})'? ?(?:20)?(\d\d)")  # MES DEC26
_BY_LETTER = re.compile(rf"([A-Z0-9]*[A-Z][A-Z0-9]*?|[0-9][A-Z])([{_MONTHS}])(\d|\d\d|20\d\d)")  # MESZ6, 6EZ26
_SUFFIX = re.compile(r"(.+)[.@]([A-Z_]{1,8})")  # AAPL.US, MESZ6.CME
_NO_PART_OF_A_NAME = re.compile(r"[\W_]+")

_MAYBE_FUTURES = frozenset({AssetClass.FUTURE, AssetClass.OTHER})


class Spellings(NamedTuple):
    """`exact` names mean one instrument; a `loose` one is exact for an instrument that this may be."""

    exact: tuple[str, ...]
    loose: tuple[str, ...]


@lru_cache(maxsize=65536)
def spellings_of_row(symbol: str, instrument_ids: tuple[str, ...]) -> Spellings:
    """How a journal's symbol can be read. `MES` and `ES` stay two, and so do two months of one future."""
    text = _EXCHANGE_BEFORE.sub("", symbol.strip().upper(), count=1)
    exact = {f"id:{one.strip().upper()}" for one in instrument_ids}
    root_only = _ROOT_ONLY.fullmatch(text)
    if root_only:
        exact.add(root_only[1])
    else:
        exact.add(_plain(text))
    loose: set[str] = set()
    contract = _contract(text)
    suffixed = _SUFFIX.fullmatch(text)
    options = names_of_option(text)
    if options:
        (exact if len(options) == 1 else loose).update(options)
    elif contract:
        exact |= contract.in_row()
        loose.add(contract.root)
    elif suffixed:
        loose.add(_plain(suffixed[1]))
        inner = _contract(suffixed[1])
        if inner:
            loose |= inner.in_row()
        loose.update(names_of_option(suffixed[1]))
    return _spellings(exact, loose)


@lru_cache(maxsize=65536)
def spellings_of_instrument(instrument: Instrument) -> Spellings:
    """The names of what was traded, and the looser ones: a future without its month, a symbol without its exchange."""
    text = _EXCHANGE_BEFORE.sub("", instrument.symbol.strip().upper(), count=1)
    ids = (instrument.broker_id, instrument.isin, instrument.figi, instrument.cusip)
    exact = {f"id:{one.upper()}" for one in ids if one}
    exact |= {one.upper() for one in ids[1:] if one}
    exact.add(_plain(text))
    loose: set[str] = set()
    contract = _contract(text) if instrument.asset_class in _MAYBE_FUTURES else None
    suffixed = _SUFFIX.fullmatch(text)
    if instrument.asset_class is AssetClass.OPTION:
        spelled, known = names_of_option(text)[:1], _by_its_parts(instrument)
        exact.update(spelled or known)
        loose.update(known)
    if contract:
        exact |= contract.in_trade(instrument.expiry)
        loose.add(contract.root)
    elif suffixed:
        loose.add(_plain(suffixed[1]))
    if instrument.asset_class is AssetClass.FUTURE and instrument.underlying:
        loose.add(_plain(instrument.underlying.upper()))
    return _spellings(exact, loose)


def _by_its_parts(instrument: Instrument) -> list[str]:
    root, expiry, right, strike = instrument.underlying, instrument.expiry, instrument.right, instrument.strike
    if not root or expiry is None or right is None or strike is None:
        return []
    return [name_of_option(root, expiry, right, strike)]


def _spellings(exact: set[str], loose: set[str]) -> Spellings:
    return Spellings(tuple(sorted(exact - {""})), tuple(sorted(loose - exact - {""})))


def _plain(text: str) -> str:
    return _NO_PART_OF_A_NAME.sub("", text)


class _Contract(NamedTuple):
    """A future's root and month, and its year as it is written: of exchanges that is its last digit."""

    root: str
    month: str
    year: str

    def in_row(self) -> set[str]:
        """A digit is of any decade, and two are of theirs or of what tells no more than a digit."""
        digit = f"{self.root}|{self.month}{self.year[-1]}"
        return {digit} if len(self.year) == 1 else {f"{self.root}|{self.month}{self.year[-2:]}", f"{digit}?"}

    def in_trade(self, expiry: date | None) -> set[str]:
        """The same from the other side; a contract expires in its year, or at most one before or after it."""
        digit = f"{self.root}|{self.month}{self.year[-1]}"
        years = [self.year] if len(self.year) > 1 else []
        if not years and expiry is not None:
            near = (str(expiry.year + off) for off in (0, 1, -1))
            years = [year for year in near if year[-1] == self.year]
        return {digit, *(f"{self.root}|{self.month}{year[-2:]}" for year in years)} if years else {digit, f"{digit}?"}


def _contract(text: str) -> _Contract | None:
    text = text.lstrip("/@.")
    numbered = _BY_NUMBER.fullmatch(text)
    if numbered and 1 <= int(numbered[2]) <= 12:
        return _Contract(numbered[1], _MONTHS[int(numbered[2]) - 1], numbered[3])
    named = _BY_NAME.fullmatch(text)
    if named:
        return _Contract(named[1], _MONTHS[_MONTH_NAMES.index(named[2])], named[3])
    lettered = _BY_LETTER.fullmatch(text)
    return _Contract(lettered[1], lettered[2], lettered[3]) if lettered else None
