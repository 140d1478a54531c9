from __future__ import annotations

from typing import Any

import pytest

from brokersync.errors import BrokerConfigError, Fault
from brokersync.fields import read_fields
from brokersync.manifest import Field
from brokersync.secret import Secret


def field(name: str = "account", **facts: Any) -> Field:
    return Field(name=name, label="Label", help="Six digits.", **facts)


def read(fields: list[Field], **given: Any) -> dict[str, str]:
    return read_fields(fields, given, provider="broker", fault=Fault.USER)


def test_values_come_back_by_name() -> None:
    assert read([field(), field("day", format="date")], account=" 12 ", day="2026-01-31") == {
        "account": "12",
        "day": "2026-01-31",
    }


def test_a_secret_keeps_the_blanks_around_it() -> None:
    secret = field("password", secret=True)
    assert read([secret], password=" x ") == {"password": " x "}
    assert read([secret], password=Secret(" y ")) == {"password": " y "}


@pytest.mark.parametrize("blank", [None, "", "  "])
def test_a_blank_optional_field_takes_its_default_or_is_left_out(blank: str | None) -> None:
    given = {} if blank is None else {"account": blank}
    assert read([field(required=False)], **given) == {}
    assert read([field(required=False, default="7")], **given) == {"account": "7"}
    assert read([field(default="7")], **given) == {"account": "7"}


@pytest.mark.parametrize(
    ("facts", "value", "mistake"),
    [
        ({}, "", "account is missing"),
        ({}, 12, "account must be text"),
        ({"format": "integer"}, "1.5", "account must be a whole number"),
        ({"format": "date"}, "31.01.2026", "account must be a date like 2026-01-31"),
        ({"format": "choice", "choices": ("a", "b")}, "hidden-value", "account must be one of a, b"),
        ({"pattern": "^[0-9]{6}$"}, "hidden-value", "account does not look right; Six digits."),
    ],
)
def test_a_mistake_is_named_and_its_value_is_not_shown(facts: dict[str, Any], value: Any, mistake: str) -> None:
    with pytest.raises(BrokerConfigError) as caught:
        read([field(**facts)], account=value)
    assert mistake in caught.value.message
    assert "hidden-value" not in str(caught.value)
    assert caught.value.fault is Fault.USER
    assert caught.value.provider == "broker"


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(BrokerConfigError) as caught:
        read([field(), field("password", secret=True)], pasword="x")
    message = caught.value.message
    assert "pasword is unknown; account is missing; password is missing" in message
    assert "account, password" in caught.value.remedy


def test_a_pattern_is_searched_for_as_in_json_schema() -> None:
    assert read([field(pattern="[0-9]")], account="a1b") == {"account": "a1b"}


def test_fields_that_take_nothing_say_so() -> None:
    with pytest.raises(BrokerConfigError, match="Its fields are: none"):
        read([], account="1")
