"""A project for a service with the parts of one for files, as `docs/adding-a-broker.md` puts them together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from .projects import ROOT, Project, beside, render

_PACKAGE = Path("src/brokersync_acme")
_ANSWERS = {"key": "acme", "auth_kind": "api_key", "licence": "MIT"}


def test_a_project_for_a_service_reads_files_too(rendered: Any, tmp_path: Path, tmp_path_factory: Any) -> None:
    assert "### A service and files" in (ROOT / "docs" / "adding-a-broker.md").read_text(encoding="utf-8")
    mine: Path = rendered(history_kind="windows", **_ANSWERS)
    other = render(tmp_path / "for-files", history_kind="files", **_ANSWERS)
    _put_together(mine, other)
    project: Project = beside(mine, tmp_path_factory.mktemp("built"))
    project.checked("ruff", "check", "--no-cache")
    project.checked("mypy", "--cache-dir", str(tmp_path / "mypy"))
    project.checked("pytest", "-q", "-p", "no:cacheprovider", "--contract-rows", "2000")


def _put_together(mine: Path, other: Path) -> None:
    for name in (_PACKAGE / "statements.py", Path("tests/test_statements.py")):
        (mine / name).write_text((other / name).read_text())
    tests = mine / "tests" / "test_statements.py"
    # there is something to read now
    tests.write_text(
        re.sub(r"async def test_a_sync_of_a_login_has_nothing.*?\n\n\n", "", tests.read_text(), flags=re.S)
    )
    history, theirs = mine / _PACKAGE / "sandbox_history.py", (other / _PACKAGE / "sandbox_history.py").read_text()
    function = theirs[theirs.index("# FILL IN: the file as the broker writes it") :]
    text = history.read_text().replace("import annotations\n", "import annotations\n\nimport csv\nimport io", 1)
    facts = "from brokersync_acme.sandbox_facts import "
    history.write_text(text.replace(facts, f"{facts}ENVIRONMENTS, ", 1) + "\n\n" + function)
    (mine / _PACKAGE / "suite.py").write_text((other / _PACKAGE / "suite.py").read_text())
    toml = (other / _PACKAGE / "provider.toml").read_text()
    source = toml[toml.index("# FILL IN: what is known of the broker's files") :].replace(
        "precedence = 10", "precedence = 5"
    )
    manifest = mine / _PACKAGE / "provider.toml"
    manifest.write_text(f"{manifest.read_text()}\n{source}")
    spec = mine / _PACKAGE / "__init__.py"
    late = "    from brokersync_acme.renormalise import renormalise\n"
    text = spec.read_text().replace(late, f"{late}    from brokersync_acme.statements import AcmeStatements\n")
    create = "        create=AcmeProvider,\n"
    spec.write_text(text.replace(create, f"{create}        statements=lambda _: AcmeStatements(),\n"))
    again = mine / _PACKAGE / "renormalise.py"
    line = '    "executions": outcome_of,\n'
    again.write_text(again.read_text().replace(line, f'{line}    "statement": outcome_of,\n'))
