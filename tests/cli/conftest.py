"""Sandboxes as their own processes, and the command line as a function."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from brokersync.__main__ import main


@attrs.frozen
class Answer:
    """What a command left on a terminal."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as one JSON document and nothing else."""
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def _no_pause_before_a_statement_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox has it at once; the plugin would give the service its five seconds."""
    monkeypatch.setattr("brokersync_ibkr.orders._WAITS", (0,))


@pytest.fixture
def brokersync(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Answer]:
    """Runs a command against a store of the test's own."""
    monkeypatch.setenv("BROKERSYNC_STORE", str(tmp_path / "store.db"))
    monkeypatch.delenv("BROKERSYNC_CONFIG", raising=False)

    def run(*words: object) -> Answer:
        capfd.readouterr()
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        return Answer(int(code), out, err)

    return run


@pytest.fixture
def empty_store(brokersync: Callable[..., Answer], tmp_path: Path) -> Path:
    """The store of the test's own, made and with nothing in it."""
    assert brokersync("migrate").code == 0
    return tmp_path / "store.db"


@attrs.frozen
class Sandbox:
    """A simulated broker that runs in a process of its own."""

    key: str
    facts: dict[str, Any]
    config: Path

    @property
    def login(self) -> dict[str, str]:
        fields: dict[str, str] = self.facts["logins"][0]["fields"]
        return fields

    @property
    def environment(self) -> str:
        environment: str = self.facts["logins"][0]["environment"]
        return environment


def _config(facts: dict[str, Any]) -> str:
    key = facts["broker"]
    lines = [f"[brokers.{key}.hosts]"]
    lines += [f"{json.dumps(role)} = {json.dumps(url)}" for role, url in facts["hosts"].items()]
    lines += [f"[brokers.{key}.settings]"]
    lines += [f"{name} = {json.dumps(value)}" for name, value in facts["operator_fields"].items()]
    lines += [
        f"[[brokers.{key}.limits]]",
        'scope = "app"',
        "amount = 100000",
        'period = "1s"',
        'source = "these tests"',
    ]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session", params=["ibkr", "tradovate"])
def sandbox(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Each broker's sandbox with a few weeks of history."""
    command = (
        sys.executable,
        "-m",
        "brokersync",
        "sandbox",
        request.param,
        "--days",
        "40",
        "--think-ms",
        "0",
        "--no-limits",
        "--json",
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = []
            while not lines or lines[-1] != "}\n":
                lines.append(process.stdout.readline())
                assert lines[-1], "the sandbox ended before it said where it listens"
            facts = json.loads("".join(lines))
            config = tmp_path_factory.mktemp("sandbox") / "brokersync.toml"
            config.write_text(_config(facts))
            yield Sandbox(request.param, facts, config)
        finally:
            process.terminate()
            process.wait(timeout=20)
