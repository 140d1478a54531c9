"""The simulated exchange: its sessions, products and contracts, and the ids that each environment gives them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import attrs

_CHICAGO = ZoneInfo("America/Chicago")
_ROLL = time(17)
_SESSION_LENGTH = timedelta(hours=23)
_MONTH_LETTERS = "HMUZ"
_DAYS_BEFORE_EXPIRY = timedelta(days=8)
_CURRENCIES = {
    "live": {"USD": 1, "EUR": 2, "CAD": 5, "CHF": 9},
    "demo": {"USD": 1, "EUR": 14, "CAD": 3, "CHF": 2},
}


def session_of(moment: datetime) -> date:
    """The trade date of a moment: sessions roll at 17:00 in Chicago, and what lies in a weekend is Monday's."""
    local = moment.astimezone(_CHICAGO)
    return trading_day(local.date() + timedelta(days=1 if local.time() >= _ROLL else 0))


def trading_day(day: date) -> date:
    """The day itself, or the Monday after it."""
    return day + timedelta(days=7 - day.weekday()) if day.weekday() >= 5 else day


def next_session(day: date) -> date:
    return trading_day(day + timedelta(days=1))


def previous_session(day: date) -> date:
    return day - timedelta(days=3 if day.weekday() == 0 else 1)


def opens(day: date) -> datetime:
    return datetime.combine(day - timedelta(days=1), _ROLL, _CHICAGO).astimezone(UTC)


def closes(day: date) -> datetime:
    return opens(day) + _SESSION_LENGTH


@attrs.frozen(kw_only=True, eq=False)
class Product:
    """`level` and `swing` are its usual price and how far it moves, in ticks; `fees` are for one contract."""

    index: int
    name: str
    description: str
    currency: str
    value_per_point: Decimal
    tick: Decimal
    level: int
    swing: int
    fees: tuple[tuple[str, Decimal], ...]
    product_type: str = "Futures"
    fractional: bool = False

    @property
    def price_format(self) -> int:
        return -6 if self.fractional else -2

    def price_ticks(self, day: date) -> int:
        """Where the price stands on a day: a slow triangle around the level."""
        return self.level + (abs(day.toordinal() % 200 - 100) - 50) * self.swing // 50


def _fees(**amounts: str) -> tuple[tuple[str, Decimal], ...]:
    return tuple((kind, Decimal(amount)) for kind, amount in amounts.items())


def _products() -> Iterator[Product]:
    quarter, five, two, twenty, fifty = (Decimal(number) for number in ("0.25", "5", "2", "20", "50"))
    micro = _fees(commission="0.37", exchangeFee="0.36", clearingFee="0.19", nfaFee="0.02")
    mini = _fees(commission="1.27", exchangeFee="1.41", clearingFee="0.23", nfaFee="0.02")
    routed = (*mini, *_fees(brokerageFee="0.125", orderRoutingFee="0.05"))
    yield Product(
        index=0, name="MES", description="Micro S&P 500", currency="USD", fees=micro,
        value_per_point=five, tick=quarter, level=24_400, swing=1_200,
    )  # fmt: skip  # a table reads better in three lines
    yield Product(
        index=1, name="MNQ", description="Micro NASDAQ, 100 shares", currency="USD", fees=micro,
        value_per_point=two, tick=quarter, level=86_000, swing=4_400,
    )  # fmt: skip  # a table reads better in three lines
    yield Product(
        index=2, name="NQ", description="Mini NASDAQ, 100 shares", currency="USD", fees=mini,
        value_per_point=twenty, tick=quarter, level=86_000, swing=4_400,
    )  # fmt: skip  # a table reads better in three lines
    yield Product(
        index=3, name="ES", description="Mini S&P 500", currency="USD", fees=routed,
        value_per_point=fifty, tick=quarter, level=24_400, swing=1_200,
    )  # fmt: skip  # a table reads better in three lines
    yield Product(
        index=4, name="FDXS", description="Micro DAX", currency="EUR",
        fees=_fees(commission="0.45", exchangeFee="0.22", clearingFee="0.065"),
        value_per_point=Decimal(1), tick=Decimal(1), level=23_700, swing=900,
    )  # fmt: skip  # a table reads better in three lines
    yield Product(
        index=5, name="EW", description="Options on the mini S&P 500", currency="USD", product_type="Options",
        fees=_fees(commission="0.95", exchangeFee="0.57", nfaFee="0.02"),
        value_per_point=fifty, tick=quarter, level=160, swing=60,
    )  # fmt: skip  # a table reads better in three lines
    yield Product(
        index=6, name="ZN", description="10-year Treasury note", currency="USD", fractional=True, fees=mini,
        value_per_point=Decimal(1_000), tick=Decimal("0.015625"), level=7_120, swing=200,
    )  # fmt: skip  # a table reads better in three lines


PRODUCTS = tuple(_products())
_OPTION_STRIKES = (5_900, 6_000, 6_100)


@attrs.frozen
class Contract:
    """A quarterly expiry; `quarter` counts from the year 2000, `variant` tells the options of one expiry apart."""

    product: Product
    quarter: int
    variant: int = 0

    @property
    def month(self) -> int:
        return self.quarter % 4 * 3 + 3

    @property
    def year(self) -> int:
        return 2000 + self.quarter // 4

    @property
    def expires(self) -> date:
        """The third Friday of the month."""
        first = date(self.year, self.month, 1)
        return first + timedelta(days=(4 - first.weekday()) % 7 + 14)

    @property
    def name(self) -> str:
        name = f"{self.product.name}{_MONTH_LETTERS[self.quarter % 4]}{self.year % 10}"
        if self.product.product_type != "Options":
            return name
        strike, right = divmod(self.variant, 2)
        return f"{name} {'CP'[right]}{_OPTION_STRIKES[strike]}"


def variants(product: Product) -> int:
    return 2 * len(_OPTION_STRIKES) if product.product_type == "Options" else 1


def front(product: Product, day: date, variant: int = 0) -> Contract:
    """The contract traded on a day, at least eight days before its expiry."""
    quarter = (day.year - 2000) * 4 + (day.month - 1) // 3
    while Contract(product, quarter).expires < day + _DAYS_BEFORE_EXPIRY:
        quarter += 1
    return Contract(product, quarter, variant)


class Catalogue:
    """The ids of an environment: one id means different things in different environments."""

    def __init__(self, environment: str) -> None:
        self.currencies = _CURRENCIES[environment]
        self._shift = 3 if environment == "demo" else 0

    def product_id(self, product: Product) -> int:
        return 660 + self._place(product)

    def maturity_id(self, contract: Contract) -> int:
        return 50_000 + self._place(contract.product) * 1_000 + contract.quarter

    def contract_id(self, contract: Contract) -> int:
        return 3_200_000 + self._place(contract.product) * 20_000 + contract.quarter * 10 + contract.variant

    def _place(self, product: Product) -> int:
        return (product.index + self._shift) % len(PRODUCTS)


def contracts_between(first: date, last: date) -> Iterator[Contract]:
    """Every contract that could be asked for: all quarters of the years from one day to another."""
    for quarter in range((first.year - 2000) * 4, (last.year - 2000) * 4 + 4):
        for product in PRODUCTS:
            for variant in range(variants(product)):
                yield Contract(product, quarter, variant)
