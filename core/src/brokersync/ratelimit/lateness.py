"""How late this process goes after the place that it was given."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, final

# what was met once is believed for some hundred calls
_FADES: Final = 0.998
# what comes may be a little worse than what came
_MARGIN: Final = 1.25


@final
class Lateness:
    """The worst that was met lately: of an answer on its way, and of a sleeper that wakes."""

    def __init__(self, least: timedelta = timedelta(0)) -> None:
        self._least = least
        self._on_its_way = self._waking = 0.0

    def answered_after(self, seconds: float) -> None:
        """An answer was under way for so long."""
        self._on_its_way = max(seconds, self._on_its_way * _FADES)

    def woke_after(self, seconds: float) -> None:
        """Whoever slept woke so long after its time."""
        self._waking = max(seconds, self._waking * _FADES)

    @property
    def now(self) -> timedelta:
        """By how much a call may go later than its place."""
        return max(timedelta(seconds=(self._on_its_way + self._waking) * _MARGIN), self._least)
