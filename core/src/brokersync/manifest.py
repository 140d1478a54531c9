"""What is known of a broker without running its plugin's code: the contents of `provider.toml`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import attrs

from brokersync.levels import Level
from brokersync.limits import RateLimit, SessionLimit
from brokersync.maintenance import MaintenanceWindow
from brokersync.recorded_fields import RecordedFields

_KEY = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_SECRET_NAME = re.compile(r"password|secret|token|passphrase|private|api_?key", re.IGNORECASE)
_NONE: Mapping[str, Any] = MappingProxyType({})
_NOTHING_SAID = RecordedFields()


class AuthKind(StrEnum):
    PASSWORD = "password"  # noqa: S105  the name of a kind, not a password
    TOKEN = "token"  # noqa: S105  the name of a kind, not a token
    API_KEY = "api_key"
    OAUTH2 = "oauth2"
    NONE = "none"


class Retention(StrEnum):
    """How long a source keeps history; `limited` needs `look_back`."""

    SESSION = "session"
    LIMITED = "limited"
    UNLIMITED = "unlimited"


class SelectsBy(StrEnum):
    """Which time of a row decides whether a window holds it."""

    EXECUTED = "executed"
    BOOKED = "booked"


class SourceScope(StrEnum):
    """Whether one request answers for one account or for all accounts of the login."""

    ACCOUNT = "account"
    LOGIN = "login"


class CalendarUnit(StrEnum):
    """What windows are cut on: days that start at `day_starts`, or any instant."""

    DAY = "day"
    INSTANT = "instant"


@attrs.frozen(kw_only=True)
class Field:
    """Something a person gives, described well enough to draw a form. `format` is text, integer, date or choice.

    `auth` is the way to log in that it belongs to; without one it belongs to all.
    """

    name: str
    label: str
    help: str
    secret: bool = False
    required: bool = True
    format: str = "text"
    choices: tuple[str, ...] = ()
    pattern: str | None = None
    default: str | None = None
    auth: AuthKind | None = None

    def __attrs_post_init__(self) -> None:
        if self.format not in ("text", "integer", "date", "choice"):
            raise ValueError(f"field {self.name}: format {self.format!r} is none of text, integer, date, choice")
        if _SECRET_NAME.search(self.name) and not self.secret:
            raise ValueError(f"field {self.name} is named like a secret and must be marked secret = true")
        if (self.format == "choice") is not bool(self.choices):
            raise ValueError(f"field {self.name}: format choice and choices go together")
        if self.choices and self.default is not None and self.default not in self.choices:
            raise ValueError(f"field {self.name}: the default is none of the choices")
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise ValueError(f"field {self.name}: the pattern is no regular expression: {error}") from None

    def json_schema(self) -> dict[str, Any]:
        """The field as JSON Schema; a secret is `writeOnly`."""
        schema: dict[str, Any] = {"type": "string", "title": self.label, "description": self.help}
        if self.secret:
            schema |= {"writeOnly": True, "format": "password"}
        elif self.format == "date":
            schema["format"] = "date"
        pattern = self.pattern or (r"^-?\d+$" if self.format == "integer" else None)
        if pattern:
            schema["pattern"] = pattern
        if self.choices:
            schema["enum"] = list(self.choices)
        if self.default is not None:
            schema["default"] = self.default
        return schema


@attrs.frozen(kw_only=True)
class Calendar:
    """The zone and unit that windows are cut on; `day_starts` is the local hour and minute at which a day begins."""

    zone: str = "UTC"
    unit: CalendarUnit = CalendarUnit.DAY
    day_starts: str = "00:00"

    def __attrs_post_init__(self) -> None:
        if not _TIME_OF_DAY.fullmatch(self.day_starts):
            raise ValueError(f"day_starts is a time of day like 17:00, not {self.day_starts!r}")
        if self.zone != "UTC" and not _is_zone(self.zone):
            raise ValueError(f"the zone {self.zone!r} is unknown")


@attrs.frozen(kw_only=True)
class Reread:
    """Once in `every` a sync reads again from `back` behind on, whatever is covered there."""

    every: timedelta
    back: timedelta


@attrs.frozen(kw_only=True)
class SourceSpec:
    """One way a broker gives trades.

    `precedence`: where two sources tell of one row, the higher wins; of several with one precedence, which give a row
    one id, the one whose row the broker made later. `finality_lag`: how long after a day's end it can be read as final.
    `open_day`: whether the running day can be asked for at all. `reread`: how far behind the covered end each sync
    reads again, for corrections, and `rereads` now and then from farther behind. `look_back`: how far back to look when
    the account's opening is unknown, and with retention `limited` how far the source reaches, in whole days where its
    calendar counts in days. `files`: the source is a file that a user gives, and is never planned. `covers`: whether
    what it gives can prove days to be complete; a file that may leave rows out without saying so can not. `withdraws`:
    what it alone tells is taken back where a source that counts more has read its day and five more for good.
    `books_on_trade_date`: it tells a trade on the day that is the trade's `trade_date`, or on the working day after a
    weekend; once it has read that day for good, nobody waits five more. `needs_field`: the optional field of the user
    without which a login does not have the source, so that whoever misses it is told what to give.
    """

    name: str
    precedence: int
    retention: Retention = Retention.UNLIMITED
    scope: SourceScope = SourceScope.ACCOUNT
    selects_by: SelectsBy = SelectsBy.EXECUTED
    calendar: Calendar = Calendar()
    longest_window: timedelta | None = None
    look_back: timedelta | None = None
    finality_lag: timedelta = timedelta(0)
    reread: timedelta = timedelta(0)
    rereads: tuple[Reread, ...] = ()
    open_day: bool = True
    files: bool = False
    covers: bool = True
    withdraws: bool = False
    books_on_trade_date: bool = False
    needs_field: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.retention is Retention.LIMITED and self.look_back is None:
            raise ValueError(f"source {self.name}: retention limited needs look_back")


@attrs.frozen(kw_only=True)
class Label:
    """Another name that the broker's service is sold under: who asks for `key` gets the broker, called by that name."""

    key: str
    display_name: str


@attrs.frozen(kw_only=True)
class Manifest:
    """`provider.toml`. `contract` is the contract's number the plugin was written for; `hosts` maps roles to base URLs,
    `host_patterns` the hosts a role may move to at run time; `pages` are the roles that only a user's browser goes to.
    `sandbox` names the factory of a simulated broker.
    `maintenance`: when the broker is closed regularly, and no sync begins by itself unless something would be lost.
    `one_login`: one login of a user serves all environments, and its tokens are shared by them.
    `sessions`: how many a login may have, and no two of its owners renew one at the same time.
    `setup`: what a user does at the broker before connecting, step by step.
    `labels`: under which other names the same service is sold.
    `renew_before`: how long before its end a token is renewed, where the settings would renew it later.
    `recording`: which fields may stay in a recording. `suite` names the plugin's class of the contract suite, and
    `claims` the quality level that its authors say it has, which `brokersync verify` finds out."""

    key: str
    display_name: str
    contract: int
    environments: tuple[str, ...]
    auth: tuple[AuthKind, ...]
    sources: tuple[SourceSpec, ...]
    licence: str
    docs: str
    support: str
    user_fields: tuple[Field, ...] = ()
    operator_fields: tuple[Field, ...] = ()
    hosts: Mapping[str, str] = _NONE
    host_patterns: Mapping[str, tuple[str, ...]] = _NONE
    pages: tuple[str, ...] = ()
    limits: tuple[RateLimit, ...] = ()
    maintenance: tuple[MaintenanceWindow, ...] = ()
    capabilities: tuple[str, ...] = ()
    transport: str = "http"
    sandbox: str | None = None
    one_login: bool = False
    sessions: SessionLimit | None = None
    setup: tuple[str, ...] = ()
    labels: tuple[Label, ...] = ()
    renew_before: timedelta = timedelta(0)
    recording: RecordedFields = _NOTHING_SAID
    suite: str | None = None
    claims: Level | None = None

    def __attrs_post_init__(self) -> None:
        for key in (self.key, *(label.key for label in self.labels)):
            if not _KEY.fullmatch(key):
                raise ValueError(f"the key {key!r} is not lower-case letters, digits and single dashes")
        for what, names in (
            ("labels", [self.key, *(label.key for label in self.labels)]),
            ("sources", [source.name for source in self.sources]),
            ("environments", list(self.environments)),
            ("user_fields", [field.name for field in self.user_fields]),
            ("operator_fields", [field.name for field in self.operator_fields]),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"{what} has a name twice")
            if not names and what in ("sources", "environments"):
                raise ValueError(f"{what} is empty")
        if unknown := [role for role in self.pages if role not in self.hosts]:
            raise ValueError(f"pages names {unknown[0]!r}, which is no role in hosts")
        for source in self.sources:
            if source.needs_field and source.needs_field not in [field.name for field in self.user_fields]:
                raise ValueError(f"source {source.name} needs the field {source.needs_field!r}, which no user gives")
        if self.sessions and self.sessions.named_by not in [field.name for field in self.login_fields]:
            raise ValueError(f"sessions.named_by is {self.sessions.named_by!r}, which is no field of a login")

    def source(self, name: str) -> SourceSpec:
        """Raises `KeyError` for a source that is not declared."""
        return {source.name: source for source in self.sources}[name]

    def under(self, key: str) -> Manifest | None:
        """The same broker called by the name of its label `key`; `None` where it has no such label."""
        names = [label.display_name for label in self.labels if label.key == key]
        return attrs.evolve(self, display_name=names[0]) if names else None

    @property
    def consents(self) -> bool:
        """Whether a user can log in at the broker's own page."""
        return AuthKind.OAUTH2 in self.auth

    @property
    def only_consents(self) -> bool:
        """Whether that is the only way in."""
        return self.consents and len(self.auth) == 1

    @property
    def login_fields(self) -> tuple[Field, ...]:
        """What a user gives to log in with, where they do not do so at the broker's own page."""
        return tuple(field for field in self.user_fields if field.auth is not AuthKind.OAUTH2)

    @property
    def consent_fields(self) -> tuple[Field, ...]:
        """What a user gives before they log in at the broker's own page."""
        return tuple(field for field in self.user_fields if field.auth in (None, AuthKind.OAUTH2))

    def form(self, *, consent: bool = False) -> dict[str, Any]:
        """The user's fields as JSON Schema, so that a backend can draw its form; those of `consent` come before one.

        The steps of `setup` describe it.
        """
        fields = self.consent_fields if consent else self.login_fields
        steps = {"description": "\n".join(numbered(self.setup))} if self.setup else {}
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": self.display_name,
            **steps,
            "type": "object",
            "properties": {field.name: field.json_schema() for field in fields},
            "required": [field.name for field in fields if field.required],
            "additionalProperties": False,
        }


def numbered(steps: Sequence[str]) -> list[str]:
    """The steps as they are shown to a person."""
    return [f"{number}. {step}" for number, step in enumerate(steps, 1)]


def parse_manifests(text: str, where: str) -> tuple[Manifest, ...]:
    """The manifests in the text of a `provider.toml`: one broker, or a family's `[[brokers]]` over shared defaults.

    Raises `BrokerConfigError` that names `where` and every mistake.
    """
    from brokersync.converter import structure_config  # cattrs is paid for only when a manifest is read
    from brokersync.errors import BrokerConfigError

    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BrokerConfigError(f"{where} is not TOML: {error}.") from None
    members = data.pop("brokers", None)
    if members is None:
        return (structure_config(data, Manifest, where),)
    if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
        raise BrokerConfigError(f"{where}: brokers must be a list of tables, each [[brokers]].")
    return tuple(structure_config(data | member, Manifest, where) for member in members)


def _is_zone(name: str) -> bool:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True
