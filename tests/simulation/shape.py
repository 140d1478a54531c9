"""What kind of broker a seed gets, and what weather: everything that is drawn once, before anything happens."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Final, Self

import attrs

from brokersync.enums import AssetClass
from brokersync.manifest import (
    AuthKind,
    Calendar,
    CalendarUnit,
    Field,
    Manifest,
    Retention,
    SelectsBy,
    SourceScope,
    SourceSpec,
)

KEY: Final = "model"
START: Final = datetime(2026, 3, 5, tzinfo=UTC)  # New York puts its clocks forward on the eighth
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
LONGEST_DAY: Final = timedelta(hours=25)
SINCE: Final = START - 2 * DAY
STOCK: Final = AssetClass.STOCK

_KINDS: Final = (("daily", "reports"), ("daily", "history"), ("history",), ("stream",), ("reports",), ("daily",))
_CALENDARS: Final = (
    Calendar(),
    Calendar(zone="America/New_York", day_starts="17:00"),
    Calendar(zone="Europe/Berlin"),
)


@attrs.frozen(kw_only=True)
class Shape:
    """One kind of broker.

    `lag`: until so long after a day's end its executions may still be booked, never later. `named`: rows have ids;
    without them a fee that comes late changes its row in place. `ordered`: the broker numbers its rows for us.
    `parts`: each row's fee adds to the others'. `renames`: the session's list calls rows otherwise than the reports.
    `sort`: how a reading is ordered. `overlap`: rows that a page repeats from the one before. `refresh`: refresh tokens
    for one use, lasting ones that a renewal does not repeat, or none. `one_login`: a login serves two environments.
    `digests`: of a longer window the broker never gets done.
    """

    sources: tuple[str, ...]
    calendar: Calendar
    lag: timedelta
    reread: timedelta
    look_back: timedelta | None
    longest: timedelta | None
    scope: SourceScope
    named: bool
    ordered: bool
    parts: bool
    renames: bool
    page: int
    sort: str
    overlap: int
    token_lasts: timedelta
    refresh: str
    one_login: bool
    digests: timedelta | None

    @classmethod
    def draw(cls, chance: random.Random) -> Self:
        sources = chance.choice(_KINDS)
        named = "stream" in sources or "daily" in sources or chance.random() < 0.4
        return cls(
            sources=sources,
            calendar=chance.choice(_CALENDARS),
            lag=chance.choice((HOUR, 6 * HOUR, 26 * HOUR)),
            reread=chance.choice((timedelta(0), DAY, 3 * DAY)),
            look_back=chance.choice((None, None, 3 * DAY)),
            longest=chance.choice((None, None, DAY, 2 * DAY)),
            scope=chance.choice((SourceScope.ACCOUNT, SourceScope.LOGIN)),
            named=named,
            ordered=named and chance.random() < 0.6,
            parts=named and chance.random() < 0.3,
            renames=chance.random() < 0.5,
            page=chance.choice((2, 3, 5)),
            sort=chance.choice(("time", "newest", "scrambled")),
            overlap=chance.choice((0, 0, 1)) if named else 0,
            token_lasts=chance.choice((HOUR, 5 * HOUR, 20 * HOUR)),
            refresh=chance.choice(("rotating", "rotating", "lasting", "none")),
            one_login=chance.random() < 0.4,
            digests=chance.choice((None, None, None, LONGEST_DAY, 2 * DAY)),
        )

    @property
    def in_place(self) -> bool:
        """Whether a row may change where it stands: what is only read once, by a growing id, can not."""
        return "history" in self.sources or "reports" in self.sources

    def manifest(self) -> Manifest:
        return Manifest(
            key=KEY,
            display_name="Model",
            contract=1,
            environments=("live", "demo"),
            auth=(AuthKind.PASSWORD if self.refresh == "none" else AuthKind.OAUTH2,),
            sources=tuple(self._source(name) for name in self.sources),
            licence="Apache-2.0",
            docs="https://model.example/docs",
            support="https://model.example/help",
            user_fields=(
                Field(name="user", label="User", help="Who logs in."),
                Field(name="password", label="Password", help="A password, or a code for one login.", secret=True),
            ),
            transport="calls inside the simulation",
            one_login=self.one_login,
        )

    def _source(self, name: str) -> SourceSpec:
        return {
            "daily": SourceSpec(
                name="daily",
                precedence=1,
                retention=Retention.SESSION,
                scope=SourceScope.LOGIN,
                selects_by=SelectsBy.BOOKED,
                calendar=self.calendar,
            ),
            "reports": SourceSpec(
                name="reports",
                precedence=2,
                retention=Retention.LIMITED if self.look_back else Retention.UNLIMITED,
                look_back=self.look_back or 6 * DAY,
                scope=self.scope,
                calendar=self.calendar,
                longest_window=self.longest,
                finality_lag=self.lag,
                reread=self.reread,
                open_day=False,
            ),
            "history": SourceSpec(
                name="history",
                precedence=2,
                retention=Retention.LIMITED if self.look_back else Retention.UNLIMITED,
                look_back=self.look_back or 6 * DAY,
                scope=SourceScope.ACCOUNT,
                calendar=self.calendar,
                longest_window=self.longest,
                finality_lag=self.lag,
                reread=self.reread,
            ),
            "stream": SourceSpec(
                name="stream",
                precedence=2,
                scope=SourceScope.LOGIN,
                selects_by=SelectsBy.BOOKED,
                calendar=Calendar(unit=CalendarUnit.INSTANT),
                look_back=6 * DAY,
            ),
        }[name]


@attrs.frozen(kw_only=True)
class Weather:
    """How often what goes wrong; chances are per request, counts are of the whole seed.

    `by_the_clock`: all workers begin their runs at the same hours, as cron has it. `keeps`: what is older is pruned."""

    down: float
    lost: float
    refused: float
    limited: float
    forgotten: float
    deadly: float
    crashes: int
    stops: int
    leaps: int
    collapses: int
    revocations: int
    workers: int
    by_the_clock: bool
    keeps: timedelta | None

    @classmethod
    def draw(cls, chance: random.Random) -> Self:
        rough = chance.choice((0.0, 0.5, 1.0))
        return cls(
            down=0.06 * rough,
            lost=0.05 * rough,
            refused=0.02 * rough,
            limited=0.03 * rough,
            forgotten=0.03 * rough,
            deadly=chance.choice((0.0, 0.02, 0.1)),
            crashes=chance.choice((0, 1, 3, 6)),
            stops=chance.choice((0, 3)),
            leaps=chance.choice((0, 0, 2)),
            collapses=chance.choice((0, 0, 1, 2)),
            revocations=chance.choice((0, 0, 0, 1)),
            workers=chance.choice((1, 2, 2)),
            by_the_clock=chance.random() < 0.4,
            keeps=chance.choice((None, 5 * HOUR, 20 * HOUR)),
        )
