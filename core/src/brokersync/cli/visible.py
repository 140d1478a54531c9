"""Texts of brokers, plugins and users on a terminal."""

from __future__ import annotations

from typing import Final

_STEERS: Final = {*range(32), *range(127, 160)} - {ord("\t"), ord("\n"), ord("\r")}
_INSTEAD: Final = dict.fromkeys(_STEERS, "\N{REPLACEMENT CHARACTER}") | {ord("\r"): ""}


def visible(text: str) -> str:
    """The text, with a mark for each sign that would steer a terminal in place of being shown."""
    return text.translate(_INSTEAD)
