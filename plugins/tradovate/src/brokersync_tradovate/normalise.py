"""From Tradovate's rows to bookings: pure, and the same for every order of the rows.

The session's list and the Fills report tell of one execution under one id, so both book it as `fill:<id>`, and core
takes the word of the source with the higher precedence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import attrs

from brokersync.plugin import (
    AssetClass,
    BrokerAccount,
    Fee,
    FeeKind,
    FeesState,
    Instrument,
    QuarantinedRow,
)
from brokersync_tradovate.charges import FillCharges
from brokersync_tradovate.payloads import Account, ContractMaturity, FillFee, Product
from brokersync_tradovate.rows import Row, is_too_long

PROVIDER = "tradovate"
ENVIRONMENTS = ("live", "demo")

_PLAIN = frozenset({str, int, bool, type(None)})
_ASSET_CLASSES = {
    "Futures": AssetClass.FUTURE,
    "Options": AssetClass.FUTURE_OPTION,
    "Spread": AssetClass.SPREAD,
    "Cryptocurrency": AssetClass.CRYPTO,
    "CommonStock": AssetClass.STOCK,
}
_FEE_KINDS = {
    "commission": FeeKind.COMMISSION,
    "exchangeFee": FeeKind.EXCHANGE,
    "clearingFee": FeeKind.CLEARING,
    "nfaFee": FeeKind.REGULATORY,
    "brokerageFee": FeeKind.BROKERAGE,
    "ipFee": FeeKind.PLATFORM,
    "orderRoutingFee": FeeKind.ROUTING,
}


@attrs.frozen
class Costs:
    """The fees of one fill as far as they are told, and how far that is."""

    fees: tuple[Fee, ...] = ()
    state: FeesState = FeesState.PENDING


def account_of(account: Account, environment: str) -> BrokerAccount:
    """The account as core knows it; the environment is that of the host which listed it."""
    return BrokerAccount(
        account_id=str(account.id),
        environment=environment,
        name=account.name,
        kind=account.account_type,
        opened_at=account.timestamp,
        closed=account.gone,
    )


def instrument_of(
    contract_id: int,
    symbol: str | None,
    maturity: ContractMaturity | None,
    product: Product | None,
    currency: str | None,
) -> Instrument:
    """What was traded, as far as it is known; core completes an incomplete instrument when a later answer tells more.

    The expiry is the UTC date of the broker's expiration time, which lies in the afternoon of the exchange.
    """
    known = product is not None and product.value_per_point > 0
    return Instrument(
        symbol=symbol or str(contract_id),
        broker_id=str(contract_id),
        asset_class=_ASSET_CLASSES.get(product.product_type, AssetClass.OTHER) if product else AssetClass.OTHER,
        currency=currency,
        multiplier=product.value_per_point if product is not None and known else None,
        underlying=product.name if product else None,
        expiry=maturity.expiration_date.date() if maturity and maturity.expiration_date else None,
    )


def is_known_product_type(product: Product) -> bool:
    """Whether the type has an asset class here; one that has none is booked as `other` and counted."""
    return product.product_type in _ASSET_CLASSES


def session_costs(fee: FillFee | None, currencies: Mapping[int, str], product_currency: str | None) -> Costs:
    """What `fillFee` tells of a fill: nothing yet is pending, and an amount that is absent is not zero.

    Any of its amounts may be absent, also one that comes later, so that no row says that it is whole: what it tells is
    an estimate of the costs. An amount without a currency is in the product's; while the currency of one is unknown,
    nothing is told.
    """
    fees = []
    for name, (amount, currency_id) in (fee.amounts if fee else {}).items():
        currency = product_currency if currency_id is None else currencies.get(currency_id)
        if currency is None:
            return Costs()
        fees.append(Fee(kind=_FEE_KINDS[name], amount=amount, currency=currency))
    return Costs(tuple(fees), FeesState.ESTIMATED) if fees else Costs()


def report_costs(commission: Decimal | None, product_currency: str | None, charges: FillCharges | None = None) -> Costs:
    """What the reports tell: all fees where the Cash History says for sure what the fill cost, else the commission.

    The Fills report holds the commission alone, exact, in the product's currency. Exchange, clearing and regulatory
    fees are not in it: without them the whole is an estimate, or to come where the Cash History is yet to be read.
    """
    if charges is not None and charges.amounts:
        fees = (
            Fee(kind=_FEE_KINDS[name], amount=amount, currency=currency)
            for (name, currency), amount in charges.amounts.items()
        )
        return Costs(tuple(fees), FeesState.FINAL if charges.certain else FeesState.ESTIMATED)
    if commission is None or product_currency is None:
        return Costs()
    fee = Fee(kind=FeeKind.COMMISSION, amount=commission, currency=product_currency)
    return Costs((fee,), FeesState.ESTIMATED if charges is None else FeesState.PENDING)


def quarantined(
    row: Row, reason: str, environment: str | None, account_id: str | None = None, row_id: str | None = None
) -> QuarantinedRow:
    """A fill that is kept and reported instead of being booked."""
    return QuarantinedRow(reason=reason, raw=plain(row), environment=environment, account_id=account_id, row_id=row_id)


def plain(value: Any) -> Any:
    """The value with every number of a fraction as text, so that JSON keeps its digits."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Decimal):
        return str(value) if is_too_long(value) else format(value, "f")
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def length_warnings(lengths: Mapping[str, int]) -> Counter[str]:
    """Lists that may have been cut: the broker caps them at sizes that vary, such as 1,000, 1,024 or 2,048."""
    return Counter(
        f"{name} has {length} rows and may be cut off"
        for name, length in lengths.items()
        if length == 1000 or (length >= 1024 and length & (length - 1) == 0)
    )


def fee_doubts(fees: Mapping[int, FillFee], fills: Iterable[int]) -> Counter[str]:
    """What would show that fees are not what they are taken for: of the fill with their id, costs when positive, and
    the commission among them."""
    doubts = Counter(
        f"fillFee: {name} is negative, which is taken for money back"
        for fee in fees.values()
        for name, (amount, _) in fee.amounts.items()
        if amount < 0
    )
    uncommissioned = sum(1 for fee in fees.values() if fee.amounts and "commission" not in fee.amounts)
    if uncommissioned:
        doubts["fillFee: no commission is told, where other fees are"] += uncommissioned
    if fees and fees.keys().isdisjoint(fills):
        doubts["fillFee: no row has the id of a fill"] += 1
    return doubts
