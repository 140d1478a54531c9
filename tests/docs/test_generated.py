"""The generated pages say what the code says now, and the hand-made tables have the code's defaults."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import attrs

from brokersync.config import Settings
from brokersync.converter import parse_duration

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "core" / "src" / "brokersync"


def test_no_generated_page_is_stale() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "docs.generator", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (
        f"write these anew with `python -m docs.generator`, from the root:\n{done.stdout}{done.stderr}"
    )


def test_no_usage_of_a_command_shows_how_the_page_was_made() -> None:
    page = (ROOT / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
    usages = [line for line in page.splitlines() if line.startswith("brokersync ")]
    assert "brokersync providers list [OPTIONS]" in usages
    assert not [line for line in usages if "docs.generator" in line]


def test_the_map_of_core_names_each_module_once_in_the_order_of_the_layers() -> None:
    readme = (ROOT / "core" / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| \[`(\w+)`\]\(", readme.partition("## The map")[2], re.MULTILINE)
    modules = {path.stem for path in CORE.glob("*.py")} | {path.parent.name for path in CORE.glob("*/__init__.py")}
    assert sorted(named) == sorted(modules - {"__init__"})

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    depth = {name: n for n, layer in enumerate(contracts[0]["layers"]) for name in re.findall(r"\w+", layer)}
    assert [depth[name] for name in named] == sorted(depth[name] for name in named)


def _defaults(kind: type, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in attrs.fields(kind):
        if attrs.has(type(field.default)):
            found |= _defaults(type(field.default), f"{field.name}.")
        else:
            found[prefix + field.name] = field.default
    return found


def test_the_defaults_of_the_settings_are_those_of_the_code() -> None:
    page = (
        (ROOT / "docs" / "reference.md").read_text(encoding="utf-8").partition("## Settings")[2].partition("\n## ")[0]
    )
    told = dict(re.findall(r"^\| `([\w.]+)` \| ([^|]*?) ?\|", page, re.MULTILINE))
    wrong = []
    for key, default in _defaults(Settings).items():
        shown = told.get(key, "missing").strip("`")
        if isinstance(default, timedelta):
            same = parse_duration(shown) == default
        elif isinstance(default, Enum):
            same = shown == default.value
        elif isinstance(default, int):
            same = shown == str(default).lower()
        elif isinstance(default, str) and default:
            same = shown == default
        else:
            continue  # what stands there in words
        if not same:
            wrong.append((key, shown, default))
    assert wrong == []
