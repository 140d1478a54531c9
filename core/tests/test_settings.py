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
        ("queue.reserve = 16", "queue.reserve: reserve, which is 16, must be below concurrency, which is 16"),
        ("queue.reserve = 2\nqueue.concurrency = 2", "must be below concurrency, which is 2"),
        ('queue.hold = "0s"', "hold must be longer than nothing"),
        (
            'first_probe = "1h"',
            "longest_probe, which is 0:15:00, must not be shorter than first_probe, which is 1:00:00",
        ),
        ('page_wait = "20m"', "stuck_after, which is 0:15:00, must be longer than the longest wait that is slept"),
        ('fleet.redis = "http://me:hidden@host"', "fleet.redis: redis is not the URL of a Redis"),
        ('fleet.redis = "redis://me:hidden@host:port"', "write it like redis://user:password@host:6379/0"),
        ('fleet.redis = "redis://"', "fleet.redis"),
        ('fleet.redis = "unix://"', "fleet.redis"),
        ('fleet.redis = "redis://host/one"', "fleet.redis"),
        ('fleet.redis = "redis+cluster://host/1"', "fleet.redis"),
        ('fleet.redis = "unix+cluster:///run/redis"', "fleet.redis"),
        ("http.max_body_bytes = 0", "max_body_bytes must be at least 1"),
    ],
)
def test_a_setting_that_can_not_work_is_refused_by_its_name(text: str, said: str) -> None:
    with pytest.raises(BrokerConfigError) as refused:
        parse_settings(text)
    assert said in str(refused.value)
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:pw@host:6379/0",
        "rediss://host",
        "redis://[::1]:7/",
        "unix:///run/redis",
        "redis+cluster://me:pw@host:6379",
        "rediss+cluster://host/0",
    ],
)
def test_a_url_that_redis_understands_is_taken(url: str) -> None:
    assert parse_settings(f'fleet.redis = "{url}"').fleet.redis == url


def test_a_mistake_between_two_settings_is_told_beside_all_others() -> None:
    with pytest.raises(BrokerConfigError) as refused:
        parse_settings('first_probe = "1h"\nlongest_probe = "2m"\nrefusals = 0\nlease = "soon"')
    assert [line.split()[0] for line in refused.value.message.splitlines()[1:]] == [
        "longest_probe:",
        "refusals:",
        "lease:",
    ]


def test_what_is_wrong_itself_makes_nothing_beside_it_wrong() -> None:
    with pytest.raises(BrokerConfigError) as refused:
        parse_settings('first_probe = "soon"\nlongest_probe = "1ms"')
    assert "longest_probe" not in refused.value.message
    with pytest.raises(BrokerConfigError) as refused:
        parse_settings('page_wait = "soon"\nqueue.stuck_after = "30s"')
    assert "stuck_after" not in refused.value.message


LIMIT = {"scope": '"app"', "amount": "10", "period": '"1m"', "operations": '["list"]', "reserve": "2"}
MISTAKES = [
    {"limit.scope": '"planet"'},
    {"limit.amount": "0"},
    {"limit.kind": '"often"'},
    {"limit.operations": '"list"'},
    {"limit.reserve": "-1"},
    {"limit.weights": "{list = 0}"},
    {"limit.sauce": '"guessed"'},
    {"queue.engine": '"docket"'},
    {"queue.name": '"a b"'},
    {"queue.concurrency": "0"},
    {"queue.reserve": "16"},
    {"queue.stuck_after": '"5s"'},
    {"queue.hold": '"0s"'},
    {"fleet.share": "0"},
    {"fleet.alone": '"soon"'},
    {"page_wait": '"soon"'},
]


def told(mistakes: dict[str, str]) -> int:
    """How many mistakes are told of limits, queue and fleet that have these."""
    limit = LIMIT | {name.removeprefix("limit."): text for name, text in mistakes.items() if name.startswith("limit.")}
    others = [f"{name} = {text}" for name, text in mistakes.items() if not name.startswith("limit.")]
    lines = [*others, "[[brokers.toy.limits]]", *(f"{name} = {text}" for name, text in limit.items())]
    with pytest.raises(BrokerConfigError) as refused:
        parse_settings("\n".join(lines))
    return max(len(refused.value.message.splitlines()) - 1, 1)


@pytest.mark.parametrize("first", MISTAKES, ids=lambda one: next(iter(one)))
def test_of_two_mistakes_in_limits_queue_or_fleet_neither_hides_the_other(first: dict[str, str]) -> None:
    assert told(first) == 1
    others = [other for other in MISTAKES if not first.keys() & other.keys()]
    assert [other for other in others if told(first | other) != 2] == []


def test_a_reserve_and_a_weight_that_are_both_too_large_are_told_together() -> None:
    assert told({"limit.reserve": "10", "limit.weights": "{list = 50}"}) == 2


def test_without_a_reserve_one_place_at_least_is_left_to_the_rest() -> None:
    assert [parse_settings(f"queue.concurrency = {n}").queue.reserved(n) for n in (1, 2, 3, 16)] == [0, 1, 2, 2]


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
        (
            "  brokers[tradovate]: unknown 'colour'; known are distribution, hosts, limits, maintenance, settings, "
            "redirect_uri"
        ),
        "  brokers[tradovate].limits[0].scope: 'planet' is none of app, egress, credential, account, endpoint",
        "  brokers[tradovate].limits[0].amount: amount must be above zero, not 0",
        "  brokers[tradovate].limits[1].period: 60 is no duration; write it like 500ms, 30s, 5m, 6h or 365d",
    ]


_LIMITS = """
[[brokers.toy.limits]]
scope = "app"
amount = 10
kind = "concurrency"
period = "1m"
[[brokers.toy.limits]]
scope = "app"
amount = 10
reserve = 10
[[brokers.toy.limits]]
scope = "app"
amount = 10
period = "1m"
reserve = 4
weights = { report = 7 }
[[brokers.toy.limits]]
scope = "app"
amount = 10
period = "1m"
operations = ["list"]
weights = { report = 0 }
"""


def test_a_limit_whose_parts_do_not_fit_together_is_told_part_by_part() -> None:
    with pytest.raises(BrokerConfigError) as refused:
        parse_settings(_LIMITS)
    assert [line.strip() for line in refused.value.message.splitlines()[1:]] == [
        "brokers[toy].limits[0].period: a limit of kind concurrency counts what is under way, and has no period",
        "brokers[toy].limits[1].reserve: reserve is a part of the amount, from 0 to 9, not 10",
        "brokers[toy].limits[1].period: a limit of kind window needs a period longer than nothing, such as 1m",
        "brokers[toy].limits[2].weights: weights of 'report' must be from 1 to 6, not 7",
        "brokers[toy].limits[3].weights: weights names 'report', which is none of the limit's operations",
    ]


def test_all_that_a_limit_may_say_is_read() -> None:
    text = """
    [[brokers.toy.limits]]
    scope = "credential"
    amount = 10
    period = "1m"
    kind = "bucket"
    operations = ["list", "report"]
    weights = { report = 5 }
    reserve = 2
    source = "toy.example"
    [[brokers.toy.limits]]
    scope = "egress"
    kind = "concurrency"
    amount = 3
    """
    first, second = parse_settings(text).broker("toy").limits or ()
    assert [first.weight_of(name, 2) for name in ("report", "list")] == [5, 2]
    assert (first.reserve, first.source) == (2, "toy.example")
    assert (second.weight_of("list", 2), second.source) == (1, "")
