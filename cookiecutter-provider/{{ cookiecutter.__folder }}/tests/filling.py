"""What still tells of the template's invented broker."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from brokersync import ProviderRegistry

from .logins import KEY

_PROJECT = Path(__file__).resolve().parents[1]
_READ = ("README.md", "src/**/*.py", "src/**/*.toml", "tests/stage.py")
# two words in capitals; written apart here, so that this line is no place
_MARK = re.compile("FILL" + r" IN: (.*?)(?: -->)?$")


def places() -> list[str]:
    """Each place to be filled in."""
    return [*_marked(), *_invented()]


def _marked() -> Iterator[str]:
    for path in sorted(path for pattern in _READ for path in _PROJECT.glob(pattern)):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if found := _MARK.search(line):
                yield f"{path.relative_to(_PROJECT)}:{number}: {found[1]}"


def _invented() -> Iterator[str]:
    """Facts of `provider.toml` that carry no mark, since they show by themselves that they are invented."""
    manifest = ProviderRegistry.installed().manifest(KEY)
    urls = {"docs": manifest.docs, "support": manifest.support}
    urls |= {f"host {role}": url for role, url in manifest.hosts.items()}
    for name, url in urls.items():
        if (urlsplit(url).hostname or "").endswith(".example"):
            yield f"provider.toml: {name}: {url} is invented, since no real host ends in .example"
    for limit in manifest.limits:
        if not limit.source:
            yield f"provider.toml: limits: {limit.amount} calls per {limit.scope} have no source"
