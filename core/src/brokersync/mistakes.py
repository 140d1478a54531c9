"""Every mistake of a configuration at once: where it is, what is wrong, and what may stand there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from enum import Enum
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, TypeAlias, Union, get_args, get_origin, get_type_hints

import attrs

Structure: TypeAlias = Callable[[Any, Any], Any]
"""Makes a value of a kind, or raises what is wrong with it."""

_WHOLE = "the whole"


def mistakes_in(data: Any, kind: Any, structure: Structure) -> list[str]:
    """A line for each mistake that keeps `data` from being a `kind`, in the order of the text."""
    return [f"{path or _WHOLE}: {reason}" for path, reason in _Reader(structure).mistakes(data, kind, "")]


class _Reader:
    def __init__(self, structure: Structure) -> None:
        self._structure = structure

    def mistakes(self, value: Any, kind: Any, path: str) -> Iterator[tuple[str, str]]:
        kind = _without_none(kind, value)
        if attrs.has(kind):
            yield from self._in_table(value, kind, path)
        elif _is_list(kind):
            yield from self._in_list(value, get_args(kind)[0], path)
        elif _is_mapping(kind):
            yield from self._in_mapping(value, get_args(kind)[1], path)
        else:
            yield from self._alone(value, kind, path)

    def _in_table(self, value: Any, kind: Any, path: str) -> Iterator[tuple[str, str]]:
        if not isinstance(value, Mapping):
            yield path, "must be a table"
            return
        fields = attrs.fields_dict(kind)
        within, sound = self._within(value, kind, path)
        wrong = False
        for name in (*value, *(one for one in fields if one not in value)):
            if name not in fields:
                told = [(path, unknown(name, fields))]
            elif name in value or _has_default(fields[name]):
                told = [*within.get(name, ()), *_refused(sound, fields[name], f"{path}.{name}" if path else name)]
            else:
                told = [(path, f"{name!r} is missing")] if fields[name].default is attrs.NOTHING else []
            wrong = wrong or bool(told)
            yield from told
        if not wrong:
            yield from self._alone(value, kind, path)

    def _within(
        self, value: Mapping[str, Any], kind: Any, path: str
    ) -> tuple[Mapping[str, list[tuple[str, str]]], SimpleNamespace]:
        """The mistakes in each field, and all that is right: of a table with mistakes, what is right in it."""
        kinds, fields = get_type_hints(kind), attrs.fields_dict(kind)
        sound = SimpleNamespace(**{name: field.default for name, field in fields.items() if _has_default(field)})
        found = {}
        for name in value.keys() & fields.keys():
            item, there = value[name], f"{path}.{name}" if path else name
            vars(sound).pop(name, None)
            found[name] = [*self.mistakes(item, kinds[name], there)]
            if not found[name]:
                setattr(sound, name, self._structure(item, kinds[name]))
            elif attrs.has(kinds[name]) and isinstance(item, Mapping):
                setattr(sound, name, self._within(item, kinds[name], there)[1])
        return found, sound

    def _in_list(self, value: Any, kind: Any, path: str) -> Iterator[tuple[str, str]]:
        if not isinstance(value, list | tuple):
            yield path, "must be a list"
            return
        for index, item in enumerate(value):
            yield from self.mistakes(item, kind, f"{path}[{index}]")

    def _in_mapping(self, value: Any, kind: Any, path: str) -> Iterator[tuple[str, str]]:
        if not isinstance(value, Mapping):
            yield path, "must be a table"
            return
        for name, item in value.items():
            yield from self.mistakes(item, kind, f"{path}[{name}]")

    def _alone(self, value: Any, kind: Any, path: str) -> Iterator[tuple[str, str]]:
        if isinstance(kind, type) and issubclass(kind, Enum):
            allowed = [str(one.value) for one in kind]
            if value not in allowed:
                yield path, f"{value!r} is none of {', '.join(allowed)}"
            return
        try:
            self._structure(value, kind)
        except (ValueError, TypeError, ExceptionGroup) as error:
            yield path, _reason(error)


def _has_default(field: attrs.Attribute[Any]) -> bool:
    return field.default is not attrs.NOTHING and not isinstance(field.default, attrs.Factory)  # type: ignore[arg-type]  # a class, whatever its stub says


def _refused(sound: SimpleNamespace, field: attrs.Attribute[Any], path: str) -> Iterator[tuple[str, str]]:
    """What a field's validator says; it finds in `sound` whatever beside it is right."""
    if field.validator is None or not hasattr(sound, field.name):
        return
    try:
        field.validator(sound, field, getattr(sound, field.name))
    except (ValueError, TypeError) as error:
        yield path, str(error)


def _reason(error: BaseException) -> str:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return str(error)


def unknown(name: object, fields: Iterable[str]) -> str:
    """That a name is none of those that may stand there, and which one may have been meant."""
    fields = [*fields]
    close = get_close_matches(str(name), fields, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(fields)}"
    return f"unknown {name!r}; {hint}"


def _without_none(kind: Any, value: Any) -> Any:
    if get_origin(kind) not in (Union, UnionType) or value is None:
        return kind
    kinds = [one for one in get_args(kind) if one is not NoneType]
    return kinds[0] if len(kinds) == 1 else kind


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis


def _is_mapping(kind: Any) -> bool:
    return isinstance(get_origin(kind), type) and issubclass(get_origin(kind), Mapping)
