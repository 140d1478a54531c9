"""What a value is, by the name of its field and its form: kept, an amount, an id, a secret, or private."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Final

from brokersync.testing.recording.bodies import Number, Place


class Kind(StrEnum):
    """What becomes of a value."""

    KEPT = "kept"
    AMOUNT = "scaled"
    ID = "replaced: an id"
    PRIVATE = "replaced: private"
    SECRET = "removed: a secret"  # noqa: S105  the name of a kind, not a secret


_WORD: Final = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SECRET: Final = _words(
    "password passwd pwd secret token tokens passphrase authorization cookie signature sig apikey jwt bearer nonce csrf"
    " credential credentials otp totp"
)
_TIME: Final = _words(
    "time times date dates timestamp ts day month year expiry expiration expirationdate maturity period datetime"
    " timezone zone hour minute epoch"
)
_PERHAPS_TIME: Final = _words(
    "at opened funded closed expires expire generated created updated since until begin end start from to when settle"
    " settlement realized reopened last first fd td"
)
_PERSON: Final = _words(
    "name email mail phone mobile address street city zip postcode holder owner alias nick nickname birth ssn tax"
    " person first last customer client trader company note notes comment memo description title user login"
)
_ID: Final = _words(
    "id ids number no ref refs reference account acct uuid guid conid key serial ticket cursor oid figi cusip isin"
)
# these say what a number is, whatever else the name says
_NO_AMOUNT: Final = _words(
    "qty quantity multiplier rate ratio factor percent pct precision decimals decimal digits format type status code"
    " version strike tick index expires ttl seconds minutes hours duration lifetime interval timeout delay wait ms"
)
_SURELY_ID: Final = _words("id ids ref refs reference account acct uuid guid serial ticket")
# says yes, no, or nothing
_ANSWERS: Final = _words("y n yes no true false n/a na null none - on off")
_COUNT: Final = _words("size shares contracts lots filled volume count level leg legs page pages days")
_AMOUNT: Final = _words(
    "price amount cash fee fees commission commissions cost costs balance proceeds pnl profit loss money tax taxes"
    " interest net gross value principal premium charge charges rebate paid bought sold equity margin basis px pri"
)

_NUMBER: Final = re.compile(r"\(?[-+]?[$€£]?[-+]?[0-9][0-9,]*(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?\)?|[-+]?\.[0-9]+")
_MONTHS: Final = "jan feb mar apr may jun jul aug sep oct nov dec"
_IN_WORDS: Final = re.compile(
    rf"(?:[0-9]+|[-+/:;., TZ]|(?:{_MONTHS.replace(' ', '|')})[a-z]*|(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*|am|pm"
    r"|utc|gmt|[ecmp][sd]t|st|nd|rd|th)+",
    re.IGNORECASE,
)
_YEAR: Final = r"(?:19[7-9]|20[0-9])[0-9]"
_TIME_OF_DAY: Final = r"[0-2]?[0-9]:[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]+)?)?"
_MOMENT: Final = re.compile(
    rf"{_YEAR}-[01][0-9]-[0-3][0-9](?:[T ;,]+{_TIME_OF_DAY}\s?(?:Z|[-+][0-9:]+|[A-Z]{{2,4}})?)?"
    rf"|[0-3]?[0-9][/.][0-3]?[0-9][/.](?:{_YEAR}|[0-9]{{2}})(?:[ ,;]+{_TIME_OF_DAY})?"
    rf"|{_YEAR}[01][0-9][0-3][0-9][;, T][0-2][0-9][0-5][0-9][0-5][0-9]|{_TIME_OF_DAY}"
)
_LONG_MOMENT: Final = re.compile(rf"{_YEAR}[01][0-9][0-3][0-9](?:[0-9]{{4,6}})?|1[0-9]{{9}}(?:\.[0-9]+|[0-9]{{3}})?")
_SHORT_MOMENT: Final = re.compile(r"[0-9]{1,2}|[0-9]{4}|[0-9]{6}")
_MOST_DIGITS_OF_A_CODE: Final = 2


def words_of(name: str) -> frozenset[str]:
    """The words in the name of a field, in small letters."""
    return frozenset(word.lower() for word in _WORD.findall(name))


def is_moment(value: str) -> bool:
    """Whether a text is a date or a time beyond doubt."""
    return bool(_MOMENT.fullmatch(value.strip()))


def is_number(value: str) -> bool:
    """Whether a text is a number, with currency sign, separators or parentheses or without."""
    return isinstance(value, Number) or bool(_NUMBER.fullmatch(value))


class Kinds:
    """Tells the kind of each value of one broker; `harmless` and `amounts` are fields that its plugin declares.

    A declared field is a name, or `holder:name` where only the fields of that element, object or path are meant. A text
    that the plugin's own code names, a `vocabulary`, is no secret of anybody's.
    """

    def __init__(
        self, *, harmless: Iterable[str] = (), amounts: Iterable[str] = (), vocabulary: Iterable[str] = ()
    ) -> None:
        self._harmless, self._amounts = frozenset(harmless), frozenset(amounts)
        self.vocabulary = frozenset(vocabulary)

    def of(self, place: Place, value: str) -> Kind:
        """The kind of a value that is no secret that was given; what nothing is known of is private."""
        if place.is_key:
            return _kind_of_key(value)
        if not value.strip() or _declares(self._harmless, place):
            return Kind.KEPT
        words = words_of(place.name)
        if is_moment(value) or _is_a_time(words, value):
            return Kind.KEPT
        if _declares(self._amounts, place) and is_number(value):
            return Kind.AMOUNT
        if words & _SECRET and not words & {"type", "kind"} and not _is_a_span(words, value):
            return Kind.SECRET
        if is_number(value):
            return _kind_of_number(words, value)
        if value.lower() in _ANSWERS or (value in self.vocabulary and not words & _PERSON):
            return Kind.KEPT
        if "currency" in words and re.fullmatch(r"[A-Z]{3}", value):
            return Kind.KEPT
        return Kind.ID if words & _ID and not words & _PERSON else Kind.PRIVATE


def vocabulary_of(files: Iterable[Path]) -> frozenset[str]:
    """The texts and numbers that a plugin's own code names: what it sends, and what it understands.

    A sandbox is left out: it invents people.
    """
    found: set[str] = set()
    for path in files:
        if path.name.startswith("sandbox"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str | int):
                found.add(str(node.value))
    return frozenset(found)


def _declares(declared: frozenset[str], place: Place) -> bool:
    if place.name in declared:
        return True
    named = (one.rpartition(":") for one in declared if one.endswith(f":{place.name}"))
    return any(holder == one or one.endswith(f"/{holder}") for holder, _, _ in named for one in place.inside)


def _is_a_time(words: frozenset[str], value: str) -> bool:
    """By the name of its field; a name that says as well that it is something else says nothing."""
    if words & (_AMOUNT | {"id", "ids"}):
        return False
    if not is_number(value):
        timely = words & (_TIME | _PERHAPS_TIME)
        return bool(timely and any(one.isdigit() for one in value) and _IN_WORDS.fullmatch(value))
    if words & _TIME:
        return bool(_LONG_MOMENT.fullmatch(value) or _SHORT_MOMENT.fullmatch(value))
    return bool(words & _PERHAPS_TIME and not words & _ID and _LONG_MOMENT.fullmatch(value))


def _is_a_span(words: frozenset[str], value: str) -> bool:
    """How long a token lives, as OAuth has it in seconds; no token is as short as that."""
    return bool(words & {"expires", "lifetime", "ttl"} and value.isascii() and value.isdigit() and len(value) < 10)


def _kind_of_key(name: str) -> Kind:
    """The name of a field, unless it is data: a map by account, say."""
    return Kind.ID if re.search(r"[0-9]{3,}|@|[0-9a-f]{8}-", name) else Kind.KEPT


def _kind_of_number(words: frozenset[str], value: str) -> Kind:
    if words & _SURELY_ID and "." not in value:
        return Kind.ID
    if words & _NO_AMOUNT or (words & _COUNT and not words & _AMOUNT):
        return Kind.KEPT
    if words & _AMOUNT or "." in value:
        return Kind.AMOUNT
    digits = sum(one.isdigit() for one in value)
    return Kind.ID if digits > _MOST_DIGITS_OF_A_CODE else Kind.KEPT


def is_date_of_now(value: str) -> bool:
    """Whether digits alone may be a date or an instant."""
    return bool(_LONG_MOMENT.fullmatch(value))
