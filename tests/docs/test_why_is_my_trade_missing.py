"""The how-to's commands answer as it is written, where `...` stands for anything."""

from __future__ import annotations

import io
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from brokersync import BrokerSync
from brokersync.__main__ import main
from brokersync.dispositions import Disposition
from brokersync.plugin import StatementHints

from .flex_file import statement

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "why-is-my-trade-missing.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"```console\n\$ brokersync ([^\n]*)\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture
async def store(tmp_path: Path) -> Path:
    async with BrokerSync.open(tmp_path / "store.db") as bs:
        hints = StatementHints(name="march.xml")
        await bs.import_statement("ibkr", io.BytesIO(statement()), owner="me", hints=hints)
    return tmp_path / "store.db"


def test_the_guide_has_commands() -> None:
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize(("words", "answer"), COMMANDS, ids=[words for words, _ in COMMANDS])
def test_each_command_of_the_guide_answers_as_it_is_written(
    store: Path, words: str, answer: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*shlex.split(words), "--store", str(store)]) == 0
    pattern = ".*?".join(re.escape(part.strip("\n")) for part in answer.strip().split("..."))
    assert re.match(pattern, capfd.readouterr().out, re.DOTALL)


def test_the_guide_names_every_disposition() -> None:
    table: Any = re.findall(r"^\| `(\w+)` \|", GUIDE, re.MULTILINE)
    assert table == [one.value for one in Disposition]
