"""Every link between the repository's pages leads somewhere, to the heading it names."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^(`{3,})[^\n]*\n.*?^\1$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_ELSEWHERE = ("http://", "https://", "mailto:")


def _pages() -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*.md")):
        folders = path.relative_to(ROOT).parts[:-1]
        # what is rendered is a project of its own
        if not any(name.startswith((".", "{{")) or name in ("build", "node_modules") for name in folders):
            yield path


PAGES = [str(path.relative_to(ROOT)) for path in _pages()]


def _prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def _anchors(page: Path) -> set[str]:
    """As GitHub makes them: the same heading a second time gets a number."""
    seen: Counter[str] = Counter()
    found = set()
    for title in re.findall(r"^#{1,6} (.+)$", _prose(page), re.MULTILINE):
        shown = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", title).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def _leads_nowhere(page: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    if not target.exists() or not target.is_relative_to(ROOT):
        return True
    return bool(anchor) and (target.suffix != ".md" or anchor not in _anchors(target))


def test_there_are_pages_with_links() -> None:
    assert len(PAGES) > 50
    assert "docs/index.md" in PAGES


@pytest.mark.parametrize("name", PAGES)
def test_every_link_of_a_page_leads_somewhere(name: str) -> None:
    page = ROOT / name
    links = _LINK.findall(_CODE.sub("", _prose(page)))
    assert [link for link in links if not link.startswith(_ELSEWHERE) and _leads_nowhere(page, link)] == []


@pytest.mark.parametrize("folder", ["core", "plugins/ibkr", "plugins/tradovate"])
def test_what_an_index_shows_of_a_distribution_has_no_link_that_holds_in_the_repository_only(folder: str) -> None:
    told = tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["readme"]
    links = _LINK.findall(_prose(ROOT / folder / told))
    assert [link for link in links if not link.startswith((*_ELSEWHERE, "#"))] == []
