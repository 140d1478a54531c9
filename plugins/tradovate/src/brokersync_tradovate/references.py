"""What was traded, by the entities that describe it, in a form that is kept beside each row: pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

import attrs

from brokersync.plugin import Instrument
from brokersync_tradovate.normalise import instrument_of, plain
from brokersync_tradovate.payloads import Contract, ContractMaturity, Entity, FillFee, Product
from brokersync_tradovate.rows import Row, RowError

REFERENCES: Final = "references"

T = TypeVar("T", bound=Entity)


@attrs.frozen(kw_only=True)
class Reference:
    """A contract as far as Tradovate tells of it; `codes` are currencies by id, those of fees among them."""

    contract_id: int
    symbol: str | None = None
    contract: Contract | None = None
    maturity: ContractMaturity | None = None
    product: Product | None = None
    codes: Mapping[int, str] = attrs.field(factory=dict)

    @property
    def instrument(self) -> Instrument:
        """The instrument, complete or not."""
        name = self.contract.name if self.contract else self.symbol
        currency = self.codes.get(self.product.currency_id) if self.product else None
        return instrument_of(self.contract_id, name, self.maturity, self.product, currency)

    def with_codes(self, codes: Mapping[int, str], fee: FillFee | None) -> Reference:
        """The same with the currencies of a fill's fees, as far as `codes` holds them."""
        ids = {currency for _, currency in fee.amounts.values() if currency is not None} if fee else set()
        return attrs.evolve(self, codes={**self.codes, **{one: codes[one] for one in ids if one in codes}})

    def kept(self) -> dict[str, Any]:
        """As it is kept in a raw row, in the broker's names."""
        told = {"contract": self.contract, "contractMaturity": self.maturity, "product": self.product}
        written: dict[str, Any] = {name: _written(one) for name, one in told.items() if one is not None}
        return written | {"currency": {str(one): self.codes[one] for one in sorted(self.codes)}}


def joined(
    symbols: Mapping[int, str | None],
    contracts: Mapping[int, Contract],
    maturities: Mapping[int, ContractMaturity],
    products: Mapping[int, Product],
    codes: Mapping[int, str],
) -> dict[int, Reference]:
    """What is known of each contract id; `symbols` holds what the rows themselves call it."""
    found = {}
    for contract_id, symbol in symbols.items():
        contract = contracts.get(contract_id)
        maturity = maturities.get(contract.contract_maturity_id) if contract else None
        product = products.get(maturity.product_id) if maturity else None
        found[contract_id] = Reference(
            contract_id=contract_id,
            symbol=symbol,
            contract=contract,
            maturity=maturity,
            product=product,
            codes={one: code for one, code in codes.items() if product and one == product.currency_id},
        )
    return found


def reference_of(contract_id: int, symbol: str | None, raw: Row) -> Reference:
    """The reference that a raw row was kept with; nothing but its number where it was kept without."""
    kept = raw.get(REFERENCES) or {}
    return Reference(
        contract_id=contract_id,
        symbol=symbol,
        contract=_read(Contract, kept.get("contract")),
        maturity=_read(ContractMaturity, kept.get("contractMaturity")),
        product=_read(Product, kept.get("product")),
        codes={int(one): code for one, code in (kept.get("currency") or {}).items()},
    )


def _read(kind: type[T], row: Row | None) -> T | None:
    if row is None:
        return None
    try:
        return kind.of(row)
    except RowError:
        return None


def _written(entity: Contract | ContractMaturity | Product) -> dict[str, Any]:
    told = attrs.asdict(entity)
    return {
        _camel(name): plain(value.isoformat() if isinstance(value, datetime) else value)
        for name, value in told.items()
        if value is not None
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
