"""What still tells of the template's invented broker, in the order in which its author works."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[1]
_READ = ("README.md", "src/**/*.py", "src/**/*.toml", "tests/*.py")
_OF_LOGINS = ("signing.py", "tokens.py", "consent.py", "diagnosis.py")
_STEPS = {
    "What is known without running code": ("provider.toml",),
    "What the broker answers, out of its documentation": ("sandbox.py", "sandbox_*.py", "stage.py", "test_sandbox.py"),
    "How it is asked, and how a user logs in": ("client.py", "refusals.py", "*auth.py", *_OF_LOGINS, "test_rights.py"),
    "What a row means": ("payloads.py", "normalise.py", "*.py"),
    "What users are told": ("README.md",),
}
_ORDER = [(step, pattern) for step, patterns in _STEPS.items() for pattern in patterns]
# two words in capitals; written apart here, so that this line is no place
_MARK = re.compile("FILL" + r" IN: (.*?)(?: -->)?$")
_INVENTED = re.compile(r'^(\w+) = "(https://[^/":]+\.example(?=["/:?#])[^"]*)"')


def steps() -> dict[str, list[str]]:
    """The places of each step that has some left: file, line, and what is expected there."""
    found: dict[str, list[str]] = {}
    for path in sorted((path for pattern in _READ for path in _PROJECT.glob(pattern)), key=_place_in_order):
        for number, what in _expected(path):
            step, _ = _ORDER[_place_in_order(path)[0]]
            found.setdefault(step, []).append(f"{path.relative_to(_PROJECT)}:{number}: {what}")
    return found


def _place_in_order(path: Path) -> tuple[int, Path]:
    return next(number for number, (_, pattern) in enumerate(_ORDER) if path.match(pattern)), path


def _expected(path: Path) -> Iterator[tuple[int, str]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if found := _MARK.search(line):
            yield number, found[1]
        elif path.suffix == ".toml" and (found := _INVENTED.search(line)):
            yield number, f"{found[1]}: {found[2]} is invented, since no real host ends in .example"
        elif line == "[[limits]]" and "\nsource = " not in "\n".join(takewhile(str.strip, lines[number:])):
            yield number, "the broker's number, and as source = ... where it stands"
