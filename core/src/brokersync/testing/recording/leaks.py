"""The last look: nothing of a session may stand in what is written, nor anything that looks like a secret."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import attrs

from brokersync.redaction import shows
from brokersync.testing.recording.substitutes import tokens_of

_RUN: Final = re.compile(r"[A-Za-z0-9+/_=.~-]{16,}")
_KNOWN_FORM: Final = re.compile(
    r"eyJ[A-Za-z0-9_-]{8,}\.|-----BEGIN |\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\bgh[pousr]_[A-Za-z0-9]{16,}"
    r"|\bsk[-_][A-Za-z0-9_-]{16,}"
)
_DAY: Final = re.compile(r"(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:[0-2][0-9]|3[01])?")
_BITS_OF_CHANCE: Final = 3.6
_SHORTEST_ID: Final = 6
_SHORTEST_TEXT: Final = 6


@attrs.frozen
class Leak:
    """Something that must not be written: `where` it stands, and `what` it is; never the thing itself."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def looks_secret(text: str) -> bool:
    """Whether a text has the form of a key or token: known ones, and long runs that look drawn by chance."""
    return bool(_KNOWN_FORM.search(text)) or any(_is_by_chance(run) for run in _RUN.findall(text))


def leaks_in(
    files: Mapping[str, str],
    secrets: Iterable[str],
    originals: Collection[str],
    private: Iterable[str],
    made: Collection[str],
) -> list[Leak]:
    """What must not be there, by file and line. `made` are our own substitutes, which may look like anything."""
    found: list[Leak] = []
    # a private text of one plain word may be a word of the broker's as well
    told = [text for text in private if len(text) >= _SHORTEST_TEXT and len(tokens_of(text)) > 1]
    # a private text may hold a day, which stands in other fields as what it is
    ids = frozenset(one for one in originals if len(one) >= _SHORTEST_ID and _may_name_somebody(one))
    secrets = list(secrets)
    for name, text in files.items():
        found += [Leak(name, "a secret that was given stands there") for secret in secrets if shows(text, secret)]
        found += [Leak(name, "a private text stands there") for one in told if _stands(text, one)]
        for number, line in enumerate(text.splitlines(), 1):
            where = f"{name} line {number}"
            if ids.intersection(tokens_of(line)):
                found.append(Leak(where, "an id of the session stands there"))
            if _KNOWN_FORM.search(line) or any(_is_by_chance(run, made) for run in _RUN.findall(line)):
                found.append(Leak(where, "it looks like a secret"))
    return found


def _may_name_somebody(token: str) -> bool:
    return any(map(str.isdigit, token)) and not _DAY.fullmatch(token)


def _stands(text: str, private: str) -> bool:
    at = text.find(private)
    while at != -1:
        before, after = text[at - 1 : at], text[at + len(private) : at + len(private) + 1]
        if not before.isalnum() and not after.isalnum():
            return True
        at = text.find(private, at + 1)
    return False


def _is_by_chance(run: str, made: Collection[str] = ()) -> bool:
    """Letters and digits in a mixture that no word and no number has."""
    rest = "".join(token for token in re.findall(r"[A-Za-z0-9]+", run) if token not in made)
    if len(rest) < 16 or rest.isdigit() or not any(map(str.isdigit, rest)) or not re.search(r"[A-Za-z]", rest):
        return False
    turns = len(re.findall(r"[0-9]+|[A-Z]+|[a-z]+", rest))
    return turns >= 6 and _bits(rest) >= _BITS_OF_CHANCE


def _bits(text: str) -> float:
    counts = Counter(text)
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts.values())
