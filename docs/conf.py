"""The site: the repository's Markdown as it lies, so that each link works here as it does where the files are read.

Built from the root, with `sphinx-build -W --keep-going -n -c docs . build/site`.
"""

from __future__ import annotations

import posixpath
import re
from typing import Final

from sphinx.application import Sphinx

project = "brokersync"
copyright = "the authors of brokersync"  # noqa: A001  the name that Sphinx reads
extensions = ["myst_parser"]

root_doc = "docs/index"
include_patterns = [
    "*.md",
    "benchmarks/README.md",
    "cookiecutter-provider/README.md",
    "core/README.md",
    "docs/**/*.md",
    "docs/*.md",
    "plugins/*/README.md",
    "tests/simulation/README.md",
]
# folders in which there is nothing to find
exclude_patterns = [".?*", "build", "**/src", "**/__pycache__", "cookiecutter-provider/{{*"]

myst_heading_anchors = 4
nitpicky = True

html_theme = "furo"
html_title = "brokersync"
html_extra_path = ["_redirect"]
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}

# the pages whose lists are the navigation of the site
_LISTS: Final = ("docs/index", "docs/adr/README")
_SECTION: Final = re.compile(r"^## (.+)$", re.MULTILINE)
_ENTRY: Final = re.compile(r"^\* \[([^\]]+)\]\(([^)#:]+)\.md\)", re.MULTILINE)


def _with_navigation(_: Sphinx, docname: str, source: list[str]) -> None:
    """A page of lists stays plain Markdown; what it lists becomes a part of the navigation here."""
    if docname not in _LISTS:
        return
    before, *parts = _SECTION.split(source[0])
    sections = list(zip(parts[::2], parts[1::2], strict=True)) or [("", before)]
    folder = posixpath.dirname(docname)
    for caption, text in sections:
        lines = [f":caption: {caption}"] * bool(caption)
        for title, name in _ENTRY.findall(text):
            lines.append(f"{title.replace('`', '')} </{posixpath.normpath(posixpath.join(folder, name))}>")
        source[0] += "\n\n```{toctree}\n:hidden:\n" + "\n".join(lines) + "\n```\n"


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", _with_navigation)
    return {"parallel_read_safe": True}
