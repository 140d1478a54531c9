from __future__ import annotations

import json
import types
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync import config, limits, maintenance, manifest, records
from brokersync import types as contract
from brokersync.converter import (
    CONFIG,
    PUBLIC,
    SEALED,
    decimal_text,
    dumps,
    from_json,
    instant_text,
    loads_exact,
    parse_duration,
    structure_config,
    to_json,
)
from brokersync.errors import BrokerConfigError
from brokersync.secret import Secret
from brokersync.store.contents import booking_content, load_booking, load_trade, trade_content

_MODULES = (contract, records, limits, manifest, config)
_KINDS = [
    kind
    for module in _MODULES
    for kind in vars(module).values()
    if isinstance(kind, type) and attrs.has(kind) and kind.__module__ == module.__name__
]
_WITH_SECRETS = (contract.AuthResult, contract.Challenge, records.Grant)

_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=12)
_NAME = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
_WHOLE = st.integers(-(10**24), 10**24)
_DIGITS = st.builds(lambda number, exponent: Decimal(f"{number}e{exponent}"), _WHOLE, st.integers(-30, 30))
_POSITIVE = _DIGITS.filter(bool).map(Decimal.copy_abs)
_INSTANT = st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))
_DURATION = st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=3650))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_TEXT, inner, max_size=2),
    max_leaves=4,
)

_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: _TEXT,
    int: st.integers(1, 2**70),
    bool: st.booleans(),
    Decimal: _DIGITS,
    datetime: _INSTANT,
    date: st.dates(),
    timedelta: _DURATION,
    Secret: _TEXT.map(Secret),
    Any: _JSON,
}


def _strategy(hint: Any) -> st.SearchStrategy[Any]:
    if hint in _PLAIN:
        return _PLAIN[hint]
    if hint in _SPECIAL:
        return _SPECIAL[hint]()
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    if isinstance(hint, type) and attrs.has(hint):
        return _built(hint)
    arguments = get_args(hint)
    if get_origin(hint) in (Union, types.UnionType):
        return st.one_of([st.none() if part is type(None) else _strategy(part) for part in arguments])
    if get_origin(hint) is tuple and arguments[-1] is not Ellipsis:
        return st.tuples(*map(_strategy, arguments))
    if get_origin(hint) is tuple:
        return st.lists(_strategy(arguments[0]), max_size=2).map(tuple)
    if get_origin(hint) is Mapping:
        return st.dictionaries(_TEXT, _strategy(arguments[1]), max_size=2)
    raise TypeError(f"no strategy for {hint!r}")


def _built(kind: type, /, **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind)
    return st.builds(kind, **{name: _strategy(hints[name]) for name in hints if name not in fixed}, **fixed)


def _windows() -> st.SearchStrategy[contract.TimeWindow]:
    length = st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=400))
    return st.builds(lambda start, by: contract.TimeWindow(start, start + by), _INSTANT, length)


def _bookings() -> st.SearchStrategy[contract.TradeBooking]:
    of_trade = _built(contract.TradeBooking, trade=_strategy(contract.BrokerTrade), fees=st.just(()))
    bare = _built(contract.TradeBooking, trade=st.none(), effect=st.just(contract.BookingEffect.CANCEL))
    return of_trade | bare


def _fields() -> st.SearchStrategy[manifest.Field]:
    common: dict[str, Any] = {
        "name": _NAME.map("f_{}".format),
        "secret": st.just(True),
        "pattern": st.none() | st.just("^x$"),
    }
    plain = _built(manifest.Field, format=st.sampled_from(["text", "integer", "date"]), choices=st.just(()), **common)
    choice = _built(
        manifest.Field,
        format=st.just("choice"),
        choices=st.just(("a", "b")),
        default=st.sampled_from([None, "a"]),
        **common,
    )
    return plain | choice


def _limits() -> st.SearchStrategy[limits.RateLimit]:
    common: dict[str, Any] = {"operations": st.just(()), "amount": st.integers(9, 99), "reserve": st.integers(0, 4)}
    common["weights"] = st.dictionaries(_TEXT, st.integers(1, 5), max_size=2)
    over_time = {"period": _DURATION.filter(bool), **common}
    all_calls = {"failures_only": st.just(False)}
    return st.one_of(
        _built(limits.RateLimit, kind=st.just(limits.LimitKind.WINDOW), **over_time),
        _built(limits.RateLimit, kind=st.just(limits.LimitKind.BUCKET), **over_time, **all_calls),
        _built(
            limits.RateLimit,
            kind=st.just(limits.LimitKind.CONCURRENCY),
            period=st.just(timedelta(0)),
            **common,
            **all_calls,
        ),
    )


def _sources() -> st.SearchStrategy[manifest.SourceSpec]:
    return _built(manifest.SourceSpec, look_back=_DURATION, needs_field=st.none())


def _maintenance() -> st.SearchStrategy[maintenance.MaintenanceWindow]:
    times = st.sampled_from(["00:00", "17:00", "23:59"])
    zones = st.sampled_from(["UTC", "America/Chicago"])
    return _built(maintenance.MaintenanceWindow, start=times, end=times, zone=zones)


def _calendars() -> st.SearchStrategy[manifest.Calendar]:
    zones = st.sampled_from(["UTC", "America/Chicago"])
    return _built(manifest.Calendar, zone=zones, day_starts=st.sampled_from(["00:00", "17:00"]))


def _manifests() -> st.SearchStrategy[manifest.Manifest]:
    user = manifest.Field(name="user", label="User", help="Who logs in.")
    sessions = st.none() | _built(limits.SessionLimit, most=_AT_ONCE, named_by=st.just("user"))
    return _built(
        manifest.Manifest,
        labels=st.sampled_from([(), (manifest.Label(key="sold-as", display_name="Sold as"),)]),
        key=_NAME,
        hosts=st.just({"api": "https://api.example", "page": "https://page.example"}),
        pages=st.sampled_from([(), ("page",)]),
        environments=st.lists(_NAME, min_size=1, unique=True).map(tuple),
        sources=st.lists(_strategy(manifest.SourceSpec), min_size=1, max_size=2, unique_by=lambda s: s.name).map(tuple),
        user_fields=st.lists(_fields(), max_size=2, unique_by=lambda f: f.name).map(lambda more: (user, *more)),
        sessions=sessions,
        operator_fields=st.lists(_fields(), max_size=2, unique_by=lambda f: f.name).map(tuple),
    )


_AT_ONCE = st.integers(1, 1_000_000_000)
# fewer are kept than there are
_PLACES: dict[str, Any] = {"concurrency": st.integers(5, 99), "reserve": st.none() | st.integers(0, 4)}

_SPECIAL: dict[Any, Any] = {
    contract.TimeWindow: _windows,
    contract.TradeBooking: _bookings,
    contract.BrokerTrade: lambda: _built(contract.BrokerTrade, quantity=_POSITIVE),
    manifest.Calendar: _calendars,
    maintenance.MaintenanceWindow: _maintenance,
    manifest.Field: _fields,
    manifest.SourceSpec: _sources,
    manifest.Manifest: _manifests,
    limits.RateLimit: _limits,
    limits.SessionLimit: lambda: _built(limits.SessionLimit, most=_AT_ONCE),
    config.FleetSettings: lambda: _built(
        config.FleetSettings,
        share=st.integers(1, 100),
        redis=st.sampled_from([None, "redis://host:1/2", "unix:///run"]),
    ),
    config.QueueSettings: lambda: _built(config.QueueSettings, name=_NAME, **_PLACES),
    config.Settings: lambda: _built(
        config.Settings,
        sync_every=_DURATION.filter(bool),
        perishable_margin=_DURATION.filter(bool),
        first_probe=st.just(timedelta(microseconds=1)),
        # longer than any wait that is drawn, as it has to be
        queue=_built(config.QueueSettings, name=_NAME, stuck_after=st.just(timedelta(days=3651)), **_PLACES),
        # not every engine of the queue goes without
        fleet=_built(config.FleetSettings, share=st.integers(1, 100), redis=st.just("redis://host")),
        # a text of blanks alone is none
        governance=_built(
            config.GovernanceSettings, **dict.fromkeys(("approvals", "webhook", "webhook_secret"), _NAME)
        ),
    ),
}


@pytest.mark.parametrize("kind", _KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_value_comes_back_from_json_as_it_was(kind: type, data: st.DataObject) -> None:
    value = data.draw(_strategy(kind))
    converter = SEALED if kind in _WITH_SECRETS else PUBLIC
    text = json.dumps(converter.unstructure(value))
    assert converter.structure(json.loads(text), kind) == value
    assert converter.structure(loads_exact(text), kind) == value


def test_the_value_classes_of_all_modules_are_tried() -> None:
    assert len(_KINDS) > 25
    assert {contract.TradePage, records.SyncReport, limits.RateLimit, manifest.Manifest, config.Settings} <= set(_KINDS)


@given(_DIGITS)
def test_a_decimal_keeps_every_digit_and_shows_no_exponent(number: Decimal) -> None:
    text = to_json(number)
    assert "E" not in text
    back = from_json(text, Decimal)
    assert back == number
    assert back.is_signed() == number.is_signed()


@given(st.datetimes(min_value=datetime(1980, 1, 1)), st.integers(-14 * 60, 14 * 60))
def test_an_instant_is_written_in_utc_to_the_microsecond(moment: datetime, minutes: int) -> None:
    local = moment.replace(year=min(moment.year, 9000), tzinfo=timezone(timedelta(minutes=minutes)))
    text = instant_text(local)
    assert text.endswith("Z")
    assert from_json(text, datetime) == local
    assert from_json(text, datetime).utcoffset() == timedelta(0)


@pytest.mark.parametrize("value", [1.5, True, None, [], "1,5", "NaN", "Infinity", "", "x", "1e61", "1e-999999999"])
def test_what_is_no_exact_number_is_no_decimal(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        from_json(value, Decimal)


@pytest.mark.parametrize(("value", "number"), [("0.10", "0.10"), (7, "7"), (Decimal("1.50"), "1.50")])
def test_exact_numbers_are_taken_as_they_are(value: Any, number: str) -> None:
    assert str(from_json(value, Decimal)) == number


@pytest.mark.parametrize("value", ["2026-01-01T00:00:00", "2026-01-01", "yesterday", 5, None])
def test_an_instant_without_zone_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        from_json(value, datetime)


def test_a_naive_instant_is_not_written() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        to_json(datetime(2026, 1, 1))


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("30s", timedelta(seconds=30)),
        (" 5 m ", timedelta(minutes=5)),
        ("6h", timedelta(hours=6)),
        ("365d", timedelta(days=365)),
    ],
)
def test_durations_of_the_configuration(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration
    assert CONFIG.structure(text, timedelta) == duration


@pytest.mark.parametrize("text", ["", "5", "5 minutes", "-5s", "1.5s", "5M", 5, None])
def test_other_durations_are_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="write it like"):
        parse_duration(text)


@attrs.frozen(kw_only=True)
class _Inner:
    number: int
    flag: bool = False


@attrs.frozen(kw_only=True)
class _Outer:
    name: str
    inner: tuple[_Inner, ...] = ()
    wait: timedelta = timedelta(0)
    price: Decimal = Decimal(1)
    table: Mapping[str, _Inner] = attrs.field(factory=dict)


def test_every_mistake_in_a_configuration_is_named_with_its_path() -> None:
    data = {
        "name": 5,
        "inner": [{"number": 1}, {"number": "1", "flag": 1}, {"numbre": 1}],
        "wait": "soon",
        "price": 1.5,
        "table": {"x": {"number": True}},
        "extra": 1,
    }
    with pytest.raises(BrokerConfigError) as caught:
        structure_config(data, _Outer, "brokersync.toml")
    message = caught.value.message
    assert message.startswith("brokersync.toml has 9 mistakes:\n  name: 5 is no text\n")
    for part in (
        "name: 5 is no text",
        "inner[1].number: '1' is no whole number",
        "inner[1].flag: 1 is neither true nor false",
        "'number' is missing",
        "unknown 'numbre'",
        "wait: 'soon' is no duration",
        "price: 1.5 is no exact number",
        "number: True is no whole number",
        "unknown 'extra'",
    ):
        assert part in message


def test_the_path_leads_to_the_place_of_a_missing_or_unknown_name() -> None:
    with pytest.raises(BrokerConfigError, match=r"inner\[0\]: 'number' is missing"):
        structure_config({"name": "x", "inner": [{}]}, _Outer, "here")
    with pytest.raises(BrokerConfigError, match=r"table\[x\]\.number: 'a' is no whole number"):
        structure_config({"name": "x", "table": {"x": {"number": "a"}}}, _Outer, "here")


def test_a_right_configuration_passes() -> None:
    data = {"name": "x", "inner": [{"number": 1, "flag": True}], "wait": "5s", "price": "1.50"}
    assert structure_config(data, _Outer, "here") == _Outer(
        name="x", inner=(_Inner(number=1, flag=True),), wait=timedelta(seconds=5), price=Decimal("1.50")
    )


@pytest.mark.parametrize(
    ("data", "mistake"),
    [
        (None, "the whole: must be a table"),
        ([], "the whole: must be a table"),
        ("x", "the whole: must be a table"),
        ({"name": "x", "inner": "ab"}, "inner: must be a list"),
        ({"name": "x", "inner": 5}, "inner: must be a list"),
        ({"name": "x", "inner": [5]}, "inner[0]: must be a table"),
        ({"name": "x", "table": 5}, "table: must be a table"),
        ({"name": "x", "table": {"y": 5}}, "table[y]: must be a table"),
    ],
)
def test_a_configuration_of_the_wrong_shape_is_refused(data: Any, mistake: str) -> None:
    with pytest.raises(BrokerConfigError) as caught:
        structure_config(data, _Outer, "here")
    assert caught.value.message == f"here: {mistake}."


def test_a_secret_leaves_through_the_sealed_converter_only() -> None:
    auth = contract.AuthResult(identity="me", access_token=Secret("hidden-value"), secrets={"a": Secret("b")})
    with pytest.raises(TypeError, match="Secret"):
        to_json(auth)
    with pytest.raises(TypeError, match="Secret"):
        dumps({"deep": [auth]})
    assert SEALED.unstructure(auth)["access_token"] == "hidden-value"


def test_numbers_in_json_are_exact() -> None:
    assert loads_exact(b'{"a": 0.10, "b": 12345678901234567890, "c": 1e3}') == {
        "a": Decimal("0.10"),
        "b": 12345678901234567890,
        "c": Decimal("1e3"),
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1E+99999999999999999999, "b": 0.5}', {"a": "1E+99999999999999999999", "b": Decimal("0.5")}),
        (f"[{'9' * 5000}, 7]", ["9" * 5000, 7]),
        (r'{"a\ud800": ["\uDC00b", "\ud83d\ude00"]}', {"a\ufffd": ["\ufffdb", "\U0001f600"]}),
        (b'["a\xed\xa0\x80"]', ["a\ufffd"]),
        (r'["\\ud800"]', [r"\ud800"]),
    ],
)
def test_one_odd_value_does_not_take_its_answer_along(text: str | bytes, value: Any) -> None:
    assert loads_exact(text) == value


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}', "{", ""])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        loads_exact(text)


def test_canonical_json_has_one_form() -> None:
    assert dumps({"b": Decimal("1.50"), "a": ["ü", None]}) == '{"a":["ü",null],"b":"1.50"}'
    assert decimal_text(Decimal("1E+3")) == "1000"


@settings(deadline=None)
@given(_bookings())
def test_the_store_keeps_the_canonical_text_of_a_booking_without_its_raw_row(booking: contract.TradeBooking) -> None:
    text, digest = booking_content(booking)
    trade = None if booking.trade is None else attrs.evolve(booking.trade, raw={})
    kept = attrs.evolve(booking, trade=trade, raw={})
    assert json.loads(text) == {name: value for name, value in to_json(kept).items() if name != "raw"}
    assert text == dumps(json.loads(text)), "in the one form that has one text for one value"
    assert load_booking(text) == kept
    assert booking_content(load_booking(text)) == (text, digest)


@settings(deadline=None)
@given(_strategy(contract.BrokerTrade))
def test_the_store_keeps_the_canonical_text_of_a_trade(trade: contract.BrokerTrade) -> None:
    kept = attrs.evolve(trade, raw={})
    assert trade_content(trade) == dumps(kept)
    assert load_trade(dumps(kept)) == kept


@pytest.mark.parametrize("number", ["1E+2", "1E-7", "0E-10", "-1.5E+20", "100", "0.0000001"])
def test_a_number_has_one_text_in_the_store_however_it_was_written(number: str) -> None:
    trade = contract.BrokerTrade(
        provider="b", environment="live", account_id="A", trade_id="FEE-1", side=contract.Side.BUY,
        instrument=contract.Instrument(symbol="E+1", asset_class=contract.AssetClass.STOCK),
        quantity=Decimal(1), price=Decimal(number), executed_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    assert json.loads(trade_content(trade))["price"] == format(Decimal(number), "f")


def test_a_text_of_a_class_of_its_own_is_kept_as_text() -> None:
    class Name(str):
        __slots__ = ()

    booking = contract.TradeBooking(
        booking_id=Name("c1"), environment="live", account_id="A", effect=contract.BookingEffect.CANCEL
    )
    assert json.loads(booking_content(booking)[0])["booking_id"] == "c1"
