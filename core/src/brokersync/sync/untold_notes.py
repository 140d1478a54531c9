"""What is noted of an account that the answers for its login do not tell of. Pure.

The notes stand among the login's failing windows, per account. Their `failures` count how often a window was asked for
because the account was told of again, and `not_before` is when a telling counts as news once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

import attrs

from brokersync.records import FailedWindow
from brokersync.sync.ledger import subtract, union
from brokersync.types import TimeWindow

NOT_TOLD: Final = "NotTold"
TOLD_SINCE: Final = "ToldSince"
NOTHING_THERE: Final = "NothingThere"
_FIRST_PAUSE = timedelta(days=1)
_LONGEST_PAUSE = timedelta(days=90)
_MOST_DOUBLINGS = 10


def is_note(one: FailedWindow) -> bool:
    """Whether this is about what was told of an account, and no failure."""
    return one.reason in (NOT_TOLD, TOLD_SINCE, NOTHING_THERE)


def is_not_told(one: FailedWindow) -> bool:
    """Whether the window was read for the login, and its account was not in the answer."""
    return one.reason == NOT_TOLD


def closes(one: FailedWindow) -> bool:
    """Whether the planner leaves the window alone for the account, as if it had been read."""
    return is_not_told(one) or is_nothing_there(one)


def is_told_since(one: FailedWindow) -> bool:
    """Whether the account was told of again since, so that the window is to be asked for."""
    return one.reason == TOLD_SINCE


def is_nothing_there(one: FailedWindow) -> bool:
    """Whether the broker had nothing for the login, and was not asked for it once more yet."""
    return one.reason == NOTHING_THERE


def not_told(
    known: Iterable[FailedWindow], windows: Sequence[TimeWindow], still_open: Sequence[TimeWindow], now: datetime
) -> tuple[FailedWindow, ...]:
    """The notes after an answer that left these windows out; of what is not `still_open` there are none.

    A window that was asked for because the account was told of again is left out for another reason, say that it was
    opened later: so it waits, twice as long each time, before that is taken for news once more.
    """
    left = [part for each in windows for part in _shared(each, still_open)]
    before = [part for one in known for part in _open_parts(one, still_open)]
    found = [_again(one, part, now) for one in before for part in _shared(one.window, left)]
    new = subtract(left, [one.window for one in found])
    kept = [part for one in before for part in _parts(one, left)]
    return _joined([*kept, *found, *(FailedWindow(window=each, failures=0, reason=NOT_TOLD, at=now) for each in new)])


def nothing_there(known: Iterable[FailedWindow], window: TimeWindow, now: datetime) -> tuple[FailedWindow, ...]:
    """The notes after the broker said of the whole login, for the first time, that it has nothing there."""
    kept = [part for one in known for part in _parts(one, [window])]
    new = FailedWindow(window=window, failures=0, reason=NOTHING_THERE, at=now, not_before=now + _FIRST_PAUSE)
    return _joined([*kept, new])


def was_nothing_there(known: Iterable[FailedWindow], window: TimeWindow) -> bool:
    """Whether the account was told of since the broker had nothing there, or was left out there by earlier answers."""
    asked_again = [one.window for one in known if is_told_since(one) and one.failures]
    return not subtract([window], asked_again)


def told(
    known: Sequence[FailedWindow], windows: Sequence[TimeWindow], still_open: Sequence[TimeWindow], now: datetime
) -> tuple[FailedWindow, ...]:
    """The notes after an answer that told of the account: of these windows, or rows of nobody knows when.

    One that is told of earlier days alone was told of them before it left.
    """
    noted = [one.window.start for one in known if is_not_told(one)]
    is_back = bool(noted) and not (windows and max(one.end for one in windows) <= min(noted))
    parts = [part for one in known for part in _open_parts(one, still_open)]
    return _joined(
        [_told_since(one) if _is_due(one, now) and (is_back or is_nothing_there(one)) else one for one in parts]
    )


def _again(one: FailedWindow, part: TimeWindow, now: datetime) -> FailedWindow:
    if not is_told_since(one):
        return attrs.evolve(one, window=part, reason=NOT_TOLD, at=now)
    pause = min(_FIRST_PAUSE * (1 << min(one.failures, _MOST_DOUBLINGS)), _LONGEST_PAUSE)
    return FailedWindow(window=part, failures=one.failures + 1, reason=NOT_TOLD, at=now, not_before=now + pause)


def _is_due(one: FailedWindow, now: datetime) -> bool:
    """What was written by a clock that was ahead does not keep anybody waiting."""
    waits = one.not_before is not None and one.at <= now < one.not_before
    return not waits and not is_told_since(one)


def _told_since(one: FailedWindow) -> FailedWindow:
    failures = one.failures + is_nothing_there(one)
    return attrs.evolve(one, reason=TOLD_SINCE, failures=failures, not_before=None)


def _parts(one: FailedWindow, holes: Sequence[TimeWindow]) -> list[FailedWindow]:
    return [attrs.evolve(one, window=part) for part in subtract([one.window], holes)]


def _open_parts(one: FailedWindow, still_open: Iterable[TimeWindow]) -> list[FailedWindow]:
    return [attrs.evolve(one, window=part) for part in _shared(one.window, still_open)]


def _shared(window: TimeWindow, others: Iterable[TimeWindow]) -> list[TimeWindow]:
    return [shared for other in others if (shared := window.overlap(other))]


def _joined(notes: Sequence[FailedWindow]) -> tuple[FailedWindow, ...]:
    """In order, with those that touch and wait alike made one, so that there are not more of them with each sync."""
    kinds = dict.fromkeys((one.reason, one.failures, one.not_before) for one in notes)
    joined = []
    for reason, failures, not_before in kinds:
        alike = [one for one in notes if (one.reason, one.failures, one.not_before) == (reason, failures, not_before)]
        for window in union(one.window for one in alike):
            at = max(one.at for one in alike if one.window.overlap(window))
            joined.append(FailedWindow(window=window, failures=failures, reason=reason, at=at, not_before=not_before))
    return tuple(sorted(joined, key=lambda one: one.window.start))
