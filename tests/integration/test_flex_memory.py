"""A large Flex statement is read in little memory, however large it is: by the service's way and as a file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
BYTES_OF_A_ROW = 1_670
MOST_MB = 100


def run(*words: object) -> str:
    command = [sys.executable, "-m", "benchmarks.flex_work", *map(str, words)]
    return subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True).stdout


def test_a_statement_of_any_size_is_read_in_bounded_memory(
    tmp_path: Path, sized: Callable[[str, int, int], int], told: Callable[[str], None]
) -> None:
    size = sized("MB of a Flex statement that is read in bounded memory", 25, 200)
    file, rows = tmp_path / "statement.xml", size * 1_000_000 // BYTES_OF_A_ROW
    run("write", file, rows)
    assert file.stat().st_size > size * 990_000
    for case in ("service", "downloaded"):
        # in a process of its own, whose memory is its own, too
        found = json.loads(run(case, file))
        told(f"{size} MB, {case}: {found['peak_mb']:.0f} MB of memory")
        assert found["rows"] == rows
        assert found["peak_mb"] < MOST_MB
