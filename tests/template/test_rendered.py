"""What the template renders is green at once, and says what its author has to fill in."""

from __future__ import annotations

import re
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from brokersync.manifest import parse_manifests
from brokersync.plugin import CONTRACT_VERSION
from brokersync.version import VERSION

from .projects import AUTH_KINDS, HISTORY_KINDS, Combination, Project

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "plugins" / "tradovate"
NO_CACHE = ("-p", "no:cacheprovider")


def test_its_own_tests_pass_and_tell_how_much_is_invented(project: Project) -> None:
    printed = project.checked("pytest", "-q", "--contract-rows=5000", *NO_CACHE)

    # what the contract suite can not try on an invented broker it skips
    assert re.search(r"\d+ passed, \d+ skipped, 1 deselected", printed)
    assert re.search(r"\d+ places tell of an invented broker; `pytest -m release` lists them", printed)


def test_it_is_clean_for_ruff(project: Project) -> None:
    project.checked("ruff", "check", "--no-cache")
    project.checked("ruff", "format", "--check", "--no-cache")


def test_it_is_clean_for_mypy(project: Project) -> None:
    assert tomllib.loads((project.folder / "pyproject.toml").read_text())["tool"]["mypy"]["strict"] is True
    project.checked("mypy", "--cache-dir", str(project.caches / "mypy"))


def test_the_release_check_lists_each_place_to_be_filled_in(project: Project) -> None:
    done = project.run("pytest", "-q", *NO_CACHE, "-m", "release")

    assert done.returncode == 1
    for name in ("docs", "support", "host api", "limits"):
        assert f"provider.toml: {name}: " in done.stdout
    marked = [
        (path.relative_to(project.folder), number)
        for path in project.files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if "FILL IN:" in line
    ]
    assert len(marked) > 10
    for path, number in marked:
        assert f"{path}:{number}: " in done.stdout


def test_its_wheel_holds_what_the_code_needs_and_no_tests(project: Project) -> None:
    (wheel,) = (project.caches / "wheels").glob("*.whl")
    with zipfile.ZipFile(wheel) as pack:
        names = pack.namelist()

    assert {"brokersync_acme/provider.toml", "brokersync_acme/py.typed"} <= set(names)
    assert {name.partition("/")[0] for name in names} == {"brokersync_acme", "brokersync_acme-0.1.0.dist-info"}


def test_it_has_the_shape_of_the_model(project: Project) -> None:
    model, mine = (MODEL / "src" / "brokersync_tradovate", project.folder / "src" / "brokersync_acme")
    roles = {"__init__", "auth", "client", "credentials", "normalise", "payloads", "provider", "renormalise", "sandbox"}

    for package in (model, mine):
        assert {f"{role}.py" for role in roles} <= {path.name for path in package.iterdir()}
    for name in ("README.md", "LICENSE", "CHANGELOG.md", ".gitignore", ".github/workflows/ci.yml"):
        assert (project.folder / name).is_file()
    assert all(len(path.read_text().splitlines()) < 300 for path in project.files() if path.suffix == ".py")


def test_its_metadata_fit_this_core(project: Project, combination: Combination) -> None:
    metadata: Any = tomllib.loads((project.folder / "pyproject.toml").read_text())["project"]
    (needs,) = (Requirement(text) for text in metadata["dependencies"])
    manifest_text = (project.folder / "src" / "brokersync_acme" / "provider.toml").read_text()
    (manifest,) = parse_manifests(manifest_text, "provider.toml")

    assert (needs.name, needs.specifier.contains(VERSION)) == ("brokersync", True)
    assert metadata["entry-points"] == {"brokersync.providers": {"acme": "brokersync_acme"}}
    assert manifest.contract == CONTRACT_VERSION
    assert [manifest.licence] == [combination.licence] == [metadata["license"]]
    assert [one.value for one in manifest.auth] == [combination.auth_kind]


def test_its_licence_is_the_chosen_one(project: Project, combination: Combination) -> None:
    text = (project.folder / "LICENSE").read_text()

    if combination.licence == "Apache-2.0":
        assert text == (ROOT / "LICENSE").read_text()
    else:
        assert text.startswith("MIT License\n")
        assert "The authors of brokersync-acme" in text


def test_it_imports_only_what_a_plugin_may(project: Project) -> None:
    own = {*sys.stdlib_module_names, "brokersync_acme"}
    for path in (project.folder / "src" / "brokersync_acme").glob("*.py"):
        allowed = {"attrs", "brokersync.plugin"} | ({"aiohttp"} if path.name.startswith("sandbox") else set())
        names = re.findall(r"^ *(?:from|import) ([\w.]+)", path.read_text(), re.MULTILINE)
        outside = {name for name in names if name.partition(".")[0] not in own}
        assert outside <= allowed, path.name


def test_nothing_of_the_template_itself_is_left(project: Project) -> None:
    found = [path for path in project.files() if re.search(r"{%|cookiecutter|\bTODO\b", path.read_text())]

    assert found == []


_LONGEST = {
    "key": "a-key-of-thirty-two-characters-x",
    "display_name": "A Name of Sixty Characters".ljust(60, "s"),
    "api_url": "https://api.thirty-two-characters.test/" + "v" * 41,
}


@pytest.mark.parametrize("names", [{"key": "a", "display_name": "A"}, _LONGEST], ids=["shortest", "longest"])
@pytest.mark.parametrize("auth_kind", AUTH_KINDS)
@pytest.mark.parametrize("history_kind", HISTORY_KINDS)
def test_names_of_any_length_fit_the_lines(
    rendered: Any, names: dict[str, str], auth_kind: str, history_kind: str
) -> None:
    folder = rendered(**names, auth_kind=auth_kind, history_kind=history_kind)
    project = Project(folder, folder, folder)

    project.checked("ruff", "check", "--no-cache")
    project.checked("ruff", "format", "--check", "--no-cache")
