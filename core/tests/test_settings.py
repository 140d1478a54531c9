"""Settings that could never work are refused when they are read, each by its name."""

from __future__ import annotations

import pytest

from brokersync.config import parse_settings
from brokersync.errors import BrokerConfigError


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('sync_every = "99999999d"', "sync_every"),
        ('perishable_margin = "99999999d"', "36525d"),
        ('keep.raw = "99999999d"', "keep.raw"),
        ('lease = "0s"', "lease must be longer than nothing"),
        ("retry.attempts = 0", "attempts must be at least 1"),
        ('http.connect = "0s"', "connect must be longer than nothing"),
        ("queue.reserve = -1", "reserve must not be below 0"),
        ('queue.hold = "0s"', "hold must be longer than nothing"),
        ("http.max_body_bytes = 0", "max_body_bytes must be at least 1"),
    ],
)
def test_a_setting_that_can_not_work_is_refused_by_its_name(text: str, said: str) -> None:
    with pytest.raises(BrokerConfigError) as refused:
        parse_settings(text)
    assert said in str(refused.value)


def test_the_longest_duration_is_a_century() -> None:
    assert parse_settings('keep.raw = "36525d"').keep.raw.days == 36_525
