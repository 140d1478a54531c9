"""Arguments of public methods: what is of the wrong kind is refused by its name, before anything is done with it."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date, datetime, timedelta
from functools import partial, wraps
from types import MappingProxyType
from typing import Any, Final, NoReturn, TypeVar, cast

from brokersync.errors import BrokerConfigError
from brokersync.secret import Secret

M = TypeVar("M", bound=Callable[..., Any])

_Check = Callable[[str, Any], None]

_LARGEST: Final = 2**63 - 1
_MAY_BE_ZERO: Final = ("since",)
# an empty text is as good as none where nothing is looked up by it
_MAY_BE_EMPTY: Final = ("label", "symbol", "trade_id")
_WHOSE: Final = "Name the tenant that it belongs to."


def checked(method: M) -> M:
    """A method of the public surface: its arguments are what its signature says, else `BrokerConfigError`."""
    signature = inspect.signature(method)
    checks = {
        name: check
        for name, one in signature.parameters.items()
        if (check := _check_of(name, one.annotation, method.__globals__)) is not None
    }

    def look_at(args: tuple[Any, ...], facts: dict[str, Any]) -> None:
        for name, value in signature.bind(*args, **facts).arguments.items():
            if name in checks:
                checks[name](name, value)

    if inspect.iscoroutinefunction(method):

        @wraps(method)
        async def later(*args: Any, **facts: Any) -> Any:
            look_at(args, facts)
            return await method(*args, **facts)

        return cast("M", later)

    @wraps(method)
    def at_once(*args: Any, **facts: Any) -> Any:
        look_at(args, facts)
        return method(*args, **facts)

    return cast("M", at_once)


def check_text(name: str, value: object, *, empty: bool = False) -> None:
    """Raises `BrokerConfigError` for what is no text, or says nothing."""
    remedy = _WHOSE if name == "owner" else "Give a text."
    if not isinstance(value, str):
        _refuse(name, value, "a text", remedy)
    if not empty and not value.strip():
        raise BrokerConfigError(f"The {name} is empty.", remedy=remedy)


def check_moment(name: str, value: object) -> None:
    """Raises `BrokerConfigError` for what is no time, or one that states no zone."""
    if not isinstance(value, datetime):
        _refuse(name, value, "a datetime", "Give a datetime with a zone, such as datetime.now(UTC).")
    if value.tzinfo is None:
        raise BrokerConfigError(f"{name} states no zone: {value}.", remedy="Give it one, such as datetime.UTC.")


def check_flag(name: str, value: object) -> None:
    """Raises `BrokerConfigError` for what is neither `True` nor `False`, such as the text "no"."""
    if not isinstance(value, bool):
        _refuse(name, value, "True or False", "Give one of them.")


def _check_day(name: str, value: object) -> None:
    if not isinstance(value, date) or isinstance(value, datetime):
        _refuse(name, value, "a date", "Give a datetime.date, such as date(2026, 1, 31).")


def _check_span(name: str, value: object) -> None:
    if not isinstance(value, timedelta):
        _refuse(name, value, "a timedelta", "Give one, such as timedelta(seconds=30).")
    if value < timedelta(0):
        raise BrokerConfigError(f"{name} is below nothing.", remedy="Give a timedelta from zero on.")


def _check_number(name: str, value: object) -> None:
    least = 0 if name in _MAY_BE_ZERO else 1
    if not isinstance(value, int) or isinstance(value, bool):
        _refuse(name, value, "a whole number", f"Give one from {least} on.")
    if value < least:
        raise BrokerConfigError(f"The {name} is {value}.", remedy=f"Give a whole number from {least} on.")
    if value > _LARGEST:
        raise BrokerConfigError(f"The {name} is beyond any that is counted to.", remedy="Give a smaller number.")


def _check_texts(name: str, value: object) -> None:
    if isinstance(value, str):
        raise BrokerConfigError(
            f"{name} is the text {value!r}, and has to be a list of texts.", remedy=f"Give [{value!r}] for that one."
        )
    if not isinstance(value, Collection) or isinstance(value, Mapping | bytes):
        _refuse(name, value, "a list of texts", "Give a list, or leave it out for all.")
    for one in value:
        if not isinstance(one, str) or not one.strip():
            raise BrokerConfigError(
                f"{name} holds {_kind(one)}, and has to be a list of texts.", remedy="Give a list of names."
            )


def _check_fields(name: str, value: object, kinds: tuple[type, ...] = (str, Secret)) -> None:
    """No value is shown: it may be a secret."""
    remedy = 'Give a mapping, such as {"user": "ann"}.'
    if not isinstance(value, Mapping):
        _refuse(name, value, "a mapping of names to texts", remedy)
    for key, one in value.items():
        if not isinstance(key, str):
            raise BrokerConfigError(f"A name in {name} is {_kind(key)} and no text.", remedy=remedy)
        if not isinstance(one, kinds):
            raise BrokerConfigError(
                f"In {name}, {key} is {_kind(one)} and no text.", remedy=f"Give {key} as a text, or leave it out."
            )


def _check_call(name: str, value: object) -> None:
    if not callable(value):
        _refuse(name, value, "something that can be called", "Give a function.")


def _check_file(name: str, value: object) -> None:
    if not hasattr(value, "read") or isinstance(value, io.TextIOBase):
        _refuse(name, value, "a file that is open for reading bytes", 'Open it with open(path, "rb").')


def _check_rows(name: str, value: object) -> None:
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
        _refuse(name, value, "a list of rows", "Give a list of ExistingTrade.")


def _check_instance(kind: type, name: str, value: object) -> None:
    if not isinstance(value, kind):
        _refuse(name, value, f"of the type {kind.__name__}", f"Make one with {kind.__name__}(...).")


_CHECKS: Final[Mapping[str, _Check]] = MappingProxyType(
    {
        "str": check_text,
        "int": _check_number,
        "bool": check_flag,
        "datetime": check_moment,
        "date": _check_day,
        "timedelta": _check_span,
        "Sequence[str]": _check_texts,
        "Mapping[str, str | Secret]": _check_fields,
        # what each token may be is known to who takes them over
        "Mapping[str, str | Secret | datetime]": partial(_check_fields, kinds=(object,)),
        "Iterable[ExistingTrade]": _check_rows,
        "BinaryIO": _check_file,
        "EventSink": _check_call,
        "OnRow": _check_call,
        "OnDifference": _check_call,
    }
)


def _check_of(name: str, annotation: Any, names: Mapping[str, Any]) -> _Check | None:
    if annotation is inspect.Parameter.empty:
        return None
    kind = annotation.removesuffix(" | None")
    check = _CHECKS.get(kind) or partial(_check_instance, names[kind])
    if kind == "str" and kind != annotation:
        check = partial(check_text, empty=name in _MAY_BE_EMPTY)
    return check if kind == annotation else partial(_unless_none, check)


def _unless_none(check: _Check, name: str, value: object) -> None:
    if value is not None:
        check(name, value)


def _refuse(name: str, value: object, wanted: str, remedy: str) -> NoReturn:
    raise BrokerConfigError(f"{name} is {_kind(value)}, and has to be {wanted}.", remedy=remedy)


def _kind(value: object) -> str:
    """What kind of thing it is, never its content."""
    return "None" if value is None else f"of the type {type(value).__name__}"
