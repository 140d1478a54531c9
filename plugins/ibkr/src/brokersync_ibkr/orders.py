"""A statement on order, as the cursor that a request goes on from."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from typing import Final

import attrs

from brokersync.plugin import BrokerCursorError
from brokersync_ibkr.coverage import Days

# large accounts were seen to take so long; what is not there by then is ordered in halves
DEADLINE: Final = timedelta(minutes=12)
# how long a reference lives is not documented, and what the user changed at the query shows in a new statement only
FORGOTTEN: Final = timedelta(minutes=20)
MOST_ORDERS: Final = 2
_UNCHECKED_FOR = timedelta(minutes=1)
_FORMAT = "flex-1"
_DAY = timedelta(days=1)
_WAITS = (5, 10, 10, 15, 15, 20, 30)


@attrs.frozen(kw_only=True)
class Order:
    """Which statement was ordered when, for which days, and how often it was asked for since.

    `orders` counts the statements ordered in turn for one request. `base` is where the service wants it fetched.
    Without a `reference` it was refused, and is to be ordered once more.
    """

    query_id: str
    days: Days
    reference: str
    ordered_at: datetime
    polls: int = 0
    orders: int = 1
    base: str | None = None

    @property
    def wait(self) -> timedelta:
        """How long to wait before asking for it (again)."""
        if not self.reference:
            return _UNCHECKED_FOR
        return timedelta(seconds=_WAITS[min(self.polls, len(_WAITS) - 1)])

    def older(self, asked: Days) -> Days | None:
        """What is to be ordered behind it of the days asked for, at most as many as it has; `None` where it has all."""
        if self.days.first <= asked.first:
            return None
        last = self.days.first - _DAY
        return Days(max(asked.first, last - (self.days.last - self.days.first)), last)

    def cursor(self) -> str:
        return json.dumps(
            {
                "format": _FORMAT,
                "query": self.query_id,
                "first": self.days.first.isoformat(),
                "last": self.days.last.isoformat(),
                "reference": self.reference,
                "ordered_at": self.ordered_at.isoformat(),
                "polls": self.polls,
                "orders": self.orders,
                "base": self.base,
            },
            separators=(",", ":"),
        )


def order_of(cursor: str) -> Order:
    """The order behind a cursor. Raises `BrokerCursorError` for text that is none of ours."""
    try:
        told = json.loads(cursor)
        if told["format"] != _FORMAT:
            raise ValueError("another format")
        order = Order(
            query_id=_text(told["query"]),
            days=Days(date.fromisoformat(told["first"]), date.fromisoformat(told["last"])),
            reference=_text(told["reference"]),
            ordered_at=datetime.fromisoformat(told["ordered_at"]),
            polls=_count(told["polls"]),
            orders=_count(told["orders"]),
            base=None if told["base"] is None else _text(told["base"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise BrokerCursorError("The cursor is none of this plugin's.") from None
    if order.ordered_at.utcoffset() is None or not (order.reference.isalnum() or order.reference == ""):
        raise BrokerCursorError("The cursor is none of this plugin's.")
    return order


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise TypeError("no count")
    return value
