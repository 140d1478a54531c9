from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from brokersync.errors import BrokerConfigError, LimitScope
from brokersync.limits import LimitKind, SessionLimit
from brokersync.manifest import (
    AuthKind,
    Calendar,
    CalendarUnit,
    Field,
    Retention,
    SelectsBy,
    SourceScope,
    SourceSpec,
    parse_manifests,
)

TEXT = """
key = "made-up"
display_name = "Made Up"
contract = 1
environments = ["live", "demo"]
auth = ["token"]
licence = "MIT"
docs = "https://broker.example/docs"
support = "https://broker.example/help"
capabilities = ["accounts"]

[hosts]
api = "https://api.broker.example"

[host_patterns]
api = ["*.broker.example"]

[[user_fields]]
name = "access_token"
label = "Token"
help = "From the settings page."
secret = true

[[user_fields]]
name = "query_id"
label = "Query"
help = "A number."
format = "integer"

[[user_fields]]
name = "region"
label = "Region"
help = "Where the account is."
format = "choice"
choices = ["us", "eu"]
default = "us"
required = false

[[operator_fields]]
name = "client_id"
label = "Client"
help = "From the broker."

[[limits]]
scope = "credential"
amount = 10
period = "1m"
source = "measured"
operations = ["report"]

[[sources]]
name = "fills"
precedence = 1
retention = "limited"
look_back = "7d"
scope = "login"
selects_by = "booked"
calendar = { zone = "America/New_York", day_starts = "18:00" }
longest_window = "365d"
finality_lag = "36h"
reread = "10d"
open_day = false
"""


def changed(old: str, new: str) -> str:
    assert TEXT.count(old) == 1
    return TEXT.replace(old, new)


def test_a_manifest_tells_all_that_is_known_without_code() -> None:
    (manifest,) = parse_manifests(TEXT, "provider.toml")
    assert (manifest.key, manifest.contract, manifest.environments) == ("made-up", 1, ("live", "demo"))
    assert manifest.auth == (AuthKind.TOKEN,)
    assert manifest.hosts == {"api": "https://api.broker.example"}
    assert manifest.host_patterns == {"api": ("*.broker.example",)}
    assert (manifest.transport, manifest.one_login) == ("http", False)
    assert [field.name for field in manifest.operator_fields] == ["client_id"]
    (limit,) = manifest.limits
    assert (limit.scope, limit.amount, limit.period) == (LimitScope.CREDENTIAL, 10, timedelta(minutes=1))
    assert (limit.kind, limit.applies_to("report"), limit.applies_to("login")) == (LimitKind.WINDOW, True, False)
    assert manifest.source("fills") == SourceSpec(
        name="fills",
        precedence=1,
        retention=Retention.LIMITED,
        look_back=timedelta(days=7),
        scope=SourceScope.LOGIN,
        selects_by=SelectsBy.BOOKED,
        calendar=Calendar(zone="America/New_York", unit=CalendarUnit.DAY, day_starts="18:00"),
        longest_window=timedelta(days=365),
        finality_lag=timedelta(hours=36),
        reread=timedelta(days=10),
        open_day=False,
    )
    with pytest.raises(KeyError):
        manifest.source("other")


def test_the_users_fields_are_a_form_in_json_schema() -> None:
    (manifest,) = parse_manifests(TEXT, "provider.toml")
    form = manifest.form()
    assert json.loads(json.dumps(form)) == form
    assert form["title"] == "Made Up"
    assert form["required"] == ["access_token", "query_id"]
    assert form["additionalProperties"] is False
    assert form["properties"] == {
        "access_token": {
            "type": "string",
            "title": "Token",
            "description": "From the settings page.",
            "writeOnly": True,
            "format": "password",
        },
        "query_id": {"type": "string", "title": "Query", "description": "A number.", "pattern": r"^-?\d+$"},
        "region": {
            "type": "string",
            "title": "Region",
            "description": "Where the account is.",
            "enum": ["us", "eu"],
            "default": "us",
        },
    }


def test_what_a_user_does_at_the_broker_first_describes_the_form() -> None:
    (manifest,) = parse_manifests('setup = ["Make a key.", "Copy it."]\n' + TEXT, "provider.toml")
    assert manifest.form()["description"] == "1. Make a key.\n2. Copy it."
    (plain,) = parse_manifests(TEXT, "provider.toml")
    assert "description" not in plain.form()


def test_a_label_names_the_broker_and_has_a_key_of_its_own() -> None:
    labels = '[[labels]]\nkey = "sold-as"\ndisplay_name = "Sold As"\n'
    (manifest,) = parse_manifests(TEXT + labels, "provider.toml")
    found = manifest.under("sold-as")
    assert found is not None
    assert (found.key, found.display_name) == (manifest.key, "Sold As")
    assert manifest.under("other") is None
    for wrong, words in (
        (labels.replace("sold-as", "Sold As", 1), "the key 'Sold As'"),
        (labels + labels, "a name twice"),
    ):
        with pytest.raises(BrokerConfigError, match=words):
            parse_manifests(TEXT + wrong, "provider.toml")


def test_dates_and_patterns_are_part_of_the_form() -> None:
    day = Field(name="day", label="Day", help="First day.", format="date", pattern="^20")
    assert day.json_schema() == {
        "type": "string",
        "title": "Day",
        "description": "First day.",
        "format": "date",
        "pattern": "^20",
    }


def test_a_family_shares_what_is_written_once() -> None:
    shared, sources = TEXT.replace('key = "made-up"\ndisplay_name = "Made Up"\n', "").split("[[sources]]")
    text = (
        f"{shared}[[sources]]{sources}\n"
        '[[brokers]]\nkey = "one"\ndisplay_name = "One"\n'
        '[[brokers]]\nkey = "two"\ndisplay_name = "Two"\nenvironments = ["demo"]\n'
    )
    one, two = parse_manifests(text, "provider.toml")
    assert (one.key, one.environments) == ("one", ("live", "demo"))
    assert (two.key, two.environments) == ("two", ("demo",))
    assert one.sources == two.sources


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("key = ", "is not TOML"),
        ("brokers = 5", "brokers must be a list of tables"),
        ("brokers = [5]", "brokers must be a list of tables"),
        (changed('key = "made-up"', 'key = "Made Up"'), "the key 'Made Up' is not lower-case"),
        (changed('key = "made-up"', ""), "'key' is missing"),
        (changed("contract = 1", 'contract = "0"'), "contract: '0' is no whole number"),
        (changed('environments = ["live", "demo"]', "environments = []"), "environments is empty"),
        (changed('environments = ["live", "demo"]', 'environments = "live"'), "environments: must be a list"),
        (changed('environments = ["live", "demo"]', 'environments = ["a", "a"]'), "environments has a name twice"),
        (changed('name = "query_id"', 'name = "access_token"\nsecret = true'), "user_fields has a name twice"),
        (
            changed('auth = ["token"]', 'auth = ["magic"]'),
            "auth[0]: 'magic' is none of password, token, api_key, oauth2, none",
        ),
        (
            changed('name = "access_token"', 'name = "query_token"').replace("secret = true", ""),
            "must be marked secret",
        ),
        (changed('format = "integer"', 'format = "number"'), "'number' is none of text, integer, date, choice"),
        (changed('choices = ["us", "eu"]\n', ""), "format choice and choices go together"),
        (changed('default = "us"', 'default = "asia"'), "the default is none of the choices"),
        (changed('format = "integer"', 'pattern = "["'), "the pattern is no regular expression"),
        (changed('period = "1m"', 'period = "soon"'), "limits[0].period: 'soon' is no duration"),
        (changed("amount = 10", "amount = 0"), "limits[0].amount: amount must be above zero"),
        (changed("amount = 10", f"amount = 1{'0' * 26}"), "limits[0].amount: amount must be at most 1000000000"),
        (
            changed('operations = ["report"]', 'operations = [""]'),
            "limits[0].operations: operations has an empty name; leave operations out for all of them",
        ),
        (changed('look_back = "7d"\n', ""), "retention limited needs look_back"),
        (changed('zone = "America/New_York"', 'zone = "America/Nowhere"'), "the zone 'America/Nowhere' is unknown"),
        (changed('day_starts = "18:00"', 'day_starts = "25:00"'), "day_starts is a time of day"),
        (changed("open_day = false", 'needs_field = "number"'), "needs the field 'number', which no user gives"),
        (changed("open_day = false", "openday = false"), "sources[0]: unknown 'openday'"),
        (changed('[hosts]\napi = "https://api.broker.example"', "hosts = 5"), "hosts: must be a table"),
    ],
)
def test_a_mistake_in_a_manifest_is_named_with_its_place(text: str, mistake: str) -> None:
    with pytest.raises(BrokerConfigError) as caught:
        parse_manifests(text, "provider.toml")
    assert caught.value.message.startswith("provider.toml")
    assert mistake in caught.value.message


def test_all_mistakes_are_named_at_once() -> None:
    text = TEXT.replace("contract = 1", "contract = true").replace('licence = "MIT"', "licence = 5")
    with pytest.raises(BrokerConfigError) as caught:
        parse_manifests(text, "provider.toml")
    assert "contract" in caught.value.message
    assert "licence" in caught.value.message


@pytest.mark.parametrize(
    "name", ["password", "clientSecret", "access_token", "passphrase", "private_pem", "apikey", "api_key"]
)
def test_a_field_named_like_a_secret_must_be_one(name: str) -> None:
    facts: dict[str, Any] = {"name": name, "label": "L", "help": "H"}
    with pytest.raises(ValueError, match="must be marked secret"):
        Field(**facts)
    assert Field(**facts, secret=True).json_schema()["writeOnly"] is True


SESSIONS = """
[sessions]
most = 2
lasts = "90m"
named_by = "query_id"
"""


def test_sessions_are_named_by_a_field_that_a_user_logs_in_with() -> None:
    (manifest,) = parse_manifests(TEXT + SESSIONS, "provider.toml")
    assert manifest.sessions == SessionLimit(most=2, lasts=timedelta(minutes=90), named_by="query_id")
    with pytest.raises(BrokerConfigError, match="named_by is 'client_id', which is no field of a login"):
        parse_manifests(TEXT + SESSIONS.replace("query_id", "client_id"), "provider.toml")


@pytest.mark.parametrize(("good", "wrong"), [("most = 2", "most = 0"), ('"90m"', '"0s"')])
def test_no_session_at_all_is_no_number_of_sessions(good: str, wrong: str) -> None:
    with pytest.raises(BrokerConfigError, match=r"must be (above zero|longer than nothing)"):
        parse_manifests(TEXT + SESSIONS.replace(good, wrong), "provider.toml")
