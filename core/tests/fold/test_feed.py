from __future__ import annotations

import attrs

from brokersync.records import ChangeCause, ChangeKind
from brokersync.types import FeesState

from .rows import ACTIVE, CANCEL, CANCELLED, REPLACE, fee, row, trade
from .runs import Runs


def test_a_late_fee_modifies_the_trade_and_the_feed_says_why(runs: Runs) -> None:
    run = runs.new()
    run.commit("service", row("a", fees=()))
    late = run.commit("service", row("a", fees=(fee("1.5"),)))
    assert (late.modified, late.dispositions) == (1, ("modified",))
    assert [change.cause.value for change in run.feed] == ["broker", "late_fee"]
    assert run.trades()["a"].fees == (fee("1.5"),)
    assert run.trades()["a"].revision == 2


def test_the_feed_tells_corrections_from_other_news(runs: Runs) -> None:
    run = runs.new()
    run.commit("service", row("a", key="x", order=(1,)))
    run.commit("service", row("c", CANCEL, refs=("a",), order=(2,)))
    run.commit("service", row("b", REPLACE, key="x", order=(3,)))
    run.commit(
        "service", attrs.evolve(row("b", REPLACE, key="x", order=(3,)), trade=attrs.evolve(trade("x"), tags=("t",)))
    )
    assert [change.cause.value for change in run.feed] == ["broker", "correction", "correction", "broker"]
    assert run.trades()["x"].status is ACTIVE


def test_fees_that_a_cancelled_trade_still_costs_are_a_late_fee(runs: Runs) -> None:
    run = runs.new()
    run.commit("service", row("a"), row("c", CANCEL, refs=("a",)))
    run.commit("service", row("c", CANCEL, refs=("a",), fees=(fee("0.5"),)))
    assert [change.cause.value for change in run.feed] == ["broker", "late_fee"]


def test_two_keys_found_to_be_one_end_as_merged(runs: Runs) -> None:
    run = runs.new()
    run.commit("service", row("a"), row("b", order=(2,)))
    assert set(run.trades()) == {"a", "b"}
    linked = run.commit("service", row("c", REPLACE, key="a", refs=("b",), order=(3,), price="5"))
    assert (linked.modified, linked.removed) == (1, 1)
    assert set(run.trades()) == {"a"}
    removed = run.feed[-1]
    assert (removed.kind, removed.trade_id, removed.merged_into) == (ChangeKind.REMOVED, "b", "a")


def test_a_key_that_a_file_merges_has_the_file_as_its_cause(runs: Runs) -> None:
    run = runs.new()
    run.commit("service", row("a"), row("b", order=(2,)))
    linking = row("c", REPLACE, key="a", refs=("b",), order=(3,), price="5")
    run.commit("file", linking, cause=ChangeCause.FILE)
    assert [(change.kind.value, change.cause) for change in run.feed[2:]] == [
        ("modified", ChangeCause.FILE),
        ("removed", ChangeCause.FILE),
    ]


def test_a_key_that_joins_another_by_its_loose_name_is_merged_into_it(runs: Runs) -> None:
    run = runs.new()
    run.commit("file", row("f", key="T"))
    run.commit("service", row("a", loose_refs=("T",)))
    assert set(run.trades()) == {"a"}
    assert (run.feed[-1].trade_id, run.feed[-1].merged_into) == ("T", "a")


def test_a_key_that_changes_beside_a_twin_is_merged_into_its_own_heir(runs: Runs) -> None:
    run = runs.new()
    run.commit("service", row("m", key="m", loose_refs=("content",)), row("a", loose_refs=("content",)))
    run.commit("service", row("z", key="z", refs=("m",), loose_refs=("content",), order=()))
    # the set holds two trades; the one whose row came first in rank gives its key
    merged = [change for change in run.feed if change.kind is ChangeKind.REMOVED]
    assert all(change.merged_into in ("m", "z") for change in merged)
    run.commit("service", row("b", key="b", refs=("m",), loose_refs=("content",)))
    assert {"a", "b"} == set(run.trades())
    assert run.feed[-1].trade_id == "m"
    assert run.feed[-1].merged_into == "b"


def test_a_lone_cancel_waits_is_counted_and_meets_its_target_later(runs: Runs) -> None:
    run = runs.new()
    cancel = row("c", CANCEL, refs=("a",))
    waiting = run.commit("service", cancel)
    assert (waiting.waiting, waiting.dispositions) == (1, ("waiting",))
    assert run.counts() == [{"active": 0, "cancelled": 0, "waiting": 1, "quarantined": 0}]
    assert run.commit("service", cancel).waiting == 0
    met = run.commit("service", row("a"))
    assert (met.waiting, met.dispositions) == (-1, ("added",))
    assert run.trades()["a"].status is CANCELLED
    assert run.counts() == [{"active": 0, "cancelled": 1, "waiting": 0, "quarantined": 0}]


def test_a_cancel_with_the_trades_content_waits_like_a_bare_one(runs: Runs) -> None:
    run = runs.new()
    assert run.commit("service", row("c", CANCEL, key="a")).waiting == 1
    assert run.commit("service", row("a")).waiting == -1
    assert run.trades()["a"].status is CANCELLED


def test_a_page_says_of_each_row_what_became_of_it_though_sets_are_joined_within_it(runs: Runs) -> None:
    run = runs.new()
    # the second row stands alone until the third joins it to the first
    joined = run.commit("service", row("a"), row("b"), row("c", REPLACE, key="a", refs=("b",)), row("d"))
    assert joined.dispositions == ("added", "added", "added", "added")
    assert joined.waiting == 0
    assert run.commit("file", row("d"), row("e", CANCEL, refs=("nothing",)), row("a", price="9")).dispositions == (
        "known", "waiting", "known",
    )  # fmt: skip
    assert run.commit("service", row("d")).dispositions == ("unchanged",)


def test_a_later_twin_moves_the_cancel_and_no_revision_goes_back(runs: Runs) -> None:
    run = runs.new()
    run.commit("service", row("b", loose_refs=("content",)), row("c", CANCEL, loose_refs=("content",)))
    assert run.trades()["b"].status is CANCELLED
    run.commit("service", row("a", loose_refs=("content",)))
    assert [one.status for one in run.trades().values()] == [CANCELLED, ACTIVE]
    assert run.revisions["b"] == 3


def test_a_change_of_the_fees_state_alone_is_told(runs: Runs) -> None:
    run = runs.new()
    pending = row("a")
    assert pending.trade is not None
    run.commit("live", attrs.evolve(pending, trade=attrs.evolve(pending.trade, fees_state=FeesState.PENDING)))
    run.commit("service", pending)
    assert [change.kind for change in run.feed] == [ChangeKind.ADDED, ChangeKind.MODIFIED]
    assert run.trades()["a"].sources == ("live", "service")


def test_a_second_source_that_says_the_same_adds_no_change(runs: Runs) -> None:
    run = runs.new()
    run.commit("service", row("a"))
    told_again = run.commit("file", row("a"))
    assert (told_again.added, told_again.modified, told_again.dispositions) == (0, 0, ("known",))
    assert run.trades()["a"].sources == ("file", "service")
