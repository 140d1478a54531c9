"""Values to JSON and back without losing a digit or a time zone: strict for configuration, tolerant for payloads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from types import GenericAlias, MappingProxyType
from typing import Any, NoReturn, TypeVar, get_args, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn

from brokersync.decimals import check_length
from brokersync.errors import BrokerConfigError
from brokersync.mistakes import mistakes_in
from brokersync.secret import Secret

T = TypeVar("T")

_DURATION = re.compile(r"(\d+)\s*(ms|s|m|h|d)")
# a century: what is longer would lead beyond the calendar
_LONGEST = timedelta(days=36_525)
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def decimal_text(value: Decimal) -> str:
    """Plain notation with every digit: never an exponent."""
    return format(value, "f")


def instant_text(value: datetime) -> str:
    """ISO 8601 in UTC, ending in `Z`."""
    if value.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone")
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_duration(text: str) -> timedelta:
    """A duration in the configuration's notation: `500ms`, `30s`, `5m`, `6h`, `365d`."""
    found = _DURATION.fullmatch(text.strip()) if isinstance(text, str) else None
    if not found:
        raise ValueError(f"{text!r} is no duration; write it like 500ms, 30s, 5m, 6h or 365d")
    seconds = int(found[1]) * _UNITS[found[2]]
    if seconds > _LONGEST.total_seconds():
        raise ValueError(f"{text!r} is too long; the longest is {_LONGEST.days}d")
    return timedelta(seconds=seconds)


def _structure_decimal(value: Any, _: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise TypeError(f"{value!r} is no exact number; write it as a string")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{value!r} is no number") from None
    if not number.is_finite():
        raise ValueError(f"{value!r} is not finite")
    check_length(number, repr(value))
    return number


def _structure_instant(value: Any, _: Any) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone; end it with Z")
    return moment.astimezone(UTC)


def _structure_date(value: Any, _: Any) -> date:
    return value if type(value) is date else date.fromisoformat(_text(value))


def _structure_seconds(value: Any, _: Any) -> timedelta:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise TypeError(f"{value!r} is no number of seconds")
    return timedelta(seconds=float(value))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _structure_strict_text(value: Any, kind: type[str]) -> str:
    return kind(_text(value))  # `kind` may be a StrEnum, for which a plain str would be none of its members


def _structure_strict_int(value: Any, _: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no whole number")
    return value


def _structure_strict_bool(value: Any, _: Any) -> bool:
    if type(value) is not bool:
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _refuse_secret(_: Secret) -> NoReturn:
    raise TypeError("a Secret does not leave through this converter")


def _is_mapping(kind: Any) -> bool:
    return getattr(kind, "__origin__", None) is Mapping or kind is Mapping


def _base(**options: Any) -> cattrs.Converter:
    converter = cattrs.Converter(**options)
    converter.register_unstructure_hook(Decimal, decimal_text)
    converter.register_unstructure_hook(datetime, instant_text)
    converter.register_unstructure_hook(date, date.isoformat)
    converter.register_unstructure_hook(timedelta, timedelta.total_seconds)
    converter.register_unstructure_hook(MappingProxyType, dict)
    converter.register_unstructure_hook_func(_is_mapping, lambda value: _plain(converter, value))
    converter.register_structure_hook(Decimal, _structure_decimal)
    converter.register_structure_hook(datetime, _structure_instant)
    converter.register_structure_hook(date, _structure_date)
    converter.register_structure_hook(timedelta, _structure_seconds)
    converter.register_structure_hook(Secret, lambda value, _: Secret(_text(value)))
    return converter


def _plain(converter: cattrs.Converter, value: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name): converter.unstructure(item) for name, item in value.items()}


def _make_public() -> cattrs.Converter:
    converter = _base()
    converter.register_unstructure_hook(Secret, _refuse_secret)
    return converter


def _make_sealed() -> cattrs.Converter:
    converter = _base()
    converter.register_unstructure_hook(Secret, Secret.reveal)
    return converter


def _make_config() -> cattrs.Converter:
    converter = _base(forbid_extra_keys=True)
    converter.register_unstructure_hook(Secret, _refuse_secret)
    converter.register_structure_hook(timedelta, lambda value, _: parse_duration(value))
    converter.register_structure_hook(str, _structure_strict_text)
    converter.register_structure_hook(int, _structure_strict_int)
    converter.register_structure_hook(bool, _structure_strict_bool)
    converter.register_structure_hook_factory(attrs.has, _table_hook)
    converter.register_structure_hook_factory(_is_list, _list_hook)
    return converter


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis


def _table_hook(kind: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    structure = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)

    def table(value: Any, kind: Any) -> Any:
        if not isinstance(value, Mapping):
            raise TypeError("must be a table")
        return structure(value, kind)

    return table


def _list_hook(kind: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    """A text is no list of its letters."""
    items = GenericAlias(list, get_args(kind)[:1])
    structure = converter.get_structure_hook(items)

    def listed(value: Any, _: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise TypeError("must be a list")
        return tuple(structure(value, items))

    return listed


PUBLIC = _make_public()
SEALED = _make_sealed()
CONFIG = _make_config()
PAYLOAD = _make_public()


def to_json(value: Any) -> Any:
    """The value as JSON types; a `Secret` anywhere in it is refused."""
    return PUBLIC.unstructure(value)


def from_json(data: Any, kind: type[T]) -> T:
    """The value that `to_json` gave."""
    return PUBLIC.structure(data, kind)


def structure_config(data: Any, kind: type[T], where: str, also: Callable[[Any], Iterable[str]] = lambda _: ()) -> T:
    """Checked configuration; every mistake, and what `also` finds in the data, is named with its path in one error."""
    made, found = None, []
    try:
        made = CONFIG.structure(data, kind)
    except (cattrs.BaseValidationError, TypeError, ValueError) as error:
        found = mistakes_in(data, kind, CONFIG.structure) or [str(error)]
    found += also(data)
    if made is not None and not found:
        return made
    raise mistaken(where, found)


def mistaken(where: str, found: Sequence[str]) -> BrokerConfigError:
    """The error that names all mistakes of a configuration."""
    message = f"{where}: {found[0]}."
    if len(found) > 1:
        message = "\n  ".join((f"{where} has {len(found)} mistakes:", *found))
    return BrokerConfigError(message, remedy="Correct it and try again.")


def loads_exact(text: str | bytes) -> Any:
    """JSON with every number exact: whole numbers as `int`, others as `Decimal`; NaN and infinities are refused.

    A number beyond all bounds stays the text it was, and half of a surrogate pair becomes U+FFFD: one odd value must
    not take along the answer it stands in, nor what keeps it.
    """
    try:
        value = json.loads(text, parse_float=Decimal, parse_constant=_refuse_constant)
    except json.JSONDecodeError:
        raise
    except (ValueError, InvalidOperation):
        value = json.loads(text, parse_float=_decimal, parse_int=_whole, parse_constant=_refuse_constant)
    return _whole_text(value) if _may_hold_halves(text) else value


def _decimal(text: str) -> Decimal | str:
    try:
        return Decimal(text)
    except InvalidOperation:
        return text


def _whole(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:  # it has thousands of digits
        return text


def _may_hold_halves(text: str | bytes) -> bool:
    """Whether it writes a surrogate, as an escape or in what `json` takes for UTF-8."""
    if isinstance(text, bytes):
        return b"\\ud" in text or b"\\uD" in text or b"\xed" in text
    return "\\ud" in text or "\\uD" in text or not text.isascii()


def _whole_text(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_whole_text(name): _whole_text(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_whole_text(one) for one in value]
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Canonical JSON of what `to_json` gives: sorted names, no escapes beyond what JSON needs."""
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(to_json(value), ensure_ascii=False, sort_keys=True, separators=separators, indent=indent)
