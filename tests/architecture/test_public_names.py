from __future__ import annotations

import importlib
from pathlib import Path

import pytest

PUBLIC = ["brokersync", "brokersync.plugin"]


@pytest.mark.parametrize("module", PUBLIC)
def test_the_public_names_are_those_that_were_agreed(module: str) -> None:
    """A name that comes or goes is a change of contract: change the list beside this test on purpose."""
    agreed = Path(__file__).with_name(f"{module}.txt").read_text().split()
    assert importlib.import_module(module).__all__ == agreed


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_there(module: str) -> None:
    home = importlib.import_module(module)
    for name in home.__all__:
        assert getattr(home, name) is not None


def test_the_plugin_module_holds_nothing_but_its_public_names() -> None:
    home = importlib.import_module("brokersync.plugin")
    assert {name for name in vars(home) if not name.startswith("_")} == set(home.__all__)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        importlib.import_module("brokersync").Nonsense  # noqa: B018  the look-up is the test
