"""The page of a fleet: its configuration runs a worker over a Postgres and a Redis, as its examples start one."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from brokersync.cli.app import build
from brokersync.telemetry.metrics import INSTRUMENTS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "run-a-fleet.md").read_text(encoding="utf-8")
_INSTRUCTIONS = {"FROM", "RUN", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}


def _block(kind: str) -> str:
    (found,) = re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
    assert isinstance(found, str)
    return found


def _words_of_a_worker(words: list[str]) -> None:
    """The command line understands them, and they stop within what is waited for."""
    command, bound, _ = build().parse_args(words, exit_on_error=False)
    assert command.__name__ == "worker"
    assert 0 < bound.arguments["stop_within"] < 60


def test_the_unit_starts_a_worker_and_waits_for_its_end() -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # as configparser documents it
    unit.read_string(_block("ini"))
    assert unit.sections() == ["Unit", "Service", "Install"]
    program, *words = shlex.split(unit["Service"]["ExecStart"].replace("%i", "1"))
    assert Path(program).name == "brokersync"
    _words_of_a_worker(words)
    assert int(unit["Service"]["TimeoutStopSec"]) > int(words[words.index("--stop-within") + 1])


def test_the_container_starts_a_worker() -> None:
    lines = _block("dockerfile").replace("\\\n", " ").splitlines()
    told = [line.partition(" ")[::2] for line in lines]
    assert {instruction for instruction, _ in told} == _INSTRUCTIONS
    facts = dict(told)
    assert facts["STOPSIGNAL"] == "SIGTERM"
    (program,) = json.loads(facts["ENTRYPOINT"])
    assert Path(program).name == "brokersync"
    _words_of_a_worker(json.loads(facts["CMD"]))
    *_, code = json.loads(facts["HEALTHCHECK"].removeprefix("CMD "))
    compile(code, "the health check", "exec")


def test_each_metric_that_deserves_an_alarm_is_measured() -> None:
    named = {*re.findall(r"^\| `(brokersync\.[\w.]+)` \|", PAGE, re.MULTILINE)}
    assert len(named) > 5
    assert named <= {one.name for one in INSTRUMENTS}


@pytest.fixture
def environment(
    tmp_path: Path,
    own_postgres: Callable[..., AbstractContextManager[Any]],
    own_redis: Callable[..., AbstractContextManager[Any]],
) -> Iterator[dict[str, str]]:
    """What a machine of the fleet has: the page's configuration, with the places of these servers in it."""
    with own_postgres() as postgres, own_redis() as redis:
        text = re.sub(r'"postgresql://[^"]*"', json.dumps(f"{postgres.url}&schema=brokersync"), _block("toml"))
        text = re.sub(r'"redis://[^"]*"', json.dumps(redis.url), text)
        path = tmp_path / "brokersync.toml"
        path.write_text(text)
        key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
        own = {name: value for name, value in os.environ.items() if not name.startswith("BROKERSYNC")}
        yield own | {"BROKERSYNC_CONFIG": str(path), "BROKERSYNC_KEY": key, "HOME": str(tmp_path)}


def test_the_commands_run_a_worker_that_tells_of_its_health_and_stops(environment: dict[str, str]) -> None:
    def brokersync(*words: str) -> list[str]:
        return [sys.executable, "-m", "brokersync", *words]

    asked = [shlex.split(words) for words in re.findall(r"^\$ brokersync (.*)$", PAGE, re.MULTILINE)]
    (worker,) = [words for words in asked if words[0] == "worker"]
    assert ["migrate"] in asked
    for words in asked:
        if words != worker:
            done = subprocess.run(brokersync(*words), env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"

    worker[worker.index("--health") + 1] = "127.0.0.1:0"  # the page's port may be somebody's
    running = subprocess.Popen(brokersync(*worker), env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert running.stderr is not None
        said = running.stderr.readline()
        assert said.startswith("The worker has started: 32 syncs at a time, health at http://127.0.0.1:")
        url = said.split()[-1].rstrip(".")
        assert _answers(f"{url}/healthz")
        assert _answers(f"{url}/readyz")
        running.send_signal(signal.SIGTERM)
        _, said = running.communicate(timeout=60)
        assert running.returncode == 0, said
        assert "The worker has stopped." in said
    finally:
        running.kill()
        running.wait()


def _answers(url: str) -> bool:
    ends = time.monotonic() + 30
    while time.monotonic() < ends:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            time.sleep(0.1)  # a worker that has just started is not ready yet
    return False
