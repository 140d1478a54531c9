"""The tutorial is walked through: in environments of its own, with a wheel of core, command by command."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from .putting import put, put_tables, unmarked

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "tutorial" / "publish-a-plugin.md").read_text(encoding="utf-8")
TESTING = (ROOT / "docs" / "how-to" / "test-a-plugin.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`((?:src|tests)/[^`]+)`")
_ALONE = re.compile(_FILE.pattern + r" the marks that are left go alone")
_PORT = "8765"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@attrs.define
class Walk:
    """A reader at a terminal, whose folder and variables stay from one block to the next."""

    folder: Path
    environment: dict[str, str]
    port: str
    output: str = ""
    second: subprocess.Popen[str] | None = None
    seconds: float = 0

    def run(self, commands: str) -> subprocess.CompletedProcess[str]:
        kept = self.folder / "shell"
        before = f'. {kept}/variables; cd "$(cat {kept}/folder)"' if kept.exists() else f"mkdir {kept}"
        after = f"export -p > {kept}/variables; pwd > {kept}/folder"
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"{before}\n{self._own(commands)}\n{after}"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    def sh(self, commands: str) -> None:
        done = self.run(commands)
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        self.output = _COLOURS.sub("", done.stdout + done.stderr)

    def text(self, answer: str) -> None:
        assert re.search(_pattern(answer), self.output, re.DOTALL), f"{answer}\nis not in\n{self.output}"

    def console(self, block: str) -> None:
        """In a second terminal, in which it goes on."""
        command, _, answer = self._own(block).partition("\n")
        program, *words = shlex.split(command.removeprefix("$ "))
        environment = self.environment | {"PYTHONUNBUFFERED": "1"}
        self.second = subprocess.Popen(
            [self.folder / ".venv" / "bin" / program, *words], env=environment, stdout=subprocess.PIPE, text=True
        )
        assert self.second.stdout is not None
        said = ""
        while not re.match(_pattern(answer), said, re.DOTALL):
            line = self.second.stdout.readline()
            assert line, said
            said += line

    def put(self, name: str, kind: str, piece: str) -> None:
        path = self.folder / "brokersync-harbour" / name
        text = path.read_text(encoding="utf-8")
        path.write_text((put_tables if kind == "toml" else put)(piece, text), encoding="utf-8")

    def unmark(self, name: str) -> None:
        path = self.folder / "brokersync-harbour" / name
        path.write_text(unmarked(path.read_text(encoding="utf-8")), encoding="utf-8")

    def _own(self, commands: str) -> str:
        return commands.replace(_PORT, self.port)


def _pattern(answer: str) -> str:
    return ".*?".join(re.escape(part.strip("\n")) for part in answer.strip().split("..."))


def _steps() -> Iterator[tuple[str, str, str]]:
    """Each block in the order of the page: its kind, the file that is named before it, and what it holds."""
    end = 0
    for block in _BLOCK.finditer(PAGE):
        before = PAGE[end : block.start()]
        yield from (("unmark", "", name) for name in _ALONE.findall(before))
        files = _FILE.findall(before)
        yield block[1], files[-1] if files else "", block[2]
        end = block.end()


def _free_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])


def _repository(folder: Path) -> Path:
    """The template and core as a repository to be cloned, whatever state the one of these tests is in."""
    made = folder / "origin"
    for part in ("cookiecutter-provider", "core"):
        shutil.copytree(ROOT / part, made / part, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    git = ["git", "-c", "user.name=a reader", "-c", "user.email=reader@example.invalid"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "The template"]):
        subprocess.run([*git, *words], cwd=made, check=True)
    return made


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """The whole page, walked through once."""
    folder = tmp_path_factory.mktemp("publishing")
    apart = tmp_path_factory.mktemp("apart")
    (apart / "cookiecutter.yaml").write_text(f"cookiecutters_dir: {apart}\nreplay_dir: {apart}\n")
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST", "PYTHON", "BROKERSYNC", "COVERAGE", "VIRTUAL_ENV"))
    }
    own |= {
        "BROKERSYNC": str(_repository(apart)),
        "BROKERSYNC_STORE": "",
        "XDG_DATA_HOME": str(apart / "data"),
        "COOKIECUTTER_CONFIG": str(apart / "cookiecutter.yaml"),
        "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PATH": f"{Path(sys.base_prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }
    made = Walk(folder, own, _free_port())
    began = time.monotonic()
    try:
        for kind, name, text in _steps():
            if name and kind in ("python", "toml"):
                made.put(name, kind, text)
            else:
                getattr(made, kind)(text)
        made.seconds = time.monotonic() - began
        yield made
    finally:
        if made.second is not None:
            made.second.terminate()
            made.second.communicate()


def test_the_tutorial_ends_with_a_wheel_that_works_for_a_user(walk: Walk, told: Callable[[str], None]) -> None:
    project = walk.folder / "brokersync-harbour"
    assert [path.name for path in sorted((project / "dist").iterdir())] == [
        "brokersync_harbour-0.1.0-py3-none-any.whl",
        "brokersync_harbour-0.1.0.tar.gz",
    ]
    assert len((project / "trades.jsonl").read_text().splitlines()) > 20
    told(f"tutorial: walked through in {walk.seconds:.0f} s, from an empty folder to a wheel")


def test_the_upload_is_shown_and_is_the_last_of_the_commands() -> None:
    assert PAGE.rindex("    twine upload dist/*") > PAGE.rindex("```sh")


def test_the_commands_of_the_page_on_testing_work_in_the_project(walk: Walk) -> None:
    (commands,) = re.findall(r"```sh\n(.*?)```", TESTING, re.DOTALL)
    _, *others = commands.strip().splitlines()  # the tutorial has just run all tests
    (snippet,) = re.findall(r"```python\n(.*?)```", TESTING, re.DOTALL)
    walk.sh("\n".join(["cd brokersync-harbour", *others[:-1], f"{others[-1]} -k 'memory or unique'", "cd .."]))
    (walk.folder / "brokersync-harbour" / "tests" / "test_requests.py").write_text(snippet)
    asked = "cd brokersync-harbour\npytest -q tests/test_requests.py -k requests_are"
    wrote = walk.run(f"{asked} --contract-write")
    assert "requests.jsonl was written; look at it" in wrote.stdout
    walk.sh(f"{asked}\ncd ..")
    (walk.folder / "brokersync-harbour" / "tests" / "test_requests.py").unlink()


def test_a_guess_is_named_as_the_tutorial_says(walk: Walk) -> None:
    (wrong,) = re.findall(r"`(side=_SIDES\.get\([^`]+\))`", PAGE)
    (check,) = re.findall(r"`(test_an_unknown_\w+)`", PAGE)
    path: Any = walk.folder / "brokersync-harbour" / "src" / "brokersync_harbour" / "normalise.py"
    right = path.read_text()
    guess = right.replace("side=_SIDES[execution.side]", wrong).replace("if execution.side not in _SIDES:", "if False:")
    path.write_text(guess)
    try:
        done = walk.run(f"cd brokersync-harbour\npytest -q tests/test_contract.py -k {check}")
    finally:
        path.write_text(right)
    assert done.returncode == 1
    assert check in done.stdout
    assert "became sell: a guess" in done.stdout
