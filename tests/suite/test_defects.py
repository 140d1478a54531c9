"""The suite finds nothing in a good plugin, and each mistake in a copy of it by the check that is named for it."""

from __future__ import annotations

import pytest

from .variants import Defect, defects, install, run_suite

DEFECTS = defects()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    """What failed of all copies, each looked at by the check that is to name its defect."""
    folder = tmp_path_factory.mktemp("defects")
    keys = {f"TestDefect{number}": install(folder, number, one) for number, one in enumerate(DEFECTS)}
    chosen = [f"TestDefect{number}::{one.check}" for number, one in enumerate(DEFECTS)]
    return run_suite(folder, keys, chosen)


def test_a_good_plugin_passes(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("good")
    assert run_suite(folder, {"TestGood": install(folder, 0)}) == {}


@pytest.mark.parametrize(("number", "defect"), list(enumerate(DEFECTS)), ids=[str(one) for one in DEFECTS])
def test_each_defect_is_named_by_its_check(found: dict[tuple[str, str], str], number: int, defect: Defect) -> None:
    message = found.get((f"TestDefect{number}", defect.check), "")
    assert "BrokenContract" in message, f"{defect.check} finds nothing; {message}"
