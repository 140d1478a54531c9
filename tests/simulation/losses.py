"""What owners were told that they have lost for good."""

from __future__ import annotations

from collections import defaultdict
from typing import TypeAlias

from brokersync.events import HistoryLost
from brokersync.types import TimeWindow

Account: TypeAlias = tuple[str, str, str]


class Losses:
    """What every process has told, by owner, environment and account; a crash may come before the telling."""

    def __init__(self) -> None:
        self.told: defaultdict[Account, list[TimeWindow]] = defaultdict(list)
        self._events: defaultdict[Account, list[HistoryLost]] = defaultdict(list)
        self.twice: list[str] = []
        self.may_be_untold = False

    def hear(self, event: HistoryLost, owner: str) -> None:
        account = owner, event.environment, event.account_id
        if any(_is_the_same(event, one) for one in self._events[account]):
            self.twice.append(f"{event.window} of {event.account_id}")
        self._events[account].append(event)
        self.told[account].append(event.window)


def _is_the_same(one: HistoryLost, other: HistoryLost) -> bool:
    """Two connections that see an account may lose it by different sources, one later than the other."""
    alike = one.connection_id == other.connection_id or one.source == other.source
    return alike and one.window.overlap(other.window) is not None
