"""Everything of the contract that a plugin can lean on, as plain data, and what would break a plugin that did."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import attrs

from brokersync import hookspecs, plugin, provider
from brokersync.errors import BrokerError

# What a plugin implements, and core calls; a method that comes to it would be missing in every plugin that is there.
_OF_PLUGINS = ("BrokerProvider", "Consent", "StatementReader", "SimulatedBroker")
# What core implements, and a plugin calls.
_OF_CORE = ("Http", "Guard", "Clock", "Hosts", "Cache")


def surface() -> dict[str, Any]:
    """That of the present contract."""
    names = {name: getattr(plugin, name) for name in plugin.__all__}
    theirs = {name: names[name] for name in _OF_PLUGINS}
    ours = {name: getattr(provider, name) for name in _OF_CORE}
    return {
        "names": sorted(names),
        "values": {name: _fields(kind) for name, kind in names.items() if inspect.isclass(kind) and attrs.has(kind)},
        "enums": {
            name: {one.name: one.value for one in kind}
            for name, kind in names.items()
            if inspect.isclass(kind) and issubclass(kind, Enum)
        },
        "errors": {
            name: [base.__name__ for base in kind.__mro__ if issubclass(base, BrokerError)]
            for name, kind in names.items()
            if inspect.isclass(kind) and issubclass(kind, BrokerError)
        },
        "implemented": {name: _methods(kind) for name, kind in theirs.items()},
        "called": {name: _methods(kind) for name, kind in ours.items()},
        "hooks": {
            name: [*inspect.signature(hook).parameters]
            for name, hook in vars(hookspecs).items()
            if hasattr(hook, "brokersync_spec")
        },
    }


def broken(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What a plugin that was built on `then` may miss in `now`, each in words."""
    yield from (f"{name} is gone" for name in then["names"] if name not in now["names"])
    for name, fields in then["values"].items():
        present = now["values"].get(name, {})
        yield from (f"{name}.{field} is gone" for field in fields if field not in present)
        needed = [field for field, required in present.items() if required and not fields.get(field, False)]
        yield from (f"{name}.{field} has to be given now" for field in needed)
    for name, members in then["enums"].items():
        present = now["enums"].get(name, {})
        yield from (f"{name}.{one} is another" for one, value in members.items() if present.get(one) != value)
    for name, bases in then["errors"].items():
        yield from (f"{name} is no {base} any more" for base in bases if base not in now["errors"].get(name, []))
    for name, methods in then["implemented"].items():
        present = now["implemented"][name]
        yield from (f"{name}.{method} is asked for now" for method in present if method not in methods)
        yield from (
            f"{name}.{method} is called otherwise" for method in methods if present.get(method) != methods[method]
        )
    for name, methods in then["called"].items():
        yield from _calls(name, methods, now["called"][name])
    for name, parameters in then["hooks"].items():
        yield from (
            f"{name} is not given {one} any more" for one in parameters if one not in now["hooks"].get(name, [])
        )


def _calls(name: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for method, parameters in then.items():
        present = now.get(method, {})
        yield from (f"{name}.{method} takes no {one} any more" for one in parameters if one not in present)
        needed = [one for one, required in present.items() if required and not parameters.get(one, False)]
        yield from (f"{name}.{method} wants {one} now" for one in needed)


def _fields(kind: type) -> dict[str, bool]:
    """What can be given, and whether it must be."""
    return {field.alias or field.name: field.default is attrs.NOTHING for field in attrs.fields(kind) if field.init}


def _methods(kind: type) -> dict[str, dict[str, bool]]:
    found = {}
    for name, member in vars(kind).items():
        if inspect.isfunction(member) and (not name.startswith("_") or name in ("__call__", "__getitem__")):
            parameters = list(inspect.signature(member).parameters.values())[1:]
            found[name] = {one.name: one.default is inspect.Parameter.empty for one in parameters}
    return found
