"""One hash for all files of an installed distribution: whoever changes a byte changes it."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import Final

# of this installation, and not of what was installed
_OF_THE_INSTALLER: Final = frozenset(
    {"INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json"}
)


def files_hash(distribution_files: Iterable[tuple[str, Path]]) -> str:
    """One hash over the sorted names of these files, each with the SHA-256 of what it holds, as a RECORD writes it.

    Raises `OSError` for a file that can not be read.
    """
    whole = hashlib.sha256()
    for name, path in sorted(distribution_files):
        digest = urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
        whole.update(f"{name}\0sha256={digest}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def installed_files(distribution: str, package: str) -> list[tuple[str, Path]]:
    """The files of an installed distribution by name, and all that lie in its package, listed or not.

    Compiled files are left out: Python writes them itself. Of an editable installation, which lists none of its
    package, the package's files alone, named from there.
    """
    from importlib.metadata import (
        PackageNotFoundError,
    )  # costs more than all else here, and most processes hash nothing
    from importlib.metadata import distribution as find

    try:
        listed = find(distribution).files or []
    except PackageNotFoundError:
        listed = []
    found = {str(one): Path(str(one.locate())) for one in listed if one.hash is not None}
    found = {name: path for name, path in found.items() if _counts(name, path) and path.is_file()}
    brought = any(name.startswith(f"{package}/") for name in found)
    return sorted({**(found if brought else {}), **_lying_in(package, f"{package}/" if brought else "")}.items())


def _lying_in(package: str, below: str) -> dict[str, Path]:
    from importlib.util import find_spec

    spec = find_spec(package)
    roots = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    files = ((root, path) for root in roots for path in root.rglob("*") if path.is_file())
    named = ((f"{below}{path.relative_to(root).as_posix()}", path) for root, path in files)
    return {name: path for name, path in named if _counts(name, path)}


def _counts(name: str, path: Path) -> bool:
    outside = name.startswith("../")
    return not outside and path.suffix not in (".pyc", ".pth") and path.name not in _OF_THE_INSTALLER
