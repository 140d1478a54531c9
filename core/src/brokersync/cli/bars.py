"""History as a bar of characters, as wide as the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from rich.text import Text

    from brokersync.sync.history import Stretch
    from brokersync.types import TimeWindow

UNREAD: Final = "unread"
_IN_A_PIPE = 80
# a cell of the bar may hold months: what somebody should see wins over what is well
_ORDER = ("lost", UNREAD, "provisional", "final", "unavailable")


@attrs.frozen
class _Look:
    block: str
    plain: str
    style: str
    words: str


_LOOKS: Final = {
    "final": _Look("█", "#", "green", "final"),
    "provisional": _Look("▓", "+", "yellow", "provisional"),
    UNREAD: _Look("░", "?", "cyan", "not read yet"),
    "lost": _Look("x", "x", "bold red", "lost"),
    "unavailable": _Look("·", ".", "dim", "never available"),
}


def bar_width() -> int:
    """How many characters a bar may take."""
    from brokersync.cli.tables import console

    return console().width if sys.stdout.isatty() else _IN_A_PIPE


def state_name(stretch: Stretch) -> str:
    """The stretch's state as one word."""
    return UNREAD if stretch.state is None else stretch.state.value


def cells(stretches: Sequence[Stretch], whole: TimeWindow, width: int) -> list[str]:
    """What each of `width` equal parts of the whole shows: the state to look at first, or nothing."""
    step = whole.length / width
    return [
        _foremost(stretches, whole.start + number * step, whole.start + (number + 1) * step) for number in range(width)
    ]


def _foremost(stretches: Iterable[Stretch], start: datetime, end: datetime) -> str:
    here = {state_name(one) for one in stretches if one.window.start < end and start < one.window.end}
    return next((name for name in _ORDER if name in here), "")


def bar(names: Iterable[str]) -> Text:
    """The cells as characters: blocks and colours on a terminal, plain ones elsewhere."""
    from rich.text import Text

    text = Text()
    for name in names:
        text.append(_character(name), _LOOKS[name].style if name else "")
    return text


def legend(shown: Iterable[str]) -> Text:
    """What the characters of these states mean."""
    from rich.text import Text

    text = Text()
    for name in (name for name in _LOOKS if name in set(shown)):
        text.append("   " if text else "").append(_character(name), _LOOKS[name].style)
        text.append(f" {_LOOKS[name].words}")
    return text


def _character(name: str) -> str:
    if not name:
        return " "
    return _LOOKS[name].block if _draws_blocks() else _LOOKS[name].plain


def _draws_blocks() -> bool:
    """Whether standard output is a terminal whose encoding has the characters."""
    if not sys.stdout.isatty():
        return False
    try:
        "█▓░·".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
