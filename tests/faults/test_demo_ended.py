"""A demo that is ended from outside takes its child and its folder with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGINT])
def test_an_ended_demo_leaves_nothing_behind(tmp_path: Path, ended_by: signal.Signals) -> None:
    command = (sys.executable, "-m", "brokersync", "demo")
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stderr is not None
        while not (line := demo.stderr.readline()).startswith("4."):
            assert line, "the demo ended by itself"
        demo.send_signal(ended_by)
        assert demo.wait(timeout=60) == 130
    assert list(tmp_path.iterdir()) == []
