"""The page of the contract: every name of `brokersync.plugin`, from its docstring, fields and methods."""

from __future__ import annotations

import inspect
import re
from enum import Enum
from typing import Any, Final

import attrs
from docs.generator.text import MADE_BY, code, default, slug, table, told

from brokersync import plugin
from brokersync.errors import BrokerError

_HEAD: Final = f"""{MADE_BY}
# The contract

Every name that a plugin imports, all from `brokersync.plugin`; nothing else of brokersync is a plugin's to use. The
contract's number is {plugin.CONTRACT_VERSION}; `provider.toml` names the one that a plugin was written for. [Adding
a broker](../adding-a-broker.md) says what each is for, [`provider.toml`](provider-toml.md) what is known without
running code, [Errors](errors.md) what to raise, and [Corrections](../how-to/corrections.md) how the rows of one
execution become one trade. Most values are frozen, are
made with named arguments, and check the types of their fields.
"""

# the reader's order; a name of the contract that stands nowhere is an error
_PARTS: Final = {
    "What a plugin gives": (
        "ProviderSpec", "BrokerProvider", "Consent", "StatementReader", "ReadsCache", "BrokerCredentials",
    ),
    "What a provider is given": (
        "ProviderContext", "Http", "RequestDraft", "HttpResponse", "Guard", "Clock", "Hosts", "Cache",
    ),
    "Logins": ("AuthResult", "Secret", "Challenge", "BrokerAccount"),
    "Requests and pages": (
        "TradeRequest", "TimeWindow", "TradePage", "CoveredSpan", "QuarantinedRow", "RawRow", "StatementHints",
    ),
    "Bookings and trades": ("TradeBooking", "BrokerTrade", "Instrument", "Fee"),
    "Findings of `brokersync doctor`": ("Finding",),
    "Simulated brokers": ("SimulatedBroker", "SandboxSettings", "SandboxLogin"),
}  # fmt: skip
_ELSEWHERE: Final = {
    "CONTRACT_VERSION": "the contract's number that this brokersync was made with",
    "CONTROL_PATH": f"`{plugin.CONTROL_PATH}`, under which a sandbox is told of faults and tells of its books",
    "Manifest": "what [`provider.toml`](provider-toml.md) holds",
    "hookimpl": "marks the plugin's one hook",
    "loads_exact": "reads JSON with exact numbers: fractions are `Decimal`, and no digit is lost",
}
_LONG: Final = 100


def page() -> str:
    words = [name for name in plugin.__all__ if _is(name, Enum) and not _is(name, BrokerError)]
    _nothing_is_left_out(words)
    parts = [_HEAD, _hook(), _others()]
    for title, names in _PARTS.items():
        parts += [f"## {title}\n", *(_class(name) for name in names)]
    parts += ["## Words\n", *(_word(name) for name in sorted(words))]
    return "\n".join(parts)


def _find(name: str) -> Any:
    return getattr(plugin, name)


def _is(name: str, kind: type) -> bool:
    found = getattr(plugin, name)
    return inspect.isclass(found) and issubclass(found, kind)


def _nothing_is_left_out(words: list[str]) -> None:
    shown = {*(name for names in _PARTS.values() for name in names), *_ELSEWHERE, *words}
    errors = {name for name in plugin.__all__ if _is(name, BrokerError)}
    if missing := {*plugin.__all__} - shown - errors:
        raise SystemExit(f"docs/generator/contract.py places these names of the contract nowhere: {sorted(missing)}")


def _hook() -> str:
    from brokersync.hookspecs import brokersync_provider

    return (
        "## The hook\n\nThe module that the entry point names has one function, and it is marked:\n\n"
        "```python\nfrom brokersync.plugin import ProviderSpec, hookimpl\n\n\n@hookimpl\n"
        "def brokersync_provider(broker: str) -> ProviderSpec | None: ...\n```\n\n" + told(brokersync_provider) + "\n"
    )


def _others() -> str:
    return "Beside the classes below there are:\n\n" + table(
        ("name", "is"), ((code(name), text) for name, text in sorted(_ELSEWHERE.items()))
    )


def _class(name: str) -> str:
    found = _find(name)
    parts = [f"### `{name}`\n", told(found) + "\n"]
    if attrs.has(found) and attrs.fields(found):
        rows = ((code(field.name), _type(field), default(field)) for field in attrs.fields(found))
        parts.append(table(("field", "type", "default"), rows))
    elif fields := getattr(found, "__annotations__", {}):
        parts.append(table(("field", "type"), ((code(field), _linked(kind)) for field, kind in fields.items())))
    parts += [_method(one, kind) for one, kind in vars(found).items() if _is_public(one, kind)]
    return "\n".join(parts)


def _is_public(name: str, kind: object) -> bool:
    called = name == "__call__" and inspect.isfunction(kind)
    return (
        called
        or (not name.startswith("_") and isinstance(kind, property | classmethod | staticmethod))
        or (not name.startswith("_") and inspect.isfunction(kind))
    )


def _method(name: str, kind: Any) -> str:
    if isinstance(kind, property) and kind.fget is not None:
        return f"`{name}` -> {code(_shortened(inspect.signature(kind.fget).return_annotation))}: {told(kind)}\n"
    function = kind.__func__ if isinstance(kind, classmethod | staticmethod) else kind
    return f"```python\n{_signature(name, function)}\n```\n\n{told(function)}\n"


def _signature(name: str, function: Any) -> str:
    found = inspect.signature(function)
    words = [_shortened(str(one)) for one in found.parameters.values()]
    kinds = [one.kind for one in found.parameters.values()]
    if inspect.Parameter.KEYWORD_ONLY in kinds:
        words.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    begin = "async def" if inspect.iscoroutinefunction(function) else "def"
    given = _shortened(str(found.return_annotation))
    line = f"{begin} {name}({', '.join(words)}) -> {given}"
    if len(line) <= _LONG:
        return line
    return f"{begin} {name}(\n" + "".join(f"    {word},\n" for word in words) + f") -> {given}"


def _shortened(text: str) -> str:
    # annotations are text in our modules, and written with quotes
    return re.sub(r"'([^']*)'", r"\1", text).replace("C_contra", "C")


def _type(field: attrs.Attribute[Any]) -> str:
    return _linked(field.type if isinstance(field.type, str) else _name_of(field.type))


def _name_of(kind: Any) -> str:
    return kind.__name__ if inspect.isclass(kind) else str(kind)


def _linked(kind: Any) -> str:
    """A type as code, which leads to the first class of this page that it names."""
    text = _shortened(kind if isinstance(kind, str) else _name_of(kind))
    for name in re.findall(r"\b[A-Z]\w+", text):
        if hasattr(plugin, name) and name not in _ELSEWHERE and not _is(name, BrokerError):
            return f"[`{text}`](#{slug(name)})"
    return code(text)


def _word(name: str) -> str:
    values = ", ".join(code(str(one.value)) for one in getattr(plugin, name))
    return f"### `{name}`\n\n" + (f"{text}\n\n" if (text := told(getattr(plugin, name))) else "") + values + "\n"
