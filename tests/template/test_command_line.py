"""A rendered plugin at the command line: a consent in a browser that comes back to this machine, and a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from .projects import DEMO_URLS, beside, render

# fills in the form as its user would, and follows where that leads
_BROWSER = """
import json, os, sys, urllib.parse, urllib.request
page = urllib.request.urlopen(sys.argv[1]).read().decode()
assert 'name="username"' in page, page
form = urllib.parse.urlencode(json.loads(os.environ["BROWSER_FORM"])).encode()
assert b"brokersync has the answer" in urllib.request.urlopen(sys.argv[1], form).read()
"""
_STATEMENT = """
import sys
from datetime import UTC, datetime
from brokersync.plugin import SandboxSettings
from brokersync_acme.sandbox_history import statement
sys.stdout.buffer.write(statement(SandboxSettings(now=lambda: datetime.now(UTC), days=40)))
"""


@attrs.frozen
class Shell:
    """Runs commands as a user does whose browser is a script."""

    folder: Path
    facts: dict[str, Any]
    environ: dict[str, str]

    def run(self, *words: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, *words]
        return subprocess.run(
            command, cwd=self.folder, env={**self.environ, **environ}, capture_output=True, timeout=120, check=False
        )

    def brokersync(self, *words: str, **answers: str) -> subprocess.CompletedProcess[bytes]:
        form = json.dumps({**self.facts["logins"][0]["page"], **answers})
        return self.run("-m", "brokersync", *words, BROWSER_FORM=form)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, own_settings_of_cookiecutter: None) -> Iterator[Shell]:
    """Over the sandbox of a broker whose users log in at its page and import files."""
    folder = tmp_path_factory.mktemp("shell")
    project = beside(render(folder, auth_kind="oauth2", history_kind="files", demo_url=DEMO_URLS[1]), folder)
    (folder / "browser.py").write_text(_BROWSER)
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("BROKERSYNC_", "PYTEST"))},
        "PYTHONPATH": str(project.path),
        "BROWSER": f"{sys.executable} {folder / 'browser.py'} %s",
        "BROKERSYNC_STORE": str(folder / "store.db"),
        "BROKERSYNC_CONFIG": str(folder / "brokersync.toml"),
    }
    command = [sys.executable, "-m", "brokersync", "sandbox", "acme", "--days", "40", "--json"]
    (folder / "brokersync.toml").write_text("")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as process:
        try:
            facts = _told(process)
            (folder / "brokersync.toml").write_text(_config(facts))
            yield Shell(folder, facts, environ)
        finally:
            process.terminate()
            process.wait(timeout=20)


def _told(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    lines = [""]
    while lines[-1] != "}\n":
        lines.append(process.stdout.readline())
        assert lines[-1], "the sandbox ended before it said where it listens"
    facts: dict[str, Any] = json.loads("".join(lines))
    return facts


def _config(facts: dict[str, Any]) -> str:
    parts = {"hosts": facts["hosts"], "settings": facts["operator_fields"]}
    lines = []
    for part, values in parts.items():
        lines += [f"[brokers.acme.{part}]", *(f"{name} = {json.dumps(value)}" for name, value in values.items())]
    return "\n".join(lines)


def test_who_declines_in_the_browser_is_told_so_and_not_connected(shell: Shell) -> None:
    done = shell.brokersync("connect", "acme", answer="deny")

    assert done.returncode == 4
    assert "Access was declined at the page of Acme" in " ".join(done.stderr.decode().split())


def test_a_user_connects_in_the_browser_and_imports_a_file(shell: Shell) -> None:
    connected = shell.brokersync("connect", "acme", "--json")
    assert connected.returncode == 0, connected
    accounts = {one["account_id"] for one in json.loads(connected.stdout)["accounts"]}
    assert accounts == set(shell.facts["logins"][0]["trades"])

    (shell.folder / "statement.csv").write_bytes(shell.run("-c", _STATEMENT).stdout)
    imported = shell.brokersync("import", "acme", "statement.csv")
    assert imported.returncode == 0, imported

    trades = shell.brokersync("trades", "--format", "jsonl").stdout.splitlines()
    assert {json.loads(line)["account_id"] for line in trades} == accounts
    assert len(trades) > 100


def test_the_sandbox_says_what_to_give_at_its_page(shell: Shell) -> None:
    (first, *_) = logins = shell.facts["logins"]

    assert first["page"] == {"username": "trader-1", "password": "secret-of-trader-1", "answer": "allow"}
    assert {login["environment"] for login in logins} == {"live", "demo"}
