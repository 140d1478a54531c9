"""Help texts are made for the terminal they are read in."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from brokersync.cli.app import build

COMMANDS = sorted(name for name in build() if not name.startswith("-"))


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("command", COMMANDS)
def test_paragraphs_fill_the_terminal(
    brokersync: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, command: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    paragraphs = brokersync(command, "--help").out.split("\n\n")
    told = [text.splitlines() for text in paragraphs if not text.lstrip().startswith(("Usage", "╭"))]
    lines = [(line, following) for text in told for line, following in pairwise(text)]
    # the next word would not have fitted
    assert [line for line, following in lines if len(line.rstrip()) + 1 + len(following.split()[0]) < width] == []
    assert max(map(len, "\n".join(paragraphs).splitlines())) <= width


@pytest.mark.parametrize("command", ["limits", "providers"])
def test_what_an_argument_is_stands_with_the_argument_alone(brokersync: Any, command: str) -> None:
    shown = brokersync(command, "--help").out
    assert "----" not in shown
    assert shown.count("The broker to show") == 1
