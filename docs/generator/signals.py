"""The pages of errors, events and metrics."""

from __future__ import annotations

import inspect
from typing import Final

import attrs
from docs.generator.text import MADE_BY, code, default, table, told

from brokersync import errors, events
from brokersync.telemetry.metrics import INSTRUMENTS

_ERRORS: Final = f"""{MADE_BY}
# Errors

Grouped by what happens next. What core does with each stands in the [reference](../reference.md#errors), and why
they are grouped so in [Patterns](../explanation/patterns.md#errors-by-what-happens-next). A plugin imports those
that it raises from `brokersync.plugin`, a backend those that it catches from `brokersync`.
"""

_EVENTS: Final = f"""{MADE_BY}
# Events

What a callable given as `events=` is told; each has `provider` and `connection_id`, which are empty where there is
none. When each is sent stands in the [reference](../reference.md#events). An event may gain fields in any release.
"""

_METRICS: Final = f"""{MADE_BY}
# Metrics

What `brokersync.telemetry.otel_events()` measures, and of which [event](events.md). The attributes of each stand in the
[reference](../reference.md#metrics). None names a connection or its owner.
"""


def errors_page() -> str:
    tree = [_ERRORS, "```text\n" + "\n".join(_branch(errors.BrokerError, 0)) + "\n```\n"]
    return "\n".join([*tree, *_errors(errors.BrokerError)])


def _below(kind: type) -> list[type]:
    return [one for one in vars(errors).values() if inspect.isclass(one) and kind in one.__bases__]


def _branch(kind: type, depth: int) -> list[str]:
    return ["    " * depth + kind.__name__, *(line for one in _below(kind) for line in _branch(one, depth + 1))]


def _errors(kind: type) -> list[str]:
    own = vars(kind).get("__init__")
    taken = [] if own is None else [one for one in inspect.signature(own).parameters.values() if one.name != "self"]
    fields = [code(one.name) for one in taken if one.kind is not inspect.Parameter.VAR_KEYWORD]
    said = f"\nTakes {', '.join(fields)}" + (
        ", and what its root takes.\n" if kind is not errors.BrokerError else ".\n"
    )
    parts = [f"## `{kind.__name__}`\n", told(kind) + "\n" + (said if fields else "")]
    return parts + [line for one in _below(kind) for line in _errors(one)]


def events_page() -> str:
    kinds = [one for one in vars(events).values() if inspect.isclass(one) and issubclass(one, events.Event)]
    return "\n".join([_EVENTS, *(_event(one) for one in kinds if one is not events.Event)])


def _event(kind: type) -> str:
    root = {field.name for field in attrs.fields(events.Event)}
    rows = [
        (code(field.name), code(str(field.type)), default(field, ""))
        for field in attrs.fields(kind)
        if field.name not in root
    ]
    text = told(kind)
    shown = table(("field", "type", "default"), rows) if rows else "No fields of its own.\n"
    return f"## `{kind.__name__}`\n\n" + (f"{text}\n\n" if text else "") + shown


def metrics_page() -> str:
    found: dict[str, tuple[str, str, str]] = {}
    told_by: dict[str, list[str]] = {}
    for one in INSTRUMENTS:
        kind = "gauge" if one.gauge else "histogram" if one.unit == "s" else "counter"
        found[one.name] = (kind, one.unit, one.about)
        told_by.setdefault(one.name, []).append(f"[`{one.event.__name__}`](events.md#{one.event.__name__.lower()})")
    rows = [(code(name), kind, unit, about, ", ".join(told_by[name])) for name, (kind, unit, about) in found.items()]
    return "\n".join([_METRICS, table(("metric", "kind", "unit", "measures", "of the event"), rows)])
