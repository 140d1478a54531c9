"""The page of the configuration: keys, types and defaults of the classes, meanings of the reference's table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import attrs
from docs.generator.text import MADE_BY, code, default, table
from docs.generator.toml import fields, type_text

from brokersync.config import BrokerSettings, Settings

_REFERENCE: Final = Path(__file__).resolve().parents[1] / "reference.md"
_HEAD: Final = f"""{MADE_BY}
# Configuration

A TOML file, which `--config` or `BROKERSYNC_CONFIG` names, or `load_settings`. A duration is text such as `500ms`,
`30s`, `5m`, `6h` or `365d`. An unknown key is an error that names it, and all mistakes are told at once. Variables
and the keys of a limit stand in the [reference](../reference.md#settings).
"""
_ROW: Final = re.compile(r"^\| `([\w.]+)` \|(?:[^|]*)\| (.*) \|$", re.MULTILINE)


def page() -> str:
    means = _meanings()
    tables = [(field, kind) for field, kind in fields(Settings) if attrs.has(kind)]
    sections = [_section("At the top", "", Settings, means)]
    sections += [_section(f"`[{field.name}]`", f"{field.name}.", kind, means) for field, kind in tables]
    return "\n".join([_HEAD, *sections, _section("`[brokers.KEY]`", "brokers.KEY.", BrokerSettings, means)])


def _meanings() -> dict[str, str]:
    text = _REFERENCE.read_text(encoding="utf-8")
    section = re.search(r"^## Settings$(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    assert section, "the reference has no section of settings"
    # its links are of the folder above
    return {key: re.sub(r"\]\((?=\w)", "](../", means) for key, means in _ROW.findall(section[1])}


def _section(title: str, prefix: str, kind: type, means: dict[str, str]) -> str:
    rows = [_row(prefix, field, typ, means) for field, typ in fields(kind) if not attrs.has(typ)]
    return f"## {title}\n\n" + table(("key", "type", "default", "means"), [row for row in rows if row])


def _row(prefix: str, field: attrs.Attribute[Any], kind: Any, means: dict[str, str]) -> list[str]:
    key = prefix + field.name
    if key == "brokers":
        return []
    if key not in means:
        raise SystemExit(f"docs/reference.md does not say what the setting {key} means")
    return [code(field.name), type_text(kind), default(field), means[key]]
