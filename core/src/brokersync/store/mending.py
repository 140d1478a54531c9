"""Kept rows in which an older release let a field of a wrong type pass, read as far as they tell something."""

from __future__ import annotations

import json
from types import NoneType, UnionType
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

import attrs

from brokersync.converter import from_json
from brokersync.enums import PositionEffect
from brokersync.errors import StoreError
from brokersync.types import BrokerTrade, TradeBooking

T = TypeVar("T", BrokerTrade, TradeBooking)

_ID: Final = {BrokerTrade: "trade_id", TradeBooking: "booking_id"}
# an absent fee, or another effect, would be a false statement instead of none
_TELLS_NOTHING: Final = (None, PositionEffect.UNKNOWN)


def mended(content: str, kind: type[T]) -> T:
    """The value with each field in its type; what can not be told of a field that may be absent, is absent.

    Raises `StoreError` that names the trade where nothing true can be made of it.
    """
    names: Any = {}
    try:
        names = json.loads(content)
        made: T = _object(names, kind)
    except (TypeError, ValueError, LookupError) as error:
        raise StoreError(
            f"What is kept of {names.get(_ID[kind], 'a row')!r} of the account {names.get('account_id')!r} can not be"
            f" read ({type(error).__name__}).",
            remedy="Read it again with the plugin that is installed now: brokersync sync --again-from DAY, or import"
            " its file again.",
            provider=names.get("provider"),
        ) from error
    return made


def _object(data: Any, kind: Any) -> Any:
    hints, values = get_type_hints(kind), {}
    for field in attrs.fields(kind):
        if field.name not in data:
            continue
        try:
            values[field.name] = _value(data[field.name], hints[field.name])
        except (TypeError, ValueError, LookupError):
            if field.default not in _TELLS_NOTHING and get_args(hints[field.name])[:1] not in ((str,), (int,)):
                raise
    return kind(**values)


def _value(value: Any, hint: Any) -> Any:
    if isinstance(hint, UnionType):
        if value is None:
            return None
        (hint,) = (one for one in get_args(hint) if one is not NoneType)
    if attrs.has(hint):
        return _object(value, hint)
    if get_origin(hint) is tuple:
        (item, _) = get_args(hint)
        listed = [value] if isinstance(value, str) else value
        return tuple(_value(one, item) for one in listed)
    if isinstance(value, bool | float | list | dict) and get_origin(hint) is None:
        raise TypeError(f"a {type(value).__name__}")
    return from_json(value, hint)
