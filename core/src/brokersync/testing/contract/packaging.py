"""What is looked at in a plugin's own files and in a process of its own."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

# what importing the module did, seen from outside of it
_LOOK: Final = """
import json, os, sys, threading, time
import brokersync.plugin
did, looking = [], False
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
def hear(event, args):
    if not looking:
        return
    if event.startswith("socket."):
        did.append(f"{event} {args[1:]!r}")
    elif event == "open" and isinstance(args[2], int) and args[2] & WRITES:
        if not str(args[0]).endswith(".pyc") and "__pycache__" not in str(args[0]):
            did.append(f"it wrote the file {args[0]!r}")
    elif event in ("os.mkdir", "os.remove", "os.rename", "os.system", "subprocess.Popen"):
        if "__pycache__" not in str(args[0]):
            did.append(f"{event} {args[0]!r}")
sys.addaudithook(hear)
environment, threads = dict(os.environ), threading.active_count()
finders, began = list(sys.meta_path), time.process_time()
looking = True
__import__(sys.argv[1])
looking = False
took = time.process_time() - began
if dict(os.environ) != environment:
    did.append("it changed the environment variables")
if threading.active_count() != threads:
    did.append("it started a thread")
if sys.meta_path != finders:
    did.append("it changed sys.meta_path")
print(json.dumps({"did": did, "took": took}))
"""


def imported_alone(module: str) -> Mapping[str, Any]:
    """What importing a module does besides, and the seconds of CPU it takes, in a fresh process."""
    done = subprocess.run(  # noqa: S603  our own script in our own interpreter
        [sys.executable, "-c", _LOOK, module], capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode:
        return {"did": [f"importing it fails: {done.stderr.strip().splitlines()[-1:]}"], "took": 0.0}
    told: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def files_of(package: str) -> list[Path]:
    """The modules of an installed package."""
    found = find_spec(package)
    places = list(found.submodule_search_locations or ()) if found else []
    return sorted(path for place in places for path in Path(place).rglob("*.py"))


def imported_names(path: Path) -> Iterator[tuple[int, str]]:
    """The modules that a file imports, each with its line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module
