"""What each level asks for, and what the outcome of a run amounts to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs

from brokersync.levels import Level
from brokersync.manifest import Manifest

_SILVER: Final = frozenset(
    """
    test_wrong_credentials_ask_the_user test_an_outage_at_the_login_is_tried_again
    test_a_renewal_gives_the_same_login_a_new_token test_a_replaced_refresh_token_is_given_to_core
    test_a_refresh_token_that_is_left_out_stays test_a_renewal_that_is_refused_ends_in_a_new_login
    test_one_refused_token_is_no_end_of_the_login test_a_token_that_has_ended_is_replaced
    test_an_account_that_fails_loses_no_other test_corrections_lead_to_what_they_correct
    test_a_replacement_tells_the_whole_trade
    test_a_fault_is_told_as_what_it_is test_it_neither_sleeps_nor_tries_again test_declared_limits_are_never_exceeded
    test_a_reading_that_is_cancelled_ends_within_two_seconds test_a_lasting_failure_is_logged_once
    test_an_odd_row_takes_no_other_along test_the_code_of_a_consent_is_sent_once
    test_a_consent_that_is_denied_asks_the_user test_an_answer_to_another_consent_is_refused
    test_a_refresh_token_is_stored_before_its_token_is_used test_a_consent_is_given_again_by_the_same_user_only
    """.split()  # noqa: SIM905  a list of names reads better without quotes
)
_GOLD: Final = frozenset(
    """
    test_every_trade_is_as_the_books_have_it test_windows_may_be_cut_anywhere
    test_a_row_at_the_edge_of_a_window_is_kept test_a_second_sync_changes_nothing
    test_what_was_read_to_its_end_is_covered test_coverage_claims_only_what_was_read
    test_a_reading_goes_on_from_every_cursor
    test_a_cursor_that_is_none_is_refused test_a_page_that_comes_again_ends_the_reading
    test_an_empty_page_in_the_middle_ends_nothing test_a_hundred_thousand_rows_fit_in_memory
    test_a_sync_overcomes_what_passes test_who_is_logged_in_has_one_name test_one_provider_keeps_two_logins_apart
    test_capabilities_are_declared_where_they_are_shown test_requests_are_as_they_were
    """.split()  # noqa: SIM905  a list of names reads better without quotes
)
# what a level means nothing without, where the broker has it at all
_MUST_BE_TRIED: Final[Mapping[Level, tuple[str, ...]]] = {
    Level.SILVER: (
        "test_a_fault_is_told_as_what_it_is",
        "test_it_neither_sleeps_nor_tries_again",
        "test_declared_limits_are_never_exceeded",
        "test_corrections_lead_to_what_they_correct",
    ),
    Level.GOLD: (
        "test_every_trade_is_as_the_books_have_it",
        "test_windows_may_be_cut_anywhere",
        "test_a_sync_overcomes_what_passes",
        "test_a_hundred_thousand_rows_fit_in_memory",
    ),
}
_READS: Final = ("test_numbers_are_decimals_and_times_are_utc", "test_rows_of_statements_are_as_exact_as_others")
_NOT_TRIED: Final = "not tried: "


@attrs.frozen(kw_only=True)
class Outcome:
    """How one check ended: `passed`, `failed`, `skipped` or `exempt`, and why."""

    check: str
    outcome: str
    why: str = ""

    @property
    def name(self) -> str:
        return self.check.partition("[")[0]

    @property
    def is_not_tried(self) -> bool:
        return self.outcome == "skipped" and self.why.startswith(_NOT_TRIED)

    def __str__(self) -> str:
        return f"{self.check}: {self.why.removeprefix(_NOT_TRIED)}" if self.why else self.check


@attrs.frozen(kw_only=True)
class Judged:
    """One level: what failed of its checks, what else it lacks, and what was let pass or could not be tried."""

    level: Level
    passed: int
    failed: tuple[Outcome, ...]
    lacks: tuple[str, ...]
    exempt: tuple[Outcome, ...]
    not_tried: tuple[Outcome, ...]

    @property
    def is_reached(self) -> bool:
        """Whether the level itself has all it asks for; those below it count as well."""
        return not self.failed and not self.lacks


def level_of(check: str) -> Level:
    """The level that a check belongs to, by its name."""
    if check in _GOLD:
        return Level.GOLD
    return Level.SILVER if check in _SILVER else Level.BRONZE


def judged(outcomes: Iterable[Outcome], manifest: Manifest) -> tuple[Judged, ...]:
    """What a run amounts to, level by level."""
    found = sorted(outcomes, key=lambda one: one.check)
    return tuple(_judged(level, found, manifest) for level in (Level.BRONZE, Level.SILVER, Level.GOLD))


def reached(levels: Sequence[Judged]) -> Level:
    """The highest level that has all it asks for, as have those below it."""
    highest = Level.NONE
    for one in levels:
        if not one.is_reached:
            break
        highest = one.level
    return highest


def _judged(level: Level, outcomes: Sequence[Outcome], manifest: Manifest) -> Judged:
    mine = [one for one in outcomes if level_of(one.name) is level]
    return Judged(
        level=level,
        passed=sum(one.outcome == "passed" for one in mine),
        failed=tuple(one for one in mine if one.outcome == "failed"),
        lacks=tuple(_lacks(level, outcomes, manifest)),
        exempt=tuple(one for one in mine if one.outcome == "exempt"),
        not_tried=tuple(one for one in mine if one.is_not_tried),
    )


def _lacks(level: Level, outcomes: Sequence[Outcome], manifest: Manifest) -> Iterable[str]:
    served = any(not source.files for source in manifest.sources)
    if level is Level.BRONZE:
        passed = {one.check for one in outcomes if one.outcome == "passed"}
        if not passed.intersection(_READS):
            yield "answers to read: a sandbox, recordings (brokersync record), or statements in the suite of the plugin"
    if level is Level.SILVER and served:
        if not manifest.limits:
            yield "limits in provider.toml: how often the broker may be asked"
        yield from (
            f"the source of the limit of {limit.amount} per {limit.scope.value} in provider.toml"
            for limit in manifest.limits
            if not limit.source
        )
    if level is Level.GOLD and served and manifest.sandbox is None:
        yield "a sandbox of its own, named in provider.toml: a simulated broker that knows tokens, windows and pages"
    tried = {one.name for one in outcomes if not one.is_not_tried}
    for name in _MUST_BE_TRIED.get(level, ()):
        if name not in tried:
            why = next((f": {one.why.removeprefix(_NOT_TRIED)}" for one in outcomes if one.name == name), "")
            yield f"{name}, which could not be tried{why}"
