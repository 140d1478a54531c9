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
        self.twice: list[str] = []
        self.may_be_untold = False

    def hear(self, event: HistoryLost, owner: str) -> None:
        known = self.told[owner, event.environment, event.account_id]
        if any(event.window.overlap(one) for one in known):
            self.twice.append(f"{event.window} of {event.account_id}")
        known.append(event.window)
