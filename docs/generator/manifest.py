"""The page of `provider.toml`: keys, types and defaults of the classes, and what each is for."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

from docs.generator.text import MADE_BY, code, default, table, told
from docs.generator.toml import fields, type_text

from brokersync.limits import RateLimit, SessionLimit
from brokersync.maintenance import MaintenanceWindow
from brokersync.manifest import Calendar, Field, Label, Manifest, Reread, SourceSpec
from brokersync.recorded_fields import RecordedFields

_WORDS: Final = Path(__file__).with_name("provider_toml.toml")
_HEAD: Final = f"""{MADE_BY}
# `provider.toml`

What is known of a broker without running its plugin's code. It lies in the plugin's top-level package. A duration
is text such as `500ms`, `30s`, `5m`, `6h` or `365d`. An unknown key is an error that names it, and all mistakes are
told at once; `brokersync providers KEY` shows what was understood. [Adding a
broker](../adding-a-broker.md#2-what-is-known-without-running-code) has an example.

A plugin of several brokers writes `[[brokers]]`, one for each with what is its own; what stands above them is said
of all.
"""
_TABLES: Final = {
    "": Manifest,
    "[[user_fields]] and [[operator_fields]]": Field,
    "[[sources]]": SourceSpec,
    "[sources.calendar]": Calendar,
    "[[sources.rereads]]": Reread,
    "[[limits]]": RateLimit,
    "[sessions]": SessionLimit,
    "[[maintenance]]": MaintenanceWindow,
    "[[labels]]": Label,
    "[recording]": RecordedFields,
}


def page() -> str:
    words = tomllib.loads(_WORDS.read_text(encoding="utf-8"))
    return "\n".join([_HEAD, *(_section(title, kind, words[kind.__name__]) for title, kind in _TABLES.items())])


def _section(title: str, kind: type, means: dict[str, str]) -> str:
    names = [field.name for field, _ in fields(kind)]
    if {*names} != {*means}:
        raise SystemExit(
            f"{_WORDS.name}: the keys of {kind.__name__} that are not the class's: { ({*names} ^ {*means}) }"
        )
    rows = [(code(field.name), type_text(typ), default(field), means[field.name]) for field, typ in fields(kind)]
    heading = " and ".join(code(one) for one in title.split(" and ")) if title else "At the top"
    about = "" if kind is Manifest else f"{told(kind)}\n\n"
    return f"## {heading}\n\n{about}" + table(("key", "type", "default", "is"), rows)
