from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from .projects import CI_SIZE, COMBINATIONS, Combination, Project, built, render


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "combination" in metafunc.fixturenames:
        number = len(COMBINATIONS) if metafunc.config.getoption("--full") else CI_SIZE
        metafunc.parametrize("combination", COMBINATIONS[:number], ids=str, scope="module")


@pytest.fixture(autouse=True)
def told_size(sized: Callable[[str, int, int], int]) -> None:
    sized("combinations of the template", CI_SIZE, len(COMBINATIONS))


@pytest.fixture(autouse=True, scope="session")
def own_settings_of_cookiecutter(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What this machine's user has answered before plays no part, and nothing is kept of our answers."""
    folder = tmp_path_factory.mktemp("cookiecutter")
    config = folder / "config.yaml"
    config.write_text(f"cookiecutters_dir: {folder}\nreplay_dir: {folder}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COOKIECUTTER_CONFIG", str(config))
        yield


@pytest.fixture(scope="module")
def project(combination: Combination, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The template with these choices, rendered and built once."""
    folder = render(tmp_path_factory.mktemp("rendered"), **attrs.asdict(combination))
    return built(folder, tmp_path_factory.mktemp("built"))


@pytest.fixture
def rendered(tmp_path: Path) -> Callable[..., Path]:
    """`rendered(**answers)`: a project of a test's own."""
    return lambda **answers: render(tmp_path, **answers)
