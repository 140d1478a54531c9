"""What stands in the place of ids and names: the same for the same, of the same shape, and of no use to anybody."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable
from random import Random
from typing import Final, final

_TOKEN: Final = re.compile(r"[^\W_]+")
_PREFIXED: Final = re.compile(r"([A-Z]{1,2})([0-9]{3,})")
_HEX: Final = re.compile(r"(?=.*[0-9])(?=.*[a-fA-F])(?:[0-9a-f]{4,}|[0-9A-F]{4,})")
_FEWEST_DIGITS: Final = 3
_DRAWS: Final = 1000


def tokens_of(text: str) -> list[str]:
    """The runs of letters and digits that are replaced; a letter or two before digits stay, as does a row of zeros."""
    found = []
    for token in _TOKEN.findall(text):
        prefixed = _PREFIXED.fullmatch(token)
        found.append(prefixed[2] if prefixed else token)
    return [token for token in found if not _is_short(token)]


def _is_short(token: str) -> bool:
    return token.isascii() and token.isdigit() and (len(token) < _FEWEST_DIGITS or not token.strip("0"))


@final
class Substitutes:
    """A substitute for each token that is learned; `settle` draws them once all are known.

    Digits stay digits, as many, with as many zeros in front and in the same order; hexadecimal digits, small and
    capital letters stay such. Two tokens never get one substitute, and none gets what is another's, as long as there
    are enough of its shape. One or two digits stand as they are.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._learned: set[str] = set()
        self._map: dict[str, str] = {}
        self._taken: set[str] = set()

    def learn(self, text: str) -> None:
        """This text is to be replaced wherever its tokens stand."""
        self._learned.update(tokens_of(text))

    def knows(self, token: str) -> bool:
        """Whether the token was learned."""
        return token in self._learned

    @property
    def originals(self) -> frozenset[str]:
        """What was learned."""
        return frozenset(self._learned)

    @property
    def made(self) -> frozenset[str]:
        """What stands in its place."""
        return frozenset(self._map.values())

    def settle(self) -> None:
        """Draw a substitute for each; afterwards nothing more is learned."""
        digits: dict[tuple[int, int], list[str]] = {}
        for token in sorted(self._learned):
            if token.isascii() and token.isdigit():
                zeros = len(token) - len(token.lstrip("0"))
                digits.setdefault((len(token), zeros), []).append(token)
            else:
                self._map[token] = self._drawn(token)
                self._taken.add(self._map[token])
        for (length, zeros), group in digits.items():
            self._map.update(zip(group, self._ascending(len(group), length, zeros), strict=True))

    def of(self, text: str) -> str:
        """The text with each token of it replaced."""
        return self.replaced(text, lambda _: True)

    def replaced(self, text: str, wanted: Callable[[str], bool]) -> str:
        """The same for the tokens that are wanted."""

        def one(found: re.Match[str]) -> str:
            token = found[0]
            prefixed = _PREFIXED.fullmatch(token)
            front, token = (prefixed[1], prefixed[2]) if prefixed else ("", token)
            return front + self._map.get(token, token) if wanted(token) else found[0]

        return _TOKEN.sub(one, text)

    def _ascending(self, count: int, length: int, zeros: int) -> list[str]:
        significant = length - zeros
        lowest, end = (10 ** (significant - 1), 10**significant) if significant else (0, 1)
        ours = {int(token) for token in self._learned if len(token) == length and token.isascii() and token.isdigit()}
        free = end - lowest - len(ours)
        avoided = ours if free >= count else set()
        if end - lowest < 4 * (count + len(avoided)):
            drawn: Iterable[int] = self._random.sample([one for one in range(lowest, end) if one not in avoided], count)
        else:
            found: set[int] = set()
            while len(found) < count:
                one = self._random.randrange(lowest, end)
                if one not in avoided:
                    found.add(one)
            drawn = found
        return [str(one).zfill(length) for one in sorted(drawn)]

    def _drawn(self, token: str) -> str:
        letters = "abcdef" if _HEX.fullmatch(token) else string.ascii_lowercase
        made = token
        for _ in range(_DRAWS):
            made = "".join(self._letter(one, letters) for one in token)
            if made not in self._taken and made not in self._learned:
                return made
        while made in self._taken or made in self._learned:
            made += self._random.choice(letters)  # there are more of them than of their shape
        return made

    def _letter(self, one: str, letters: str) -> str:
        if one.isdigit():
            return self._random.choice(string.digits)
        drawn = self._random.choice(letters)
        return drawn.upper() if one.isupper() else drawn
