"""Files of a package that is not imported: found and read without running any of its code."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

LARGEST_TEXT: Final = 1024 * 1024


class PackageError(Exception):
    """The package, or the file in it, can not be used; the text says why, as the end of a sentence."""


def package_folders(package: str) -> tuple[str, ...]:
    """The folders that the package would be imported from. Raises `PackageError`."""
    return tuple(_spec(package).submodule_search_locations or ())


def read_text(package: str, name: str) -> str:
    """A file of the package, in editable installs and zip files too. Raises `PackageError`.

    What is larger than a mebibyte is refused and read no further than that.
    """
    spec = _spec(package)
    if spec.submodule_search_locations is None:
        raise PackageError(f"{package!r} is a single module; {name} lies in a package")
    for folder in spec.submodule_search_locations:
        try:
            data = _read(spec, f"{folder}/{name}")
        except OSError:
            continue
        if len(data) > LARGEST_TEXT:
            raise PackageError(f"its {name} is larger than {LARGEST_TEXT} bytes")
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise PackageError(f"its {name} is not UTF-8") from None
    raise PackageError(f"its package {package!r} has no {name}")


def _spec(package: str) -> ModuleSpec:
    from importlib.util import find_spec

    try:
        spec = find_spec(package)  # a top-level name: looking for it runs no code of the package
    except (ImportError, ValueError, AttributeError) as error:
        raise PackageError(f"its package {package!r} can not be looked up: {type(error).__name__}") from None
    if spec is None:
        raise PackageError(f"its package {package!r} is not installed")
    return spec


def _read(spec: ModuleSpec, path: str) -> bytes:
    """One byte more than the largest, where there are more."""
    if Path(path).exists():
        return _read_plain(path)
    archive = getattr(spec.loader, "archive", None)
    if archive is not None:
        return _read_zipped(archive, path)
    get_data = getattr(spec.loader, "get_data", None)
    if get_data is None:
        raise FileNotFoundError(path)
    data: bytes = get_data(path)  # a loader of somebody's own, which knows where its data lie
    return data


def _read_plain(path: str) -> bytes:
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise FileNotFoundError(path)  # to read a pipe or a device would never end
    with Path(path).open("rb") as file:
        return file.read(LARGEST_TEXT + 1)


def _read_zipped(archive: str, path: str) -> bytes:
    """What zipimport would read whole, however large it unpacks to."""
    from zipfile import BadZipFile, ZipFile

    try:
        with ZipFile(archive) as pack, pack.open(path.removeprefix(archive).lstrip("/\\").replace("\\", "/")) as file:
            return file.read(LARGEST_TEXT + 1)
    except (KeyError, BadZipFile):
        raise FileNotFoundError(path) from None
