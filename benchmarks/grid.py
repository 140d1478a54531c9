"""A table of several figures for each case, and the goals that they are held to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from benchmarks.measuring import Goal, goals_as_lines, machine, markdown_lines


@attrs.frozen(kw_only=True)
class Grid:
    """One line for each case, with the columns of `head`; cells are shown as they are."""

    name: str
    about: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    goals: Sequence[Goal] = ()

    def markdown(self) -> str:
        lines = [f"## {self.name}", "", f"{self.about} {machine()}.", "", *markdown_lines(self.head, self.rows)]
        return "\n".join([*lines, *goals_as_lines(self.goals)]) + "\n"

    def as_json(self) -> dict[str, Any]:
        return {
            "table": self.name,
            "about": self.about,
            "machine": machine(),
            "rows": [dict(zip(self.head, row, strict=True)) for row in self.rows],
            "goals": [attrs.asdict(goal) | {"met": goal.met} for goal in self.goals],
        }
