"""What the tutorial's reader does with a piece of code: put it in place of what has the same name."""

from __future__ import annotations

import ast
import re
from typing import TypeAlias

_Named: TypeAlias = dict[str, ast.stmt]


def put(piece: str, text: str) -> str:
    """The module's text with the piece's definitions in it, and without the marks above those they replace.

    A piece with a docstring of its own is the whole module. A class that begins with `...` replaces some methods.
    """
    module = ast.parse(piece)
    if ast.get_docstring(module):
        return piece
    for node in module.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            text = _with_import(text, _source(piece, node))
        elif isinstance(node, ast.ClassDef) and _is_elided(node):
            text = _without_mark(text, node.name)
            for method in node.body[1:]:
                text = _replaced(text, method, _source(piece, method), within=node.name)
        else:
            text = _replaced(text, node, _source(piece, node))
    return text


def put_tables(piece: str, text: str) -> str:
    """The same of TOML, by the headings of tables; what stands above the first is replaced key by key."""
    parts = re.split(r"^(?=\[)", piece, flags=re.MULTILINE)
    for said in re.split(r"^(?=\w)", parts[0], flags=re.MULTILINE)[1:]:
        key, said = said.split(" =")[0], said.strip()
        # a list goes on over several lines, up to the one with its bracket alone
        value = rf"(?:^#.*\n)*^{key} = (?:\[\n(?:[^\]\n].*\n)*\]|.*)$"
        text, count = re.subn(value, said, text, flags=re.MULTILINE)
        assert count == 1, said
    for part in parts[1:]:
        heading = re.escape(part.split("\n")[0])
        whole = rf"(?:^#.*\n)*^{heading}\n(?:^[^\[#\n].*\n?)*"
        text, count = re.subn(whole, part.rstrip() + "\n", text, flags=re.MULTILINE)
        assert count == 1, heading
    return text


def unmarked(text: str) -> str:
    """Without the marks that are left, where the broker does as the invented one does."""
    return re.sub(r"^ *# FILL IN: .*\n", "", text, flags=re.MULTILINE)


def _is_elided(node: ast.ClassDef) -> bool:
    first = node.body[0]
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and first.value.value is ...


def _with_import(text: str, source: str) -> str:
    """Before the first import but that of the future; a formatter brings them into order."""
    imports = (one for one in ast.parse(text).body if isinstance(one, ast.Import | ast.ImportFrom))
    first = next(one for one in imports if getattr(one, "module", None) != "__future__")
    lines = text.splitlines()
    return "\n".join([*lines[: first.lineno - 1], source, *lines[first.lineno - 1 :]]) + "\n"


def _name(node: ast.stmt) -> str | None:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0])
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    return None


def _first(node: ast.stmt) -> int:
    lines: list[int] = [node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))]
    return min(lines)


def _source(text: str, node: ast.stmt) -> str:
    return "\n".join(text.splitlines()[_first(node) - 1 : node.end_lineno])


def _named(text: str, within: str | None) -> tuple[_Named, list[ast.stmt]]:
    body = ast.parse(text).body
    if within is not None:
        (owner,) = (one for one in body if isinstance(one, ast.ClassDef) and one.name == within)
        body = owner.body
    return {name: one for one in body if (name := _name(one))}, body


def _above(lines: list[str], first: int) -> int:
    """The line at which the comments above a definition begin."""
    while first > 1 and lines[first - 2].lstrip().startswith("#"):
        first -= 1
    return first


def _replaced(text: str, node: ast.stmt, source: str, within: str | None = None) -> str:
    names, body = _named(text, within)
    lines = text.splitlines()
    name = _name(node)
    assert name is not None, source
    if name in names:
        old = names[name]
        first, last = _above(lines, _first(old)), old.end_lineno or 0
    else:
        # what is new stands before the first function or class, or behind all others
        early = isinstance(node, ast.Assign)
        places = [_above(lines, _first(one)) for one in body if isinstance(one, ast.ClassDef | ast.FunctionDef)]
        first = places[0] if early else len(lines) + 1
        last, source = first - 1, f"{source}\n\n" if early else f"\n\n{source}"
    return "\n".join([*lines[: first - 1], source, *lines[last:]]) + "\n"


def _without_mark(text: str, name: str) -> str:
    names, _ = _named(text, None)
    lines = text.splitlines()
    first = _first(names[name])
    return "\n".join([*lines[: _above(lines, first) - 1], *lines[first - 1 :]]) + "\n"
