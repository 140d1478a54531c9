"""The site is built from the pages as they lie; a warning is an error."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = (sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-c", "docs")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str], float]:
    folder = tmp_path_factory.mktemp("site")
    began = time.monotonic()
    done = subprocess.run(
        [*BUILD, "-d", str(folder / "doctrees"), ".", str(folder / "html")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return folder / "html", done, time.monotonic() - began


def test_the_site_is_built_without_a_warning(
    built: tuple[Path, subprocess.CompletedProcess[str], float], told: Callable[[str], None]
) -> None:
    site, done, seconds = built
    assert done.returncode == 0, done.stderr
    pages = len([*site.rglob("*.html")])
    assert pages > 60
    told(f"documentation: {pages} pages built in {seconds:.0f} s, no warning")


def test_the_site_begins_at_its_index(built: tuple[Path, subprocess.CompletedProcess[str], float]) -> None:
    site, _, _ = built
    assert "docs/index.html" in (site / "index.html").read_text(encoding="utf-8")
    # each page of the navigation is in the menu of the first
    menu = (site / "docs" / "index.html").read_text(encoding="utf-8")
    for page in (
        "tutorial/publish-a-plugin.html",
        "reference/contract.html",
        "explanation/patterns.html",
        "../core/README.html",
    ):
        assert f'href="{page}"' in menu
