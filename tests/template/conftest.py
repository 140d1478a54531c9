from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .projects import CI_SIZE, COMBINATIONS, Combination, render


def chosen(config: pytest.Config) -> list[Combination]:
    """The combinations that are tried."""
    return COMBINATIONS[: len(COMBINATIONS) if config.getoption("--full") else CI_SIZE]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "combination" in metafunc.fixturenames:
        metafunc.parametrize("combination", chosen(metafunc.config), ids=str, scope="module")


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


@pytest.fixture
def rendered(tmp_path: Path) -> Callable[..., Path]:
    """`rendered(**answers)`: a project of a test's own."""
    return lambda **answers: render(tmp_path, **answers)
