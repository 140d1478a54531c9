"""The README's commands and code work as they are written."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)


def _run(*words: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    home = {name: str(folder) for name in ("HOME", "TMPDIR", "XDG_DATA_HOME")}
    environment = {**os.environ, **home, "BROKERSYNC_STORE": "", "BROKERSYNC_CONFIG": "", **more}
    return subprocess.run(
        (sys.executable, *words), cwd=folder, env=environment, capture_output=True, text=True, timeout=170, check=False
    )


def test_the_first_two_blocks_are_the_main_job_and_the_tests() -> None:
    kinds, texts = zip(*BLOCKS[:2], strict=True)
    assert kinds == ("sh", "sh")
    assert "brokersync demo" in texts[0]
    assert "pytest" in texts[1]
    assert [kind for kind, _ in BLOCKS].count("sh") == 2


def test_the_embedding_code_works_as_written(tmp_path: Path) -> None:
    (code,) = [text for kind, text in BLOCKS if kind == "python"]
    (tmp_path / "embed.py").write_text(code)
    done = _run("embed.py", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    first, *trades = done.stdout.splitlines()
    assert first == f"{len(trades)} trades are new"
    assert len(trades) > 100
    assert {path.name for path in tmp_path.iterdir()} == {
        "embed.py",
        "journal.db",
        "journal.db.key",
        "journal.db.plugins.json",
    }


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)\)", README))
def test_every_link_leads_somewhere(link: str) -> None:
    assert (ROOT / link).is_file()


def test_the_demo_proves_the_main_job_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = _run("-m", "brokersync", "demo", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["proved"] is True
    assert {row["account"].split()[0] for row in facts["books"]} == {"ibkr", "tradovate"}
    assert sum(row["store"] for row in facts["books"]) > 1000
    assert sum(one["report"]["retries"] for one in facts["first"]) > 0
    assert sum(one["report"]["unchanged"] for one in facts["second"]) > 100
    assert facts["added_again"] == 0
    assert list(tmp_path.iterdir()) == []
