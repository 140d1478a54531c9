"""Write the generated pages; with `--check` write nothing, and fail with the names of those that are stale."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from docs.generator import commands, contract, manifest, modules, settings, signals

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = {
    "core/README.md": modules.page,
    "docs/reference/command-line.md": commands.page,
    "docs/reference/configuration.md": settings.page,
    "docs/reference/contract.md": contract.page,
    "docs/reference/errors.md": signals.errors_page,
    "docs/reference/events.md": signals.events_page,
    "docs/reference/metrics.md": signals.metrics_page,
    "docs/reference/provider-toml.md": manifest.page,
}


def main(words: list[str]) -> int:
    stale = []
    for name, page in PAGES.items():
        path, text = ROOT / name, page()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in words:
                path.write_text(text, encoding="utf-8")
    sys.stdout.write("".join(f"{name}\n" for name in stale))
    return 1 if stale and "--check" in words else 0


sys.exit(main(sys.argv[1:]))
