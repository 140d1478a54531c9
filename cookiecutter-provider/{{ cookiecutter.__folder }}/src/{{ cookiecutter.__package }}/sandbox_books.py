"""The people of the simulated broker and what they traded: the same seed and clock give the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random

import attrs

from brokersync.plugin import SandboxSettings
{% if cookiecutter.auth_kind != "password" %}
from {{ cookiecutter.__package }}.diagnosis import NEEDED
{% endif %}
from {{ cookiecutter.__package }}.sandbox_facts import ENVIRONMENTS

_DAY = timedelta(days=1)
_DAY_IN_MILLISECONDS = 86_400_000
# ids beyond 2**53, which a float can not hold
_FIRST_ID = 2**60
# FILL IN: what is traded, a name and the broker's type of each
_SYMBOLS = (("ACME", "STOCK"), ("GLOBEX", "STOCK"), ("WORLD", "ETF"))


@attrs.frozen
class Account:
    id: int
    name: str
    opened_at: datetime


@attrs.frozen
class User:
    """Somebody's login in one environment; whoever has one in another, too, is another user there."""

    id: int
    environment: str
    name: str
    secret: str
{% if cookiecutter.auth_kind != "password" %}
    rights: tuple[str, ...]
{% endif %}
    accounts: tuple[Account, ...]


@attrs.frozen
class Execution:
    id: int
    symbol: str
    type: str
    side: str
    quantity: Decimal
    price: Decimal
    commission: Decimal
    at: datetime

    @property
    def order_id(self) -> int:
        return self.id // 10

    # FILL IN: the names and forms of an execution; where the broker corrects or cancels, let some do so
    def row(self) -> dict[str, object]:
        """As the broker writes it; numbers are text, in which no digit is lost."""
        return {
            "id": self.id,
            "orderId": self.order_id,
            "symbol": self.symbol,
            "type": self.type,
            "currency": "USD",
            "side": self.side,
            "quantity": str(self.quantity),
            "price": str(self.price),
            "commission": str(self.commission),
            "time": self.at.isoformat(timespec="milliseconds"),
        }


class Books:
    """Users with accounts, which were opened `settings.days` ago and trade from then on."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._first = (settings.now() - timedelta(days=settings.days)).date()
        self.users = tuple(
            self._user(environment, index * settings.logins + number)
            for index, environment in enumerate(ENVIRONMENTS)
            for number in range(1, settings.logins + 1)
        )

    def executions(self, account: Account) -> list[Execution]:
        """All until now, oldest first."""
        now = self._settings.now()
        days = (now.date() - self._first).days + 1
        found = (one for n in range(days) for one in self._of_day(account, self._first + n * _DAY))
        return [one for one in found if one.at <= now]

    def _user(self, environment: str, number: int) -> User:
        opened_at = datetime.combine(self._first, time(), UTC)
        accounts = tuple(
            Account(number * 100 + n, f"Account {n}", opened_at)
            for n in range(1, self._settings.accounts_per_login + 1)
        )
        return User(
            id=number,
            environment=environment,
            name=f"trader-{number}",
            secret=f"secret-of-trader-{number}",
{% if cookiecutter.auth_kind != "password" %}
            rights=NEEDED,
{% endif %}
            accounts=accounts,
        )

    def _of_day(self, account: Account, day: date) -> Iterator[Execution]:
        random = Random(f"{self._settings.seed} {account.id} {day}")
        mean = self._settings.trades_per_day
        count = int(mean) + (random.random() < mean % 1)
        moments = sorted(random.randrange(_DAY_IN_MILLISECONDS) for _ in range(count))
        for number, milliseconds in enumerate(moments):
            symbol, kind = random.choice(_SYMBOLS)
            yield Execution(
                id=_FIRST_ID + (account.id * 1_000_000 + day.toordinal()) * 10_000 + number,
                symbol=symbol,
                type=kind,
                side=random.choice(("BUY", "SELL")),
                quantity=Decimal(random.randrange(1, 5_000)).scaleb(-1),
                price=Decimal(random.randrange(10_000, 900_000)).scaleb(-3),
                commission=Decimal(random.randrange(-20, 200)).scaleb(-2),
                at=datetime.combine(day, time(), UTC) + timedelta(milliseconds=milliseconds),
            )
