"""Tables and times as a person reads them."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from brokersync.cli.visible import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


_IN_A_PIPE = 10_000
_WIDE = 100


def console(*, stderr: bool = False) -> Console:
    """A console on standard output or standard error; in a pipe its lines are as long as they need to be."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else _IN_A_PIPE, soft_wrap=False)


def plain(text: str, style: str = "") -> Text:
    """What a broker, a plugin or a user wrote, as text that is neither markup nor steers the terminal."""
    from rich.text import Text

    return Text(visible(text), style)


def show_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
    wide: Sequence[str] = (),
    short: Sequence[str] = (),
) -> None:
    """A table on standard output.

    Columns named in `right` are numbers; those and the `whole` ones are never broken; the `wide` ones are left out on a
    terminal of less than 100 columns. Those named in `short` are not broken either, where they take a third of the
    terminal at most.
    """
    from rich import box
    from rich.table import Table

    out = console()
    shown = [number for number, name in enumerate(columns) if name not in wide or out.width >= _WIDE]
    told = [[visible(cell) for cell in row] for row in rows]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for number in shown:
        name = columns[number]
        longest = max((len(row[number]) for row in told), default=0)
        whole_cells = name in right or name in whole or (name in short and longest <= out.width // 3)
        table.add_column(
            name,
            justify="right" if name in right else "left",
            overflow="ellipsis" if whole_cells else "fold",
            no_wrap=whole_cells,
        )
    for row in told:
        table.add_row(*(plain(row[number]) for number in shown))
    out.print(table)
    if left_out := [name for number, name in enumerate(columns) if number not in shown]:
        sys.stdout.write(f"({' and '.join(left_out)}: on a terminal of {_WIDE} columns)\n")


def paragraph(text: str) -> None:
    """A text on standard output, broken between words where a terminal ends."""
    width = console().width
    sys.stdout.write(textwrap.fill(visible(text), width, subsequent_indent="  ", break_on_hyphens=False) + "\n")


def duration_text(value: timedelta) -> str:
    """A duration in words a person reads: `0.8 s`, `12 s`, `3 min 5 s`, `2 h 10 min`."""
    seconds = value.total_seconds()
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def moment_text(value: datetime) -> str:
    """A UTC instant to the second."""
    return value.strftime("%Y-%m-%d %H:%M:%S")
