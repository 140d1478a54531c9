"""Values whose fields have the types that their annotations say, checked where a value is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, Final, TypeAlias, get_args, get_origin, get_type_hints

import attrs

_Content: TypeAlias = Callable[[Any], "type | None"]

# what has subclasses that a store, or a comparison, takes for something else: a bool is an int, a datetime a date
_EXACT: Final = (int, bool, date, Decimal)
_AS_JSON: Final = {str, int, float, bool, NoneType, Decimal, date, timedelta}
# far more than plugins differ in what they leave out; what is beyond is looked at each time
_MOST_KNOWN: Final = 1_000


# what an index of Postgres takes with certainty, whatever the characters are
LONGEST_ID: Final = 512


class TooLongError(ValueError):
    """An id is longer than a store keeps; the message never shows it."""


class WrongTypeError(TypeError):
    """A field has a value of another type than its annotation says; the message never shows the value."""


def wrong_type(error: BaseException) -> str:
    """What to say of an exception that says which field has a wrong type, or too long an id; nothing of any other."""
    return str(error) if isinstance(error, WrongTypeError | TooLongError) else ""


def check_id(value: str, what: str) -> None:
    """Raises `TooLongError` that names `what` for an id with more than `LONGEST_ID` characters."""
    if len(value) > LONGEST_ID:
        raise TooLongError(f"{what} has {len(value)} characters, and an id has {LONGEST_ID} at most")


def short(instance: object, field: attrs.Attribute[Any], value: str) -> None:
    """The validator of a field that holds an id."""
    if len(value) > LONGEST_ID:
        check_id(value, f"{type(instance).__name__}.{field.name}")


def typed(kind: type, fields: list[attrs.Attribute[Any]]) -> list[attrs.Attribute[Any]]:
    """For `attrs.frozen(field_transformer=...)`: each field must be of its annotated type.

    A field's own validator is asked only of a value that is there and has the type. Raises `WrongTypeError`.
    """
    # attrs has set all fields when it asks its first validator
    first, *others = (field.evolve(validator=None) for field in fields)
    return [first.evolve(validator=_check_of(kind, fields)), *others]


def _check_of(kind: type, fields: list[attrs.Attribute[Any]]) -> Callable[[Any, attrs.Attribute[Any], object], None]:
    hints = get_type_hints(kind)
    names = [field.name for field in fields]
    wanted = [hints[name] for name in names]
    contents = [(place, content) for place, hint in enumerate(wanted) if (content := _content(hint)) is not None]
    rules = [(place, field.validator, field) for place, field in enumerate(fields) if field.validator is not None]
    values_of = attrgetter(*names)
    known: set[tuple[type, ...]] = set()

    def check(instance: Any, _: attrs.Attribute[Any], __: object) -> None:
        values = values_of(instance)
        kinds = tuple(map(type, values))
        if kinds not in known:
            for name, hint, given in zip(names, wanted, kinds, strict=True):
                if not _fits(given, hint):
                    raise WrongTypeError(f"{kind.__name__}.{name} must be {_words(hint)}, not {_name(given)}")
            if len(known) < _MOST_KNOWN:
                known.add(kinds)
        for place, content in contents:
            if (value := values[place]) and (strange := content(value)) is not None:
                field = f"{kind.__name__}.{names[place]}"
                raise WrongTypeError(f"{field} must be {_words(wanted[place])}, but holds {_name(strange)}")
        for place, rule, attribute in rules:
            if (value := values[place]) is not None:
                rule(instance, attribute, value)

    return check


def _fits(given: type, hint: Any) -> bool:
    if isinstance(hint, UnionType):
        return any(_fits(given, one) for one in get_args(hint))
    wanted = get_origin(hint) or hint
    return given is wanted if wanted in _EXACT else issubclass(given, wanted)


def _content(hint: Any) -> _Content | None:
    """What finds the first type in a value of this annotation that must not be in it."""
    if isinstance(hint, UnionType):
        found = [content for one in get_args(hint) if (content := _content(one)) is not None]
        return found[0] if found else None
    wanted, inner = get_origin(hint), get_args(hint)
    if wanted is tuple:
        return _items(inner[0])
    if wanted is Mapping and inner[1] is Any:
        return _no_json
    if wanted is Mapping:
        names, values = _items(inner[0]), _items(inner[1])
        return lambda value: names(value) or values(value.values())
    return None


def _items(hint: Any) -> _Content:
    known: set[type] = set()

    def strange(values: Iterable[Any]) -> type | None:
        for value in values:
            if (kind := type(value)) in known:
                continue
            if not _fits(kind, hint):
                return kind
            known.add(kind)
        return None

    return strange


def _no_json(value: Any) -> type | None:
    """The first type in it that has no form in JSON; a moment without a zone has none, either."""
    if type(value) is dict and _is_all_text(value):
        return None
    if isinstance(value, Mapping):
        if (strange := _no_name(value)) is not None:
            return strange
        value = value.values()
    elif not isinstance(value, list | tuple):
        if isinstance(value, datetime):
            return None if value.tzinfo is not None else datetime
        return None if isinstance(value, (*_AS_JSON, Enum)) else type(value)
    for one in value:
        # nearly all of them, and a call for each is what a row with something inside would take most of its time for
        if type(one) not in _AS_JSON and (strange := _no_json(one)) is not None:
            return strange
    return None


def _is_all_text(value: dict[Any, Any]) -> bool:
    """Whether every name and value is text, as in nearly every raw row; joining finds out faster than asking types."""
    try:
        "".join(value)
        "".join(value.values())
    except TypeError:
        return False
    return True


_no_name: Final = _items(str)


def _words(hint: Any) -> str:
    if isinstance(hint, UnionType):
        return " or ".join(map(_words, get_args(hint)))
    wanted, inner = get_origin(hint), get_args(hint)
    if wanted is tuple:
        return f"a tuple of {_words(inner[0])}"
    if wanted is Mapping:
        return f"a mapping of {_words(inner[0])} to {'JSON values' if inner[1] is Any else _words(inner[1])}"
    return _name(hint)


def _name(kind: type) -> str:
    return "None" if kind is NoneType else kind.__name__
