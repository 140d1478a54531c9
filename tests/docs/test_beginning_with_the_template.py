"""The guide's first commands work as they are written, in an environment of an author's own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "adding-a-broker.md").read_text(encoding="utf-8")
(COMMANDS,) = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
((ASKED, ANSWER),) = re.findall(r"```console\n\$ ([^\n]*)\n(.*?)```", GUIDE, re.DOTALL)


class Desk:
    """A folder beside the repository, and an environment that has brokersync and the tools from the one of the tests.

    What is installed in it stays in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "brokersync").symlink_to(ROOT)
        # what this machine's user has answered before plays no part
        self._config = folder / "cookiecutter.yaml"
        self._config.write_text(f"cookiecutters_dir: {folder}\nreplay_dir: {folder}\n")
        self._bin = folder / ".venv" / "bin"
        subprocess.run([sys.executable, "-m", "venv", folder / ".venv"], check=True)
        (site,) = (folder / ".venv").glob("lib/python*/site-packages")
        (site / "around.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
        (self._bin / "ruff").symlink_to(Path(sys.executable).with_name("ruff"))
        for tool in ("cookiecutter", "mypy", "pytest"):
            script = self._bin / tool
            script.write_text(f'#!/bin/sh\nexec "{self._bin}/python" -m {tool} "$@"\n')
            script.chmod(0o755)

    def run(self, commands: str, folder: Path) -> subprocess.CompletedProcess[str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
        own |= {"PATH": f"{self._bin}{os.pathsep}{os.environ['PATH']}", "COOKIECUTTER_CONFIG": str(self._config)}
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            env=own,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("desk"))


@pytest.fixture(scope="module")
def made(desk: Desk) -> subprocess.CompletedProcess[str]:
    return desk.run(COMMANDS, desk.folder)


def test_the_commands_make_a_plugin_that_is_green(made: subprocess.CompletedProcess[str]) -> None:
    assert made.returncode == 0, made.stdout + made.stderr
    assert "passed" in made.stdout


def test_the_list_of_what_is_invented_is_as_it_is_written(desk: Desk, made: subprocess.CompletedProcess[str]) -> None:
    done = desk.run(ASKED, desk.folder / "brokersync-acme")
    pattern = ".*?".join(re.escape(part.strip("\n")) for part in ANSWER.strip().split("..."))

    assert done.returncode == 1
    assert re.match(pattern, done.stdout, re.DOTALL), done.stdout
