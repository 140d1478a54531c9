"""What the template renders has the shape of the model, fits this core, and shows nothing of the template itself."""

from __future__ import annotations

import re
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import attrs
import pytest
from packaging.requirements import Requirement

from brokersync.manifest import parse_manifests
from brokersync.plugin import CONTRACT_VERSION
from brokersync.version import VERSION

from .projects import ROOT, Combination, Project, beside, render

MODEL = ROOT / "plugins" / "tradovate"
AUTH = {"signed": "api_key"}


@pytest.fixture(scope="module")
def project(
    combination: Combination, tmp_path_factory: pytest.TempPathFactory, own_settings_of_cookiecutter: None
) -> Project:
    """The template with these choices, rendered and built once."""
    folder = render(tmp_path_factory.mktemp("rendered"), **attrs.asdict(combination))
    return beside(folder, tmp_path_factory.mktemp("built"))


def files_of(project: Project) -> list[Path]:
    """All that was rendered."""
    return sorted(path for path in project.folder.rglob("*") if path.is_file())


def test_its_wheel_holds_what_the_code_needs_and_no_tests(project: Project) -> None:
    with zipfile.ZipFile(project.wheel) as pack:
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
    assert all(len(path.read_text().splitlines()) < 300 for path in files_of(project) if path.suffix == ".py")


def test_its_metadata_fit_this_core(project: Project, combination: Combination) -> None:
    metadata: Any = tomllib.loads((project.folder / "pyproject.toml").read_text())["project"]
    (needs,) = (Requirement(text) for text in metadata["dependencies"])
    manifest_text = (project.folder / "src" / "brokersync_acme" / "provider.toml").read_text()
    (manifest,) = parse_manifests(manifest_text, "provider.toml")

    assert (needs.name, needs.specifier.contains(VERSION)) == ("brokersync", True)
    assert metadata["entry-points"] == {"brokersync.providers": {"acme": "brokersync_acme"}}
    assert manifest.contract == CONTRACT_VERSION
    assert [manifest.licence] == [combination.licence] == [metadata["license"]]
    assert [one.value for one in manifest.auth] == [AUTH.get(combination.auth_kind, combination.auth_kind)]


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
        allowed = {"attrs", "brokersync.plugin"}
        allowed |= {"aiohttp"} if path.name.startswith("sandbox") else set()
        allowed |= {"brokersync.testing"} if path.name == "suite.py" else set()
        names = re.findall(r"^ *(?:from|import) ([\w.]+)", path.read_text(), re.MULTILINE)
        outside = {name for name in names if name.partition(".")[0] not in own}
        assert outside <= allowed, path.name


def test_nothing_of_the_template_itself_is_left(project: Project) -> None:
    found = [path for path in files_of(project) if re.search(r"{%|cookiecutter|\bTODO\b", path.read_text())]

    assert found == []


_LONGEST = {
    "key": "a-key-of-thirty-two-characters-x",
    "display_name": "A Name of Sixty Characters".ljust(60, "s"),
    "api_url": "https://api.thirty-two-characters.test/" + "v" * 41,
    "demo_url": "https://api.thirty-two-characters.test/" + "w" * 41,
}


@pytest.mark.parametrize("names", [{"key": "a", "display_name": "A"}, _LONGEST], ids=["shortest", "longest"])
def test_names_of_any_length_fit_the_lines(rendered: Any, names: dict[str, str], combination: Combination) -> None:
    folder = rendered(**(attrs.asdict(combination) | names))
    project = Project(folder, folder, Path(sys.executable))

    project.checked("ruff", "check", "--no-cache")
    project.checked("ruff", "format", "--check", "--no-cache")
