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


WRONG = """
long_wait = "soon"
refusals = 0
feed_pol = "1s"
[fleet]
share = 250
[brokers.tradovate]
colour = 1
[[brokers.tradovate.limits]]
scope = "planet"
amount = 0
period = "1h"
[[brokers.tradovate.limits]]
scope = "app"
amount = 5
period = 60
"""


def test_all_mistakes_are_told_at_once_each_with_its_place_and_what_is_allowed() -> None:
    with pytest.raises(BrokerConfigError) as refused:
        parse_settings(WRONG, "brokersync.toml")
    assert refused.value.message.splitlines() == [
        "brokersync.toml has 8 mistakes:",
        "  long_wait: 'soon' is no duration; write it like 500ms, 30s, 5m, 6h or 365d",
        "  refusals: refusals must be at least 1",
        "  the whole: unknown 'feed_pol'; did you mean 'feed_poll'?",
        "  fleet.share: share is in percent, from 1 to 100",
        "  brokers[tradovate]: unknown 'colour'; known are distribution, hosts, limits, maintenance, settings",
        "  brokers[tradovate].limits[0].scope: 'planet' is none of app, egress, credential, account, endpoint",
        "  brokers[tradovate].limits[0].amount: amount must be above zero, not 0",
        "  brokers[tradovate].limits[1].period: 60 is no duration; write it like 500ms, 30s, 5m, 6h or 365d",
    ]
