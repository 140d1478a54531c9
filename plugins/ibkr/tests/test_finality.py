"""What a statement proves for good, by the time at which it was made."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from brokersync.plugin import Finality, Manifest
from brokersync_ibkr.coverage import FINALITY_LAG, Days

WEEK = Days(date(2024, 3, 11), date(2024, 3, 15))


def covered(pages: list[Any]) -> list[tuple[Days, Finality]]:
    return [(Days.of(span.window), span.finality) for span in pages[-1].covered]


@pytest.mark.parametrize(
    ("made", "final", "provisional"),
    [
        ("20240318;061500", (11, 15), None),
        ("20240316;060000", (11, 15), None),
        ("20240316;055959", (11, 14), (15, 15)),
        ("20240316", (11, 14), (15, 15)),
        ("20240313;120000", (11, 12), (13, 13)),
        ("20240310;120000", None, None),
    ],
)
def test_a_statement_proves_for_good_only_what_had_been_over_for_the_finality_lag(
    flex: Any, made: str, final: tuple[int, int] | None, provisional: tuple[int, int] | None
) -> None:
    assert covered(flex.pages(flex.document(flex.statement(made=made)))) == [
        (Days(*(date(2024, 3, day) for day in days)), finality)
        for days, finality in ((final, Finality.FINAL), (provisional, Finality.PROVISIONAL))
        if days is not None
    ]


@pytest.mark.parametrize(
    ("made", "until"),
    [
        # Christmas of 2026 is a Friday: what is traded then is told on the Monday after it
        ("20261225;070000", date(2026, 12, 24)),
        ("20261226;070000", date(2026, 12, 24)),
        ("20261228;070000", date(2026, 12, 24)),
        ("20261229;070000", date(2026, 12, 28)),
        # weekends are core's to wait for
        ("20261221;070000", date(2026, 12, 20)),
    ],
)
def test_a_holiday_is_told_for_good_with_the_next_open_day(flex: Any, made: str, until: date) -> None:
    asked = Days(date(2026, 12, 14), date.fromisoformat(made[:8]) - timedelta(days=1))
    last = max(day for day in (date(2026, 12, 18), date(2026, 12, 24), date(2026, 12, 28)) if day <= asked.last)
    body = flex.document(flex.statement(first="20261214", last=f"{last:%Y%m%d}", made=made))
    [(final, _), *rest] = covered(flex.pages(body, asked=asked))
    assert final == Days(asked.first, until)
    assert rest == ([(Days(until + timedelta(days=1), asked.last), Finality.PROVISIONAL)] if until < asked.last else [])


@pytest.mark.parametrize("made", ["", "garbage"])
def test_a_file_that_does_not_say_when_it_was_made_proves_nothing_for_good(flex: Any, made: str) -> None:
    body = flex.document(flex.statement(made=made))
    assert covered(flex.pages(body)) == [(WEEK, Finality.PROVISIONAL)]
    beside = flex.document(flex.statement(made=made), flex.statement(account="U4711002"))
    assert {finality for _, finality in covered(flex.pages(beside))} == {Finality.PROVISIONAL}


def test_the_services_answer_is_of_the_time_at_which_it_was_asked(flex: Any) -> None:
    asked = Days(date(2024, 3, 11), date(2024, 3, 15))
    body = flex.document(flex.statement(made=""))
    assert covered(flex.pages(body, asked=asked)) == [(WEEK, Finality.FINAL)]


def test_the_manifest_has_the_same_finality_lag(manifest: Manifest) -> None:
    lags = {source.name: source.finality_lag for source in manifest.sources if source.name.startswith("activity")}
    assert lags == {"activity": FINALITY_LAG, "activity_file": FINALITY_LAG}
