"""The `brokersync` command where only core is installed."""

from __future__ import annotations

import subprocess
from typing import Any

from brokersync.version import VERSION


def call(core_alone: Any, *words: str) -> subprocess.CompletedProcess[str]:
    script = core_alone.python.with_name("brokersync")
    return subprocess.run(
        [str(script), *words], cwd=core_alone.home, env=core_alone.env(()), capture_output=True, text=True, check=False
    )


def test_the_version_needs_no_command_line_library(core_alone: Any) -> None:
    done = call(core_alone, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"brokersync {VERSION}\n", "")


def test_without_its_extra_the_command_says_how_to_get_it(core_alone: Any) -> None:
    done = call(core_alone, "providers")
    assert done.returncode != 0
    assert "pip install 'brokersync[cli]'" in done.stderr
    assert "Traceback" not in done.stderr
