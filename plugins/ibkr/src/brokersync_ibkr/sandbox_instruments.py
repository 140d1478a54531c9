"""The sandbox's instruments: invented names whose ids, dates and multipliers hold together, and exchange rates."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import attrs

from brokersync_ibkr.sandbox_calendar import option_expiry, quarter_expiry

_HUNDRED = Decimal(100)
_MONTH_CODES = "FGHJKMNQUVXZ"
_MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_EPOCH = date(2015, 1, 1)
_EXPIRIES = 16384
_STRIKES = 64

US_SESSION = (34_200, 57_600)
EVENING_SESSION = (-19_800, -8_000)
_EUROPE_SESSION = (11_100, 41_000)
_TOKYO_SESSION = (-14_000, -5_000)


@attrs.frozen(kw_only=True)
class Contract:
    """A tradable instrument.

    `session` is when it trades, in seconds from New York's midnight of the exchange's trade date: a negative number is
    the evening before.
    """

    symbol: str
    description: str
    conid: int
    category: str
    currency: str
    price: Decimal
    tick: Decimal
    listing: str
    venue: str
    session: tuple[int, int] = US_SESSION
    sub_category: str = ""
    multiplier: Decimal = Decimal(1)
    isin: str = ""
    country: str = ""
    settle_days: int = 1
    buy_tax: Decimal = Decimal(0)
    underlying: Contract | None = None
    root: str = ""
    strike: Decimal | None = None
    expiry: date | None = None
    put_call: str = ""

    def money(self, quantity: Decimal, price: Decimal) -> Decimal:
        """What that many are worth; a bond's price is in percent of par."""
        worth = quantity * price * self.multiplier
        return worth / _HUNDRED if self.category == "BOND" else worth

    def closing_price(self, day: date) -> Decimal:
        return self.price + self.tick * (day.toordinal() % 17 - 8)


def _stock(symbol: str, description: str, conid: int, price: str, isin: str, **facts: object) -> Contract:
    usual: dict[str, object] = {
        "category": "STK",
        "sub_category": "COMMON",
        "currency": "USD",
        "tick": Decimal("0.01"),
        "listing": "NASDAQ",
        "venue": "ISLAND",
        "country": "US",
    }
    known = {"symbol": symbol, "description": description, "conid": conid, "price": Decimal(price), "isin": isin}
    return Contract(**(usual | known | facts))  # type: ignore[arg-type]  # the values fit the fields of their names


STOCKS = (
    _stock("AURL", "AUREL PAPER MILLS INC", 310000101, "41.8", "US9SBX001003"),
    _stock("BRKT", "BRACKET & SONS CORP", 310000102, "127.35", "US9SBX002001", listing="NYSE", venue="NYSE"),
    _stock("CLVN", "CLOVEN FREIGHT LTD", 310000103, "18.42", "US9SBX003009", venue="IBKRATS"),
    _stock("EMBR B", "EMBER HOLDINGS-CL B", 310000104, "302.1", "US9SBX004007", listing="NYSE", venue="DARK"),
)
FUND = _stock(
    "WIDX",
    "WIDE MARKET INDEX ETF",
    310000105,
    "88.04",
    "US9SBX005004",
    sub_category="ETF",
    listing="ARCA",
    venue="ARCA",
)
GERMAN = _stock(
    "HAFN",
    "HAFENLICHT AG",
    310000201,
    "63.12",
    "DE000SBX0109",
    currency="EUR",
    listing="IBIS",
    venue="IBIS",
    country="DE",
    session=_EUROPE_SESSION,
    settle_days=2,
)
BRITISH = _stock(
    "TARN",
    "TARNSIDE BREWERS PLC",
    310000202,
    "7.485",
    "GB00SBX01000",
    currency="GBP",
    tick=Decimal("0.005"),
    listing="LSE",
    venue="LSE",
    country="GB",
    session=_EUROPE_SESSION,
    settle_days=2,
    buy_tax=Decimal("0.005"),
)
JAPANESE = _stock(
    "7919",
    "MIZUIRO DENKI KK",
    310000203,
    "2140",
    "JP9SBX001002",
    currency="JPY",
    tick=Decimal(1),
    listing="TSEJ",
    venue="TSEJ",
    country="JP",
    session=_TOKYO_SESSION,
    settle_days=2,
)
BOND = _stock(
    "KLYP 4 1/4 05/15/31",
    "KLYP 4 1/4 05/15/31",
    310000301,
    "98.625",
    "US9SBX006002",
    category="BOND",
    sub_category="Corp",
    tick=Decimal("0.005"),
    listing="",
    venue="BONDDESK",
)


def _pair(symbol: str, conid: int, price: str) -> Contract:
    return Contract(
        symbol=symbol,
        description=symbol,
        conid=conid,
        category="CASH",
        currency=symbol[4:],
        price=Decimal(price),
        tick=Decimal("0.00005"),
        listing="",
        venue="IDEALFX",
        settle_days=2,
    )


EURO_DOLLAR = _pair("EUR.USD", 310000401, "1.1042")
POUND_DOLLAR = _pair("GBP.USD", 310000402, "1.2837")


@attrs.frozen(kw_only=True)
class _Root:
    symbol: str
    name: str
    number: int
    currency: str
    multiplier: int
    price: str
    tick: str
    listing: str
    session: tuple[int, int] = US_SESSION


_ROOTS = (
    _Root(
        symbol="NX", name="NORDIX 50", number=1, currency="USD", multiplier=50, price="4812", tick="0.25", listing="CME"
    ),
    _Root(
        symbol="FHX",
        name="HANSE 30",
        number=2,
        currency="EUR",
        multiplier=5,
        price="18340",
        tick="1",
        listing="EUREX",
        session=_EUROPE_SESSION,
    ),
)


def future(root: int, day: date) -> Contract:
    """The future of that root that is traded on that day: the next quarter's."""
    known = _ROOTS[root]
    expiry = quarter_expiry(day)
    code = f"{known.symbol}{_MONTH_CODES[expiry.month - 1]}{expiry.year % 10}"
    return Contract(
        symbol=code if known.listing == "CME" else f"{known.symbol}  {expiry:%Y%m%d} M",
        description=f"{known.name} {_date_text(expiry)}",
        conid=320_000_000 + known.number * _EXPIRIES + (expiry - _EPOCH).days,
        category="FUT",
        currency=known.currency,
        price=Decimal(known.price),
        tick=Decimal(known.tick),
        listing=known.listing,
        venue=known.listing,
        session=known.session,
        multiplier=Decimal(known.multiplier),
        settle_days=0,
        root=known.symbol,
        expiry=expiry,
    )


def option(stock: int, day: date, *, weeks: int, steps: int, put_call: str) -> Contract:
    """An option on one of `STOCKS`, with the strike that many steps from the stock's usual price."""
    under = STOCKS[stock]
    expiry = option_expiry(day, weeks)
    step = Decimal(1) if under.price < 50 else Decimal("2.5")
    strike = (under.price // step + steps) * step
    root, _, share_class = under.symbol.partition(" ")
    number = ((stock * _EXPIRIES + (expiry - _EPOCH).days) * 2 + (put_call == "P")) * _STRIKES + steps + _STRIKES // 2
    return Contract(
        symbol=f"{root + share_class:<6}{expiry:%y%m%d}{put_call}{int(strike * 1000):08d}",
        description=f"{under.symbol} {_date_text(expiry)} {strike.normalize():f} {put_call}",
        conid=500_000_000 + number,
        category="OPT",
        currency=under.currency,
        price=Decimal("2.4"),
        tick=Decimal("0.05"),
        listing="CBOE",
        venue="CBOE",
        sub_category=put_call,
        multiplier=_HUNDRED,
        underlying=under,
        root=under.symbol,
        strike=strike,
        expiry=expiry,
        put_call=put_call,
    )


def _date_text(day: date) -> str:
    return f"{day.day:02d}{_MONTH_NAMES[day.month - 1]}{day.year % 100:02d}"


_IN_DOLLARS = {
    "USD": Decimal(1),
    "EUR": Decimal("1.1042"),
    "GBP": Decimal("1.2837"),
    "JPY": Decimal("0.006712"),
    "CHF": Decimal("1.1305"),
    "CAD": Decimal("0.7291"),
    "AUD": Decimal("0.6614"),
    "CNH": Decimal("0.1384"),
    "SEK": Decimal("0.0952"),
    "HKD": Decimal("0.1281"),
}
CURRENCIES = tuple(_IN_DOLLARS)


def rate(currency: str, base: str, day: date) -> Decimal:
    """The factor from an amount in `currency` to one in `base` on that day."""
    if currency == base:
        return Decimal(1)
    drift = 1 + Decimal((day.toordinal() * 7 + len(base) * CURRENCIES.index(currency)) % 41 - 20) / 1000
    return (_IN_DOLLARS[currency] / _IN_DOLLARS[base] * drift).quantize(Decimal("0.000001"))
