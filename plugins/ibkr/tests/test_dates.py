from __future__ import annotations

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.plugin import BrokerConfigError, Fault
from brokersync_ibkr.dates import FlexDates, new_york_midnight
from brokersync_ibkr.dayorder import DayOrder, DayOrderEvidence

NEW_YORK = ZoneInfo("America/New_York")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

DATE_FORMATS = {
    "yyyyMMdd": lambda day: f"{day:%Y%m%d}",
    "yyyy-MM-dd": lambda day: f"{day:%Y-%m-%d}",
    "MM/dd/yyyy": lambda day: f"{day:%m/%d/%Y}",
    "MM/dd/yy": lambda day: f"{day:%m/%d/%y}",
    "dd/MM/yyyy": lambda day: f"{day:%d/%m/%Y}",
    "dd/MM/yy": lambda day: f"{day:%d/%m/%y}",
    "dd-MMM-yy": lambda day: f"{day.day:02d}-{MONTHS[day.month - 1]}-{day:%y}",
    "dd-MMM-yy in capitals": lambda day: f"{day.day:02d}-{MONTHS[day.month - 1].upper()}-{day:%y}",
}
TIME_FORMATS = {"HHmmss": "%H%M%S", "HH:mm:ss": "%H:%M:%S"}
SEPARATORS = (";", ",", " ", "", ", ", "T")


def dates(order: DayOrder | None = None) -> FlexDates:
    def ask() -> DayOrder:
        assert order is not None, "the order was asked for without need"
        return order

    return FlexDates(ask)


def order_of(name: str) -> DayOrder:
    return DayOrder.DAY_FIRST if name.startswith("dd/MM") else DayOrder.MONTH_FIRST


@settings(deadline=None)
@given(
    moment=st.datetimes(datetime(2000, 1, 1), datetime(2068, 12, 31)).map(
        lambda value: value.replace(microsecond=0, fold=0)
    ),
    date_format=st.sampled_from(sorted(DATE_FORMATS)),
    time_format=st.sampled_from(sorted(TIME_FORMATS)),
    separator=st.sampled_from(SEPARATORS),
)
def test_every_format_a_query_can_choose_gives_back_the_moment(
    moment: datetime, date_format: str, time_format: str, separator: str
) -> None:
    text = DATE_FORMATS[date_format](moment) + separator + moment.strftime(TIME_FORMATS[time_format])
    read = dates(order_of(date_format)).moment(text)
    assert read.at == moment.replace(tzinfo=NEW_YORK).astimezone(UTC)
    assert read.day == moment.date()
    assert read.has_time


@settings(deadline=None)
@given(day=st.dates(date(2000, 1, 1), date(2068, 12, 31)), date_format=st.sampled_from(sorted(DATE_FORMATS)))
def test_a_date_alone_is_the_start_of_the_day_in_new_york(day: date, date_format: str) -> None:
    read = dates(order_of(date_format)).moment(DATE_FORMATS[date_format](day))
    assert read.at == datetime.combine(day, time(), NEW_YORK).astimezone(UTC)
    assert read.day == day
    assert not read.has_time
    assert dates(order_of(date_format)).day(DATE_FORMATS[date_format](day)) == day


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20240705;093000", datetime(2024, 7, 5, 13, 30)),  # daylight saving
        ("20240105;093000", datetime(2024, 1, 5, 14, 30)),  # standard time
        ("20240310;013000", datetime(2024, 3, 10, 6, 30)),  # before the clocks change in spring
        ("20240310;023000", datetime(2024, 3, 10, 7, 30)),  # an hour that never was
        ("20240310;033000", datetime(2024, 3, 10, 7, 30)),
        ("20241103;013000", datetime(2024, 11, 3, 5, 30)),  # the first of two
        ("20241103;013000 EDT", datetime(2024, 11, 3, 5, 30)),
        ("20241103;013000 EST", datetime(2024, 11, 3, 6, 30)),  # the second
        ("20240705;093000 EDT", datetime(2024, 7, 5, 13, 30)),
        ("2024-07-05;09:30:00 EST", datetime(2024, 7, 5, 14, 30)),  # what is written wins
        ("2024-07-05T09:30:00-04:00", datetime(2024, 7, 5, 13, 30)),
        ("2024-07-05T09:30:00+0200", datetime(2024, 7, 5, 7, 30)),
        ("2024-07-05 09:30:00 UTC", datetime(2024, 7, 5, 9, 30)),
        ("20240705;235959", datetime(2024, 7, 6, 3, 59, 59)),
    ],
)
def test_wall_clocks_are_new_yorks_unless_a_zone_is_written(text: str, expected: datetime) -> None:
    assert dates().moment(text).at == expected.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        *("", "MULTI", "soon", "2024", "2024-07", "20241301", "20240230;101010", "20240705;246060", "05-Foo-24"),
        *("20240705;0930", "20240705;093000 CET", "2024W27;093000", "20240705;09300O", "²0240705;093000"),
    ],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        dates(DayOrder.MONTH_FIRST).moment(text)


def test_a_date_and_a_time_from_two_attributes_make_one_moment() -> None:
    reader = dates()
    assert reader.joined("20240705", "093000") == reader.moment("20240705;093000")
    assert reader.joined("2024-07-05", "09:30:00 EST") == reader.moment("20240705;093000 EST")
    with pytest.raises(ValueError):
        reader.joined("20240705", "9h30")


def test_the_order_of_day_and_month_is_asked_for_once_and_only_with_slashes() -> None:
    asked = []
    reader = FlexDates(lambda: asked.append(1) or DayOrder.DAY_FIRST)
    assert reader.day("20240705") == date(2024, 7, 5)
    assert not asked
    assert reader.day("05/07/2024") == date(2024, 7, 5)
    assert reader.moment("06/07/24 10:00:00").day == date(2024, 7, 6)
    assert asked == [1]


def test_midnight_in_new_york_moves_with_daylight_saving() -> None:
    assert new_york_midnight(date(2024, 7, 5)).hour == 4
    assert new_york_midnight(date(2024, 1, 5)).hour == 5


def evidence(*dates: str, period: tuple[str, str, str] = ("", "", "")) -> DayOrderEvidence:
    found = DayOrderEvidence()
    found.period(*period)
    for text in dates:
        found.date(text)
        found.booked(text)
    return found


@pytest.mark.parametrize(
    ("found", "order"),
    [
        (evidence("03/14/2024"), DayOrder.MONTH_FIRST),
        (evidence("14/03/2024"), DayOrder.DAY_FIRST),
        (evidence("03/04/24;101010", "03/14/24;101010"), DayOrder.MONTH_FIRST),
        (evidence("03/04/24101010", "14/03/24101010"), DayOrder.DAY_FIRST),
        (evidence("03/04/2409:10:10", "14/03/2409:10:10"), DayOrder.DAY_FIRST),
        # the booking lies within the period in one reading only
        (evidence("03/04/2024", period=("01/03/2024", "30/04/2024", "")), DayOrder.DAY_FIRST),
        (evidence("05/04/2024", period=("01/04/2024", "04/06/2024", "")), DayOrder.DAY_FIRST),
        # a statement is not made before its last day, nor does it end before it begins
        (evidence(period=("01/02/2024", "05/02/2024", "04/03/2024")), DayOrder.DAY_FIRST),
        (evidence(period=("12/01/2023", "01/02/2024", "")), DayOrder.MONTH_FIRST),
        (evidence(period=("01/12/2023", "02/01/2024", "")), DayOrder.DAY_FIRST),
        # both readings are the same days
        (evidence("05/05/2024", period=("05/05/2024", "05/05/2024", "06/06/2024")), DayOrder.MONTH_FIRST),
        (evidence("20240506"), DayOrder.MONTH_FIRST),
        # what is no date in either order says nothing of the others
        (evidence("14/03/2024", "N/A", "45/45/2024", "9" * 20 + "/1/2024", "1/2", "//"), DayOrder.DAY_FIRST),
        (evidence("N/A", period=("20240311", "20240315", "N/A")), DayOrder.MONTH_FIRST),
    ],
)  # fmt: skip
def test_a_documents_dates_tell_their_order(found: DayOrderEvidence, order: DayOrder) -> None:
    assert found.decide() is order


@pytest.mark.parametrize(
    "found",
    [
        evidence("03/04/2024"),
        evidence(period=("01/02/2024", "05/02/2024", "06/02/2024")),
        evidence("03/14/2024", "14/03/2024"),
    ],
)
def test_dates_that_can_be_read_in_two_ways_name_the_setting_to_change(found: DayOrderEvidence) -> None:
    with pytest.raises(BrokerConfigError) as caught:
        found.decide()
    assert caught.value.fault is Fault.USER
    assert "Date Format to yyyyMMdd" in caught.value.remedy


@settings(deadline=None)
@given(
    days=st.lists(st.dates(date(2020, 1, 1), date(2029, 12, 31)), min_size=1, max_size=8),
    day_first=st.booleans(),
    separator=st.sampled_from(SEPARATORS),
)
def test_a_decided_order_is_never_the_wrong_one(days: list[date], day_first: bool, separator: str) -> None:
    pattern = "%d/%m/%Y" if day_first else "%m/%d/%Y"
    found = DayOrderEvidence()
    found.period(min(days).strftime(pattern), max(days).strftime(pattern), "")
    for day in days:
        found.date(day.strftime(pattern) + separator + "101500")
        found.booked(day.strftime(pattern))
    try:
        order = found.decide()
    except BrokerConfigError:
        return
    reader = FlexDates(lambda: order)
    if max(days).toordinal() - min(days).toordinal() <= 366:
        assert [reader.day(day.strftime(pattern)) for day in days] == days
