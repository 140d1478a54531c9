"""The files of an installed distribution: what its RECORD says of them, and what lies there."""

from __future__ import annotations

import csv
import hashlib
import os
import stat
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

import attrs

_LARGEST_RECORD: Final = 16 * 1024 * 1024
_LARGEST_ALL: Final = 1024 * 1024 * 1024
_LARGEST_URL: Final = 64 * 1024
_SHOWN: Final = 3
# Written by installers, who do not agree on them; none of them is code.
_BY_INSTALLERS: Final = frozenset({"INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"})
_WITHOUT_HASH: Final = frozenset({"RECORD", "RECORD.jws", "RECORD.p7s"})
# Python runs these when it starts, whoever imports what.
_AT_START: Final = frozenset({"sitecustomize.py", "usercustomize.py"})


@attrs.frozen
class Record:
    """The rows of a RECORD: each path with its digest, such as `sha256=...`, or an empty one; and its size in text."""

    folder: Path
    rows: Mapping[str, tuple[str, str]]

    @property
    def files_hash(self) -> str:
        """One hash over the sorted paths and digests of what a wheel brought, the same whoever installed it where."""
        told = hashlib.sha256()
        for path, (digest, _) in sorted(self.rows.items()):
            if digest and not path.startswith("../") and not self._is_of_installer(path):
                told.update(f"{path}\0{digest}\n".encode())
        return f"sha256:{told.hexdigest()}"

    def brings(self, package: str) -> bool:
        """Whether the package is one of this distribution's own."""
        return any(path.startswith(f"{package}/") for path in self.rows)

    def ran_before(self) -> tuple[str, ...]:
        """Files that Python has read, and may have run, when it started: before anybody could hold them."""
        return tuple(
            path for path in sorted(self.rows) if "/" not in path and (path.endswith(".pth") or path in _AT_START)
        )

    def runs(self, path: str) -> bool:
        """Whether a file of `ran_before` holds code, and not just folders for the import path."""
        if not path.endswith(".pth"):
            return True
        try:
            with (self._root / path).open(encoding="utf-8", errors="replace") as file:
                return any(line.startswith(("import ", "import\t")) for line in file.read(_LARGEST_RECORD).splitlines())
        except OSError:
            return False

    def faults(self, package: str) -> tuple[str, ...]:
        """What speaks against the files that lie there: changed or missing ones, and unlisted ones in its packages."""
        size = self._size()
        if size > _LARGEST_ALL:
            return (f"its files are {size} bytes, too many to be checked",)
        wrong = {"changed or missing": sorted(self._changed()), "in no RECORD": sorted(self._unlisted(package))}
        return tuple(f"{_named(paths)} {_are(paths)} {what}" for what, paths in wrong.items() if paths)

    def _size(self) -> int:
        return sum(_size(self._root / path) for path in self.rows)

    @property
    def _root(self) -> Path:
        return self.folder.parent

    def _is_of_installer(self, path: str) -> bool:
        return PurePosixPath(path).parent.name == self.folder.name and PurePosixPath(path).name in _BY_INSTALLERS

    def _changed(self) -> Iterator[str]:
        for path, (digest, size) in self.rows.items():
            name, _, wanted = digest.partition("=")
            if not digest or self._is_of_installer(path):
                continue
            file = self._root / path
            if name != "sha256" or (size and size != str(_size(file))) or _sha256(file) != wanted:
                yield path

    def _unlisted(self, package: str) -> Iterator[str]:
        """What could be imported or read as the distribution's, and was not brought by it."""
        for path in self.rows:
            if not self.rows[path][0] and not self._needs_no_hash(path):
                yield path
        for top in sorted(self._own_folders() | {package}):
            for path in _files_in(self._root / top, top):
                if path not in self.rows and not self._needs_no_hash(path):
                    yield path

    def _needs_no_hash(self, path: str) -> bool:
        pure = PurePosixPath(path)
        if pure.parent.name == self.folder.name:
            return pure.name in _WITHOUT_HASH | _BY_INSTALLERS
        # Python's own copy of a source that is listed; without that it would not be imported
        return pure.parent.name == "__pycache__" and pure.suffix == ".pyc"

    def _own_folders(self) -> set[str]:
        """Packages that nobody else puts files into, and the metadata folder."""
        packages = {path.removesuffix("/__init__.py") for path in self.rows if path.endswith("/__init__.py")}
        return {name for name in packages if "/" not in name} | {self.folder.name}


def read_record(folder: Path) -> Record | None:
    """The RECORD in a metadata folder; `None` where there is none that can be read."""
    try:
        with (folder / "RECORD").open(encoding="utf-8", newline="") as file:
            text = file.read(_LARGEST_RECORD + 1)
    except (OSError, UnicodeDecodeError):
        return None
    if len(text) > _LARGEST_RECORD:
        return None
    try:
        rows = {row[0]: (row[1], row[2]) for row in csv.reader(text.splitlines()) if len(row) == 3}
    except csv.Error:
        return None
    return Record(folder, rows) if rows else None


def fingerprint(folder: Path | None) -> str:
    """Changes whenever an installer has written the files; cheap, and proves nothing of what lies there."""
    if folder is None:
        return ""
    try:
        with (folder / "RECORD").open("rb") as file:
            return hashlib.sha256(file.read(_LARGEST_RECORD)).hexdigest()
    except OSError:
        return ""


def is_editable(folder: Path) -> bool:
    """Whether it was installed in place, from a folder that somebody works in."""
    try:
        with (folder / "direct_url.json").open("rb") as file:
            text = file.read(_LARGEST_URL)
    except OSError:
        return False
    import json

    try:
        told = json.loads(text)
    except ValueError:
        return False
    return (
        isinstance(told, dict) and isinstance(told.get("dir_info"), dict) and told["dir_info"].get("editable") is True
    )


def folder_hash(folders: Sequence[str]) -> str:
    """The hash over all files of a package, where no RECORD lists them."""
    told = hashlib.sha256()
    for folder in folders:
        for path in sorted(_files_in(Path(folder), "")):
            if "__pycache__" not in path:
                told.update(f"{path}\0sha256={_sha256(Path(folder) / path)}\n".encode())
    return f"sha256:{told.hexdigest()}"


def _files_in(folder: Path, name: str) -> Iterator[str]:
    """The files below, as paths that begin with `name`; a link to a folder counts as a file, and is not followed."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in found:
        path = f"{name}/{entry.name}" if name else entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _files_in(Path(entry.path), path)
        else:
            yield path


def _size(file: Path) -> int:
    """In bytes; -1 for what is no file, since to read a pipe or a device would never end."""
    try:
        told = file.stat()
    except (OSError, ValueError):
        return -1
    return told.st_size if stat.S_ISREG(told.st_mode) else -1


def _sha256(file: Path) -> str:
    if _size(file) < 0:
        return ""
    try:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").digest()
    except OSError:
        return ""
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def _named(paths: Iterable[str]) -> str:
    told = list(paths)
    more = f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    return f"{', '.join(map(repr, told[:_SHOWN]))}{more}"


def _are(paths: Sequence[str]) -> str:
    return "is" if len(paths) == 1 else "are"
