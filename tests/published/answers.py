"""Answers of every shape that the published description allows, from a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any, TypeAlias

from .table import Name, names

Row: TypeAlias = dict[str, Any]

_POOLS = {
    "accountId": "Account",
    "orderId": "Order",
    "contractId": "Contract",
    "contractMaturityId": "ContractMaturity",
    "productId": "Product",
}
_LARGEST = 2**63 - 1


class Broker:
    """The entities of one side, which refer to each other as they do there; `began` is when the session did."""

    def __init__(self, seed: object, began: datetime, now: datetime) -> None:
        self._rng, self._began, self._now = Random(f"published:{seed}"), began, now
        self._ids: dict[str, list[int]] = {}
        self._given: set[int] = set()
        self.rows: dict[str, list[Row]] = {}
        self.unlisted: set[int] = set()
        for shape, number in (
            ("Currency", 3), ("Product", 4), ("ContractMaturity", 5), ("Contract", 6), ("User", 1), ("Account", 3),
            ("Order", 12), ("Fill", 25),
        ):  # fmt: skip  # in the order in which they refer to each other
            self._ids[shape] = [self._id() for _ in range(number)]
            self.rows[shape] = [self._row(shape, id=one) for one in self._ids[shape]]
        charged = [one for one in self._ids["Fill"] if self._rng.random() < 0.8]
        self.rows["FillFee"] = [self._row("FillFee", id=one) for one in charged]
        for place, row in enumerate(self.rows["Currency"]):
            row["name"] = ("USD", "eur", "Chf")[place]
        for row in self.rows["Fill"]:
            row["qty"] = self._rng.randint(1, 500)
        # an order of a fill may be missing in the list, and be there under its id; or be gone altogether
        self.unlisted = {one for one in self._ids["Order"] if self._rng.random() < 0.2}
        gone = {one for one in self.unlisted if self._rng.random() < 0.3}
        self.rows["Order"] = [row for row in self.rows["Order"] if row["id"] not in gone]

    def listed(self, shape: str) -> list[Row]:
        """The rows in no order."""
        rows = [row for row in self.rows[shape] if shape != "Order" or row["id"] not in self.unlisted]
        return self._rng.sample(rows, len(rows))

    def items(self, shape: str, ids: Sequence[int]) -> list[Row]:
        return [row for row in self.rows[shape] if row["id"] in ids]

    def login(self, token: str, ends: datetime) -> Row:
        """An answer to a login, with what it takes to use it."""
        told = {"accessToken": token, "expirationTime": _stamp(ends), "userId": self._ids["User"][0]}
        rest = self._row("AccessTokenResponse", userStatus="Active", **told)
        return {name: value for name, value in rest.items() if name not in ("errorText", "hibpHint")}

    def user(self) -> Row:
        """Whose the token is."""
        rest = self._row("OAuthMeResponse", userId=self._ids["User"][0])
        return {name: value for name, value in rest.items() if name != "errorText"}

    def _row(self, shape: str, **given: Any) -> Row:
        row: Row = {}
        for one in names(shape):
            if one.name in given:
                row[one.name] = given[one.name]
            elif one.required or (here := self._rng.random()) < 0.5:
                row[one.name] = self._value(one)
            elif here < 0.75:
                row[one.name] = None
        if self._rng.random() < 0.3:
            row["addedLater"] = {"by": ["the broker"]}
        return row

    def _value(self, one: Name) -> Any:
        pool = "Currency" if one.name.lower().endswith("currencyid") else _POOLS.get(one.name)
        if pool in self._ids:
            return self._rng.choice(self._ids[pool])
        values: Mapping[str, Any] = {
            "i64": self._rng.choice((1, self._rng.randrange(10**12), _LARGEST)),
            "i32": self._rng.randint(0, 2**31 - 1),
            "bool": self._rng.random() < 0.5,
            "str": self._rng.choice(("a", "x y", '\u20ac/\u00e4"quoted"', "N" * 64)),
            "dt": _stamp(self._moment(), self._rng.choice((0, 3, 6))),
            "day": {"year": self._now.year, "month": self._now.month, "day": self._now.day},
            "f64": self._double(),
        }
        return values[one.kind] if one.kind in values else self._rng.choice(one.kind.split("|"))

    def _id(self) -> int:
        first, last = self._rng.choice(((1, 10**4), (10**11, 10**12), (2**60, 2**63)))
        while (number := self._rng.randrange(first, last)) in self._given:
            pass
        self._given.add(number)
        return number

    def _moment(self) -> datetime:
        return self._began + (self._now - self._began) * self._rng.random()

    def _double(self) -> Decimal:
        """What a double may be written as, whole or not, above zero: a price, an amount, a multiplier."""
        return Decimal(self._rng.randint(1, 10**7)).scaleb(-self._rng.choice((0, 1, 2, 4, 6)))


def _stamp(moment: datetime, digits: int = 3) -> str:
    text = moment.astimezone(UTC).isoformat(timespec="microseconds")
    whole, _, fraction = text.removesuffix("+00:00").partition(".")
    return f"{whole}.{fraction[:digits]}Z" if digits else f"{whole}Z"
