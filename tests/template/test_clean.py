"""Each combination as an author has it: rendered, built, installed in a clean environment, and green there at once.

The environments share what all projects ask for, core's wheel among it, and nothing else.
"""

from __future__ import annotations

import re
import threading
import tomllib
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import pytest

from .conftest import chosen
from .projects import Combination, Project, common_ground, installed, render, run

NO_CACHE = ("-p", "no:cacheprovider")
_AT_ONCE = 2
_WHERE = "import brokersync, brokersync_acme; print(brokersync.__file__, brokersync_acme.__file__)"


@attrs.frozen
class Tried:
    """A project in an environment of its own, and what its own tools said there."""

    project: Project
    ground: Path
    said: Mapping[str, Any]


@pytest.fixture(scope="module")
def all_tried(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, own_settings_of_cookiecutter: None
) -> Any:
    """Two are tried at a time; whoever asks for one waits until it is there."""
    ground = common_ground(tmp_path_factory.mktemp("ground"))
    folders = {one: tmp_path_factory.mktemp(str(one).replace(".", "-")) for one in chosen(request.config)}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield {
            one: pool.submit(_tried, render(folder, **attrs.asdict(one)), folder, ground)
            for one, folder in folders.items()
        }
        pool.shutdown(cancel_futures=True)


def _tried(folder: Path, into: Path, ground: Path) -> Tried:
    project = installed(folder, into, ground)
    # what mypy has learned of core and the libraries is the same for all, and two at once would write over each other
    learned = ground.parent / threading.current_thread().name
    commands = {
        "ruff check": ("ruff", "check", "--no-cache"),
        "ruff format": ("ruff", "format", "--check", "--no-cache"),
        "mypy": ("mypy", "--cache-dir", str(learned)),
        "tests": ("pytest", "-q", "--contract-rows=5000", *NO_CACHE),
        # CI lengthens pytest's summary, which would tell each place once more
        "release": ("pytest", "-q", "-m", "release", "-rN", *NO_CACHE),
        "providers": ("brokersync", "providers", "acme"),
        "demo": ("brokersync", "demo"),
    }
    said = {name: project.run(*words) for name, words in commands.items()}
    return Tried(project, ground, said | {"where": run(project.python, "-c", _WHERE, folder=into)})


@pytest.fixture
def tried(all_tried: Mapping[Combination, Future[Tried]], combination: Combination) -> Tried:
    return all_tried[combination].result()


@pytest.fixture
def said(tried: Tried) -> Callable[[str], str]:
    """What one of the tools printed; a failure shows all of it."""

    def printed(name: str) -> str:
        done = tried.said[name]
        assert done.returncode == 0, f"{name}\n{done.stdout}\n{done.stderr}"
        text: str = done.stdout
        return text

    return printed


def test_it_and_core_are_those_of_the_wheels(said: Callable[[str], str], tried: Tried) -> None:
    core, plugin = map(Path, said("where").split())

    assert core.is_relative_to(tried.ground.parents[1])
    assert plugin.is_relative_to(tried.project.python.parents[1])


def test_its_own_tests_pass_and_tell_how_much_is_invented(said: Callable[[str], str]) -> None:
    # what the contract suite can not try on an invented broker it skips
    assert re.search(r"\d{3} passed, \d+ skipped, 1 deselected", said("tests"))
    assert re.search(r"\d+ places tell of an invented broker; `pytest -m release` lists them", said("tests"))


def test_it_is_clean_for_ruff(said: Callable[[str], str]) -> None:
    assert said("ruff check") == "All checks passed!\n"
    assert "already formatted" in said("ruff format")


def test_it_is_clean_for_mypy(said: Callable[[str], str], tried: Tried) -> None:
    settings = tomllib.loads((tried.project.folder / "pyproject.toml").read_text())
    assert settings["tool"]["mypy"]["strict"] is True
    assert "Success: no issues found" in said("mypy")


def test_the_release_check_lists_each_place_in_the_order_of_work(tried: Tried, combination: Combination) -> None:
    done, folder = tried.said["release"], tried.project.folder

    assert done.returncode == 1
    names = ["docs", "support", "live", *(["demo"] if combination.demo_url else [])]
    assert re.findall(r"provider\.toml:\d+: (\w+): https://\S+ is invented", done.stdout) == names
    assert re.search(r"provider\.toml:\d+: the broker's number, and as source", done.stdout)
    steps = re.findall(r"^(What .*|How .*):$", done.stdout, re.MULTILINE)
    assert len(steps) == 5
    assert steps[0] == "What is known without running code"
    marked = [
        (path.relative_to(folder), number)
        for path in sorted(one for one in folder.rglob("*") if one.is_file())
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if "FILL IN:" in line
    ]
    assert len(marked) > 10
    for path, number in marked:
        assert f"{path}:{number}: " in done.stdout


def test_users_are_shown_what_it_is(said: Callable[[str], str], combination: Combination) -> None:
    assert "Acme" in said("providers")
    source = {"session": "session", "files": "statement"}.get(combination.history_kind, "executions")
    assert source in said("providers")


def test_the_demo_plays_with_it(tried: Tried, combination: Combination) -> None:
    done = tried.said["demo"]

    if combination.history_kind == "files":
        assert "Left out: Acme, whose trades come in files." in done.stderr
    else:
        assert "Every trade is there once, with the broker's own numbers." in done.stdout, done.stderr
