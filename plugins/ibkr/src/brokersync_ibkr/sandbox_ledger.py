"""The sandbox's books: logins, their accounts, and what these accounts have traded by a given instant."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import attrs

from brokersync.plugin import SandboxSettings
from brokersync_ibkr.sandbox_bookings import MAX_ACCOUNTS, Booking
from brokersync_ibkr.sandbox_calendar import business_days, local_day, newest_stated_day
from brokersync_ibkr.sandbox_plan import plan_day

_TOKEN_LIFE = timedelta(days=365)
_PREFIXES = {"live": "U", "paper": "DU"}
_ENVIRONMENTS = ("live", "paper")
_BASE_CURRENCIES = ("USD", "EUR")


@attrs.define(kw_only=True, eq=False)
class Account:
    """An account and its bookings, planned day by day as far as somebody asked."""

    number: str
    slot: int
    currency: str
    opened: date
    seed: int
    trades_per_day: float
    _planned: date = attrs.field(init=False)
    _by_report_date: defaultdict[date, list[Booking]] = attrs.field(init=False, factory=lambda: defaultdict(list))

    def __attrs_post_init__(self) -> None:
        # The day of opening has no trades: an execution on the evening before would lie outside the account's life.
        self._planned = self.opened

    def booked_on(self, day: date) -> list[Booking]:
        """What entered the books on that day, oldest execution first; the same list every time."""
        self._plan_until(day)
        return self._by_report_date.get(day, [])

    def statement_rows(self, first: date, last: date) -> list[Booking]:
        return [booking for day in business_days(first, last) for booking in self.booked_on(day)]

    def confirmed_on(self, day: date, now: datetime) -> list[Booking]:
        """The executions of that day that Trade Confirmation queries tell of by now."""
        return [row for row in self.booked_on(day) if row.confirmed_at is not None and row.confirmed_at <= now]

    def told_by(self, now: datetime) -> list[Booking]:
        """All that any query tells of by now: days that are stated, and confirmations of those that are not yet."""
        stated = newest_stated_day(now)
        rows = self.statement_rows(self.opened, stated)
        for day in business_days(stated + timedelta(days=1), local_day(now)):
            rows += self.confirmed_on(day, now)
        return rows

    def _plan_until(self, day: date) -> None:
        days = business_days(self._planned + timedelta(days=1), day)
        for planned in days:
            for booking in plan_day(
                seed=self.seed,
                account=self.number,
                slot=self.slot,
                base_currency=self.currency,
                day=planned,
                trades_per_day=self.trades_per_day,
            ):
                self._by_report_date[booking.report_date].append(booking)
        for planned in days:
            self._by_report_date[planned].sort(key=lambda row: (row.executed, int(row.transaction_id)))
        self._planned = max(day, self._planned)


def master_of(members: Sequence[Account]) -> str:
    """The id of the account that these are the sub-accounts of."""
    return members[0].number.replace("U", "F")


@attrs.frozen(kw_only=True)
class Login:
    """A user: one token, one query of each kind, and the accounts that both queries hold."""

    environment: str
    token: str = attrs.field(repr=False)
    token_ends: datetime
    activity_query_id: str
    confirmations_query_id: str
    accounts: tuple[Account, ...]

    @property
    def fields(self) -> Mapping[str, str]:
        """What a user types into the plugin's form."""
        return {
            "token": self.token,
            "activity_query_id": self.activity_query_id,
            "confirmations_query_id": self.confirmations_query_id,
        }


def open_logins(settings: SandboxSettings) -> tuple[Login, ...]:
    """The logins of a new sandbox, live and paper in turn; their accounts were opened `settings.days` ago."""
    if settings.logins * settings.accounts_per_login > MAX_ACCOUNTS:
        raise ValueError(f"the sandbox has room for {MAX_ACCOUNTS} accounts, not for more")
    now = settings.now()
    opened = local_day(now) - timedelta(days=settings.days)
    counts: dict[str, int] = defaultdict(int)
    logins: list[Login] = []
    for place in range(settings.logins):
        environment = _ENVIRONMENTS[place % 2]
        accounts: list[Account] = []
        for member in range(settings.accounts_per_login):
            counts[environment] += 1
            accounts.append(
                Account(
                    number=f"{_PREFIXES[environment]}{7_000_000 + counts[environment]}",
                    slot=place * settings.accounts_per_login + member,
                    currency=_BASE_CURRENCIES[member % 2],
                    opened=opened,
                    seed=settings.seed,
                    trades_per_day=settings.trades_per_day,
                )
            )
        rng = random.Random(f"{settings.seed}:login:{place}")
        query = 1_000_000 + place * 1000 + rng.randrange(499) * 2
        logins.append(
            Login(
                environment=environment,
                token=f"{rng.randrange(10**23, 10**24)}",
                token_ends=now + _TOKEN_LIFE,
                activity_query_id=str(query),
                confirmations_query_id=str(query + 1),
                accounts=tuple(accounts),
            )
        )
    return tuple(logins)


@attrs.frozen(kw_only=True)
class LiveTrade:
    """An execution that stands after all its bookings: the last one's content, and the costs of all."""

    booking: Booking
    commission: Decimal
    taxes: Decimal
    first_report: date

    @property
    def trade_id(self) -> str:
        """The id that all sources can tell: of the execution without its revision, else the trade's, else the row's."""
        row = self.booking
        if row.execution_id:
            return f"exec:{row.execution_id.rpartition('.')[0]}"
        return f"trade:{row.trade_id}" if row.trade_id else f"tx:{row.transaction_id}"

    def facts(self, stated: date) -> dict[str, object]:
        """The trade as JSON: costs with the broker's sign, so a commission that was paid is negative.

        `final` says whether Activity statements tell of it, not only confirmations.
        """
        row = self.booking
        return {
            "trade_id": self.trade_id,
            "ids": {
                "ibExecID": row.execution_id,
                "tradeID": row.trade_id,
                "transactionID": row.transaction_id,
                "ibOrderID": row.order_id,
            },
            "kind": row.kind,
            "symbol": row.contract.symbol,
            "conid": str(row.contract.conid),
            "asset_category": row.contract.category,
            "multiplier": plain(row.contract.multiplier),
            "currency": row.contract.currency,
            "side": row.side.lower(),
            "quantity": plain(abs(row.quantity)),
            "price": plain(row.price),
            "executed_at": f"{row.executed.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "trade_date": row.trade_date.isoformat(),
            "commission": plain(self.commission),
            "commission_currency": row.commission_currency,
            "taxes": plain(self.taxes),
            "final": self.first_report <= stated,
        }


def live_trades(rows: Iterable[Booking]) -> list[LiveTrade]:
    """The trades that stand after these rows, which come in the order they were booked."""
    chains: dict[str, list[Booking]] = defaultdict(list)
    for row in rows:
        chains[row.chain].append(row)
    return [
        LiveTrade(
            booking=last,
            commission=sum((row.commission for row in chain), Decimal(0)),
            taxes=sum((row.taxes for row in chain), Decimal(0)),
            first_report=chain[0].report_date,
        )
        for chain in chains.values()
        if (last := max(chain, key=lambda row: int(row.transaction_id))).voids is None
    ]


def plain(value: Decimal) -> str:
    """The shortest text of the exact value, without an exponent."""
    return f"{value.normalize():f}"
