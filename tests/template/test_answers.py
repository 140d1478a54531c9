"""Answers from which no plugin can be made are refused with what is wrong, and nothing is left behind."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from brokersync.catalogue import catalogue

from .projects import TEMPLATE, run


def refused(folder: Path, **answers: str) -> list[str]:
    """The lines that the author is told, one for each mistake."""
    words = [f"{name}={value}" for name, value in answers.items()]
    done = run(sys.executable, "-m", "cookiecutter", "--no-input", "-o", ".", str(TEMPLATE), *words, folder=folder)
    assert done.returncode != 0
    assert "These answers do not make a plugin, and nothing was made:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [path.name for path in folder.iterdir() if path.name.startswith("brokersync")]
    return re.findall(r"^  (\w+: .*)$", done.stderr, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "answer", "told"),
    [
        ("key", "Acme", "'Acme' is no key. It begins with a lower-case letter"),
        ("key", "acme_pro", "holds lower-case letters, digits and single dashes"),
        ("key", "../acme", "is no key"),
        ("key", "4acme", "is no key"),
        ("key", "a" * 33, "has 33 characters, and a key has 32 at most"),
        ("key", "tradovate", "is the key of brokersync-tradovate. Two plugins with one key are both refused"),
        ("display_name", " ", "it is empty"),
        ("display_name", 'The "Best"', "it holds a quotation mark"),
        ("author", "A" * 61, "it has 61 characters, and 60 at most fit"),
        ("api_url", "http://api.acme.com", "does not begin with https:// and a host"),
        ("api_url", "api.acme.com", "does not begin with https:// and a host"),
        ("api_url", "https://localhost", "'localhost' is no name of a host"),
        ("api_url", "https://api.acme.com/", "ends in a slash"),
        ("api_url", "https://api.acme.com/v1?x=1", "is no base URL"),
        ("api_url", "https://me:pass@api.acme.com", "it holds a user name or password"),
        ("demo_url", "demo.acme.com", "does not begin with https:// and a host"),
        ("docs_url", 'https://acme.com/"docs"', "another sign that a URL does not have"),
        ("support_url", "mailto:help@acme.com", "does not begin with https://"),
    ],
)
def test_a_wrong_answer_is_named_with_what_is_wrong(tmp_path: Path, name: str, answer: str, told: str) -> None:
    (line,) = refused(tmp_path, **{name: answer})

    assert line.startswith(f"{name}: ")
    assert told in line


def test_all_wrong_answers_are_named_at_once(tmp_path: Path) -> None:
    lines = refused(tmp_path, key="ibkr", display_name="", api_url="ftp://acme.com", docs_url="acme.com")

    assert [line.partition(":")[0] for line in lines] == ["key", "display_name", "api_url", "docs_url"]


def test_the_keys_that_are_refused_are_those_of_the_catalogue() -> None:
    module = ast.parse((TEMPLATE / "hooks" / "pre_gen_project.py").read_text(encoding="utf-8"))
    (taken,) = (
        ast.literal_eval(node.value)
        for node in module.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TAKEN"
    )

    assert taken == {key: entry.distribution for key, entry in catalogue().items()}
