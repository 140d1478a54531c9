"""An author who has filled everything in is told so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from .projects import beside


@pytest.mark.parametrize("history_kind", ["windows", "session", "files"])
@pytest.mark.parametrize("auth_kind", ["api_key", "oauth2"])
def test_the_release_check_lists_each_mark_also_in_the_tests(
    rendered: Any, tmp_path_factory: Any, auth_kind: str, history_kind: str
) -> None:
    folder: Path = rendered(auth_kind=auth_kind, history_kind=history_kind)
    marked = {
        str(path.relative_to(folder)): path.read_text().count("FILL IN: ")
        for path in folder.rglob("*")
        if path.suffix in (".py", ".toml", ".md")
    }
    project = beside(folder, tmp_path_factory.mktemp("built"))
    listed = project.run("pytest", "-q", "-p", "no:cacheprovider", "-m", "release").stdout

    assert {"tests/test_normalise.py", "tests/test_rights.py", "tests/stage.py"} < {
        one for one in marked if marked[one]
    }
    for path, count in marked.items():
        # invented hosts and limits without a source are listed as well, without a mark
        assert len(re.findall(rf"^  {re.escape(path)}:\d+: ", listed, re.MULTILINE)) >= count, path


def test_the_release_check_is_green_when_nothing_is_invented_any_more(rendered: Any, tmp_path_factory: Any) -> None:
    folder: Path = rendered(
        api_url="https://api.acme.test/v1",
        demo_url="https://demo-api.acme.test/v1",
        docs_url="https://acme.test/docs",
        support_url="https://acme.test/support",
    )
    for path in (one for one in folder.rglob("*") if one.suffix in (".py", ".toml", ".md")):
        text = re.sub(r"^.*FILL IN: .*\n", "", path.read_text(), flags=re.MULTILINE)
        path.write_text(text.replace('period = "1m"\n', 'period = "1m"\nsource = "acme.test/docs, limits"\n'))
    project = beside(folder, tmp_path_factory.mktemp("built"))

    assert "1 passed" in project.checked("pytest", "-q", "-p", "no:cacheprovider", "-m", "release")
    printed = project.checked("pytest", "-q", "-p", "no:cacheprovider", "tests/test_manifest.py")
    assert "invented broker" not in printed
