from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from brokersync.catalogue import catalogue

BROKERS = re.compile("|".join([*catalogue(), "interactive ?brokers", "flex"]), re.IGNORECASE)
ALLOWED_IN_CORE = re.compile(r"\bflexib\w*", re.IGNORECASE)  # the adjective

# A directive, its codes, and after them a reason in words.
_NOQA = re.compile(r"#\s*noqa: (?:[A-Z]+[0-9]+,? ?)+ +\S+.*\w")
_TYPE_IGNORE = re.compile(r"#\s*type: ignore\[[\w, -]+\]\s+#\s+\S+.*\w")


def test_core_names_no_broker(core_sources: list[Path], repository: Path) -> None:
    found = [
        f"{path.relative_to(repository)}:{number}: {line.strip()}"
        for path in core_sources
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if BROKERS.search(ALLOWED_IN_CORE.sub("", line))
    ]
    assert found == []


def _comments(path: Path) -> Iterator[tuple[int, str]]:
    text = path.read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def _unexplained(comment: str) -> bool:
    if "type: ignore" in comment:
        return not _TYPE_IGNORE.search(comment)
    return "noqa" in comment and not _NOQA.search(comment)


def test_every_exception_to_a_rule_has_its_reason_on_the_same_line(sources: list[Path], repository: Path) -> None:
    tests = [
        path for part in ("core", "plugins", "tests", "benchmarks") for path in (repository / part).glob("**/*.py")
    ]
    found = [
        f"{path.relative_to(repository)}:{line}: {comment}"
        for path in sorted({*sources, *tests})
        for line, comment in _comments(path)
        if _unexplained(comment)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("comment", "unexplained"),
    [
        ("# noqa: S101", True),
        ("# noqa", True),
        ("# noqa: S101  it is a test", False),
        ("# noqa: S101, S102  both are invented", False),
        ("# type: ignore", True),
        ("# type: ignore[arg-type]", True),
        ("# type: ignore[arg-type]  # what is refused", False),
        ("# an ordinary comment", False),
    ],
)
def test_the_guard_sees_what_it_should(comment: str, unexplained: bool) -> None:
    assert _unexplained(comment) is unexplained
