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


def test_a_good_plugin_of_a_broker_that_replaces_rows_passes(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("corrected")
    assert run_suite(folder, {"TestCorrected": install(folder, 0, variant="corrected")}) == {}


def test_a_good_plugin_of_a_broker_whose_fills_are_xml_passes(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Costs in elements inside of each row: in an attribute, and as a text."""
    folder = tmp_path_factory.mktemp("xml")
    nodes = [
        "TestXml::test_a_cost_is_positive_and_a_rebate_negative",
        "TestXml::test_every_trade_is_as_the_books_have_it",
    ]
    assert run_suite(folder, {"TestXml": install(folder, 0, variant="xml")}, nodes, skips=True) == {}


# checks that look at the row of a trade
_OF_ROWS = (
    "test_ids_keep_every_digit",
    "test_numbers_keep_every_digit",
    "test_equal_fills_stay_two",
    "test_names_of_rows_hang_on_nothing_that_may_change",
    "test_a_cost_is_positive_and_a_rebate_negative",
    "test_a_row_at_the_edge_of_a_window_is_kept",
    "test_an_odd_row_takes_no_other_along",
    "test_an_unknown_word_is_never_guessed",
    "test_a_hundred_thousand_rows_fit_in_memory",
)


def test_fills_whose_values_are_texts_of_elements_are_looked_at_as_others_are(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("texts")
    # the toy reads legs of XML all or none, whatever is odd about one
    nodes = [f"TestTexts::{check}" for check in _OF_ROWS if check != "test_an_odd_row_takes_no_other_along"]
    keys = {"TestTexts": install(folder, 0, variant="xml+texts")}
    assert run_suite(folder, keys, [*nodes, "TestTexts::test_the_order_of_fields_changes_nothing"], skips=True) == {}


def test_rows_are_recognised_where_names_leave_out_prefix_and_zeros(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("prefixed")
    keys = {"TestPrefixed": install(folder, 0, variant="prefixed")}
    assert run_suite(folder, keys, [f"TestPrefixed::{check}" for check in _OF_ROWS], skips=True) == {}


def test_a_check_that_recognises_no_row_says_how_rows_are_known(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("unnamed")
    checks = (*_OF_ROWS[:3], *_OF_ROWS[4:6], _OF_ROWS[-1])
    keys = {"TestUnnamed": install(folder, 0, variant="unnamed")}
    said = run_suite(folder, keys, [f"TestUnnamed::{check}" for check in checks], skips=True)
    assert {check for _, check in said} == {*checks}
    for message in said.values():
        assert "not tried" in message
        assert "a row is known as a trade's by a cell that is an id in its booking_id" in message
        assert "docs/contract-suite.md" in message


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


def test_a_wall_time_of_a_declared_form_is_written_at_the_edge_of_a_window(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("wall")
    keys = {"TestWall": install(folder, 0, variant="wall")}
    nodes = ["TestWall::test_a_row_at_the_edge_of_a_window_is_kept"]
    assert run_suite(folder, keys, nodes, skips=True) == {}


def test_an_error_of_the_reading_with_a_second_fill_is_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("twins")
    old = '            rows, before, cursor = rows_in(body, "fills"), cursor, body.get("next")\n'
    new = (
        "            if len({str({**one, 'id': 0}) for one in body['fills']}) < len(body['fills']):\n"
        "                raise BrokerAPIError('The last row is not where it was.')\n"
    )
    key = install(folder, 0, Defect("refuses twins", "", "provider.py", old, old + new))
    (said,) = run_suite(folder, {"TestTwins": key}, ["TestTwins::test_equal_fills_stay_two"], skips=True).values()
    assert "not tried: with a second fill like fill:" in said
    assert "the reading ended with BrokerAPIError" in said
    assert "The last row is not where it was." in said


def test_a_declared_form_of_wall_times_that_no_answer_has_is_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("no_wall")
    key = install(folder, 0)
    sandbox = folder / "toybroker0" / "sandbox.py"
    sandbox.write_text(sandbox.read_text() + "\n# %d.%m.%Y %H:%M:%S is a form that it does not write\n")
    nodes = ["TestNoWall::test_a_row_at_the_edge_of_a_window_is_kept"]
    (said,) = run_suite(folder, {"TestNoWall": key}, nodes).values()
    assert "declares '%d.%m.%Y %H:%M:%S America/New_York', and no cell of any answer is written so" in said


@pytest.mark.parametrize(("number", "defect"), list(enumerate(DEFECTS)), ids=[str(one) for one in DEFECTS])
def test_each_defect_is_named_by_its_check(found: dict[tuple[str, str], str], number: int, defect: Defect) -> None:
    message = found.get((f"TestDefect{number}", defect.check), "")
    assert "BrokenContract" in message, f"{defect.check} finds nothing; {message}"
