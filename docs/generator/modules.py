"""The map of core in its README: the layers of import-linter, and of each module what its docstring says."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from docs.generator.text import table

_ROOT: Final = Path(__file__).resolve().parents[2]
_README: Final = _ROOT / "core" / "README.md"
_SOURCE: Final = _ROOT / "core" / "src" / "brokersync"
_BEGIN: Final = (
    "<!-- The map is written by `python -m docs.generator`, from the layers and the modules' docstrings. -->\n"
)
_END: Final = "<!-- end of the map -->\n"

# each part of the map, from the highest layer down, and the module it begins with
_PARTS: Final = {
    "__main__": "What is held and run",
    "queue": "Runs of connections",
    "shared": "The sync",
    "factory": "From a key to a provider",
    "plugin": "What a plugin sees",
    "http": "Requests",
    "rotation": "Logins",
    "retry": "What the work stands on",
    "provider": "The contract",
    "doubts": "Rules and values",
}


def page() -> str:
    text = _README.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    return before + _BEGIN + "\n" + "\n".join(_parts()) + "\n" + _END + rest.partition(_END)[2]


def _parts() -> Iterator[str]:
    part, rows = "", list[tuple[str, str]]()
    for module in _modules():
        if module in _PARTS and part:
            yield f"### {part}\n\n" + table(("module", "is"), rows)
            rows = []
        part = _PARTS.get(module, part)
        path = _path(module)
        rows.append((f"[`{module}`]({path.relative_to(_README.parent)})", _first_line(path)))
    yield f"### {part}\n\n" + table(("module", "is"), rows)


def _modules() -> list[str]:
    contracts = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = (one["layers"] for one in contracts if one["id"] == "layers")
    names = [name for layer in layers for name in re.findall(r"\w+", layer)]
    return [name for name in names if _path(name).exists()]  # a layer in brackets may have no module yet


def _path(module: str) -> Path:
    folder = _SOURCE / module
    return folder / "__init__.py" if folder.is_dir() else _SOURCE / f"{module}.py"


def _first_line(path: Path) -> str:
    told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not told:
        raise SystemExit(f"{path} has no docstring")
    return told.splitlines()[0]
