"""Medians of fresh processes, taken in turns so that a noisy moment hits everybody."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs


@attrs.frozen(kw_only=True)
class Case:
    """Something to measure: a python process with these arguments; `kind` is peer, floor or ours.

    With `prints` the process measures a part of itself and prints the milliseconds. `skip` says why a case is not
    measured.
    """

    name: str
    kind: str
    arguments: Sequence[str]
    path: Sequence[Path] = ()
    prints: bool = False
    skip: str = ""


@attrs.frozen(kw_only=True)
class Goal:
    """What ours is held to: a number made of the medians, and the bound it must keep."""

    name: str
    value: float
    at_most: float | None = None
    at_least: float | None = None
    unit: str = "x"

    @property
    def met(self) -> bool:
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )


@attrs.frozen(kw_only=True)
class Table:
    """The medians in milliseconds above the first case, and the goals they are held to."""

    name: str
    rounds: int
    cases: Sequence[Case]
    medians: dict[str, float]
    errors: dict[str, str]
    goals: Sequence[Goal]
    reference: str

    def rows(self) -> list[list[str]]:
        bare = self.medians[self.cases[0].name]
        reference = self.medians.get(self.reference, bare) - bare
        rows = []
        for case in self.cases:
            trouble = case.skip or self.errors.get(case.name)
            if trouble:
                rows.append([case.name, case.kind, trouble, "", ""])
                continue
            total = self.medians[case.name]
            if case.prints:
                rows.append([case.name, case.kind, f"{total:.1f}", "", ""])
                continue
            ratio = f"{(total - bare) / reference:.2f}" if reference > 0 else ""
            rows.append([case.name, case.kind, f"{total:.1f}", f"{total - bare:.1f}", ratio])
        return rows

    def markdown(self) -> str:
        head = ["what", "kind", "ms", f"above {self.cases[0].name}", f"x {self.reference}"]
        lines = [f"## {self.name}", "", f"Medians of {self.rounds} rounds; {machine()}.", ""]
        return "\n".join([*lines, *markdown_lines(head, self.rows()), *goals_as_lines(self.goals)]) + "\n"

    def as_json(self) -> dict[str, Any]:
        return {
            "table": self.name,
            "machine": machine(),
            "rounds": self.rounds,
            "milliseconds": self.medians,
            "errors": self.errors | {case.name: case.skip for case in self.cases if case.skip},
            "goals": [attrs.asdict(goal) | {"met": goal.met} for goal in self.goals],
        }


def measure(cases: Sequence[Case], rounds: int) -> tuple[dict[str, float], dict[str, str]]:
    """Median milliseconds per case, and what went wrong with those that failed. One round before warms the disk."""
    times: dict[str, list[float]] = {case.name: [] for case in cases if not case.skip}
    errors: dict[str, str] = {}
    for number in range(rounds + 1):
        for case in cases:
            if case.skip or case.name in errors:
                continue
            spent, trouble = _spent(case)
            if trouble:
                errors[case.name] = trouble
            elif number:
                times[case.name].append(spent)
    return {name: statistics.median(taken) for name, taken in times.items() if name not in errors and taken}, errors


class Written(Protocol):
    """A table that can be written down."""

    @property
    def name(self) -> str: ...

    def markdown(self) -> str: ...

    def as_json(self) -> dict[str, Any]: ...


def markdown_lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of Markdown."""
    return [_line(head), _rule(head), *(_line(row) for row in rows)]


def goals_as_lines(goals: Sequence[Goal]) -> list[str]:
    """The goals as a table of Markdown, with an empty line before it; nothing where there are none."""
    rows = [[goal.name, f"{goal.value:.2f} {goal.unit}", _bound(goal), _yes(goal.met)] for goal in goals]
    return ["", *markdown_lines(["goal", "measured", "bound", "met"], rows)] if rows else []


def write(table: Written, into: Path) -> None:
    """The table as JSON and as Markdown."""
    into.mkdir(parents=True, exist_ok=True)
    (into / f"{table.name}.json").write_text(json.dumps(table.as_json(), indent=2) + "\n", encoding="utf-8")
    (into / f"{table.name}.md").write_text(table.markdown(), encoding="utf-8")


def _spent(case: Case) -> tuple[float, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("BROKERSYNC_")}
    env["PYTHONPATH"] = os.pathsep.join(map(str, case.path))
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *case.arguments],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    spent = (time.perf_counter() - started) * 1000
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        return 0, f"failed: {lines[-1] if lines else done.returncode}"
    return (float(done.stdout) if case.prints else spent), ""


def machine() -> str:
    """What it was measured on."""
    return f"Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} CPUs"


def _bound(goal: Goal) -> str:
    return f"<= {goal.at_most} {goal.unit}" if goal.at_most is not None else f">= {goal.at_least} {goal.unit}"


def _yes(met: bool) -> str:
    return "yes" if met else "NO"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _rule(cells: Sequence[str]) -> str:
    return "|" + "---|" * len(cells)
