"""One hash for all files of an installed distribution: whoever changes a byte changes it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

# of this installation, and not of what was installed
_OF_THE_INSTALLER: Final = frozenset(
    {"INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json"}
)


def files_hash(distribution_files: Iterable[tuple[str, Path]]) -> str:
    """The SHA-256 over the sorted names of these files, each with the SHA-256 of what it holds.

    Raises `OSError` for a file that can not be read.
    """
    whole = hashlib.sha256()
    for name, path in sorted(distribution_files):
        whole.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def installed_files(distribution: str, package: str) -> list[tuple[str, Path]]:
    """The files of an installed distribution by name, and all that lie in its package, listed or not.

    Compiled files are left out: Python writes them itself. An editable installation lists none of its package, which is
    looked at all the same.
    """
    from importlib.metadata import (
        PackageNotFoundError,
    )  # costs more than all else here, and most processes hash nothing
    from importlib.metadata import distribution as find
    from importlib.util import find_spec

    found: dict[str, Path] = {}
    try:
        listed = find(distribution).files or []
    except PackageNotFoundError:
        listed = []
    for one in listed:
        path = Path(str(one.locate()))
        if one.hash is not None and _counts(path) and path.is_file():
            found[str(one)] = path
    spec = find_spec(package)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        root = Path(place)
        for path in root.rglob("*"):
            if path.is_file() and _counts(path):
                found[f"{package}/{path.relative_to(root).as_posix()}"] = path
    return sorted(found.items())


def _counts(path: Path) -> bool:
    return path.suffix not in (".pyc", ".pth") and path.name not in _OF_THE_INSTALLER
