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


def test_a_good_plugin_of_a_broker_that_nests_things_passes(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Costs in a list and multipliers in an object inside of each row, tokens in an envelope, names with versions."""
    folder = tmp_path_factory.mktemp("nested")
    chosen = (*(one.check for one in DEFECTS if one.variant == "nested"), "test_an_odd_row_takes_no_other_along")
    nodes = [f"TestNested::{check}" for check in chosen]
    assert run_suite(folder, {"TestNested": install(folder, 0, variant="nested")}, nodes, skips=True) == {}


@pytest.mark.parametrize("variant", ["consent", "only_consent"])
def test_a_good_plugin_with_a_login_at_a_page_passes(tmp_path_factory: pytest.TempPathFactory, variant: str) -> None:
    folder = tmp_path_factory.mktemp(variant)
    chosen = {one.check for one in DEFECTS if one.variant == variant or (one.variant and "consent" in one.check)}
    nodes = [f"TestConsent::{check}" for check in sorted(chosen)]
    assert run_suite(folder, {"TestConsent": install(folder, 0, variant=variant)}, nodes, skips=True) == {}


def test_a_check_of_times_that_is_not_tried_says_which_form_it_writes(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("seconds")
    check = "test_a_row_at_the_edge_of_a_window_is_kept"
    keys = {"TestSeconds": install(folder, 0, variant="seconds")}
    (said,) = run_suite(folder, keys, [f"TestSeconds::{check}"], skips=True).values()
    assert "not tried" in said
    assert "ISO 8601 with a zone, as in 2026-03-04T15:00:00.250Z" in said


@pytest.mark.parametrize(("number", "defect"), list(enumerate(DEFECTS)), ids=[str(one) for one in DEFECTS])
def test_each_defect_is_named_by_its_check(found: dict[tuple[str, str], str], number: int, defect: Defect) -> None:
    message = found.get((f"TestDefect{number}", defect.check), "")
    assert "BrokenContract" in message, f"{defect.check} finds nothing; {message}"
