"""When a broker is closed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from brokersync.config import parse_settings
from brokersync.errors import BrokerConfigError
from brokersync.maintenance import MaintenanceWindow, Weekday, closed_from, closed_until

CHICAGO = "America/Chicago"
NIGHT = MaintenanceWindow(start="22:00", end="06:30", zone=CHICAGO, days=(Weekday.SATURDAY,))
NOON = MaintenanceWindow(start="12:00", end="13:00")
# 2026-03-07 is a Saturday; on the 8th Chicago's clocks go from 02:00 to 03:00
SATURDAY = datetime(2026, 3, 7, tzinfo=UTC)


def chicago(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("moment", "opens"),
    [
        ("2026-03-07T21:59:59-06:00", None),
        ("2026-03-07T22:00:00-06:00", "2026-03-08T06:30:00-05:00"),
        ("2026-03-08T06:29:59-05:00", "2026-03-08T06:30:00-05:00"),
        ("2026-03-08T06:30:00-05:00", None),
        ("2026-03-08T22:30:00-05:00", None),
        ("2026-03-07T03:00:00-06:00", None),
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_it_begins_on_and_to_the_zones_clock(
    moment: str, opens: str | None
) -> None:
    assert closed_until([NIGHT], chicago(moment)) == (None if opens is None else chicago(opens))


def test_a_window_without_days_is_on_every_day() -> None:
    noons = [SATURDAY + timedelta(days=day, hours=12) for day in range(7)]
    assert [closed_until([NOON], noon) for noon in noons] == [noon + timedelta(hours=1) for noon in noons]
    assert closed_until([NOON], noons[0] - timedelta(seconds=1)) is None


def test_windows_that_follow_each_other_are_one() -> None:
    after = MaintenanceWindow(start="13:00", end="14:30")
    assert closed_until([after, NOON], SATURDAY + timedelta(hours=12)) == SATURDAY + timedelta(hours=14, minutes=30)


def test_a_broker_that_would_never_open_is_asked_again_all_the_same() -> None:
    always = MaintenanceWindow(start="00:00", end="00:00")
    assert closed_until([always], SATURDAY) == SATURDAY + timedelta(days=7)


def test_the_operators_windows_are_read_and_mistakes_are_named() -> None:
    settings = parse_settings(
        'brokers.toy.maintenance = [{start = "22:00", end = "23:00", days = ["sunday"], zone = "America/Chicago"}]'
    )
    assert settings.broker("toy").maintenance == (
        MaintenanceWindow(start="22:00", end="23:00", days=(Weekday.SUNDAY,), zone=CHICAGO),
    )
    for wrong in (
        'start = "24:00"',
        'start = "9"',
        'start = "09:00", zone = "Mars"',
        'start = "09:00", days = ["mon"]',
    ):
        with pytest.raises(BrokerConfigError, match=r"toy\.maintenance|maintenance"):
            parse_settings(f'brokers.toy.maintenance = [{{{wrong}, end = "10:00"}}]')


def test_a_broker_is_closed_from_where_the_first_of_windows_that_follow_each_other_begins() -> None:
    after = MaintenanceWindow(start="13:00", end="14:30")
    assert closed_from([after, NOON], SATURDAY + timedelta(hours=14)) == SATURDAY + timedelta(hours=12)
    assert closed_from([after, NOON], SATURDAY + timedelta(hours=14, minutes=30)) is None
    assert closed_from([NIGHT], chicago("2026-03-08T06:00:00-05:00")) == chicago("2026-03-07T22:00:00-06:00")
