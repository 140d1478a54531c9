"""Entry points and manifests, read without importing any plugin; the only file that knows importlib-metadata.

Cheap to import: values are named tuples because attrs would double the cost of a listing, and plain folders are read
here because importing importlib-metadata takes longer than everything else together. What is no plain folder, such as
a zip file or a finder of somebody's own, is left to that library.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from brokersync.errors import BrokerConfigError, BrokerPluginError

if TYPE_CHECKING:
    from brokersync.manifest import Manifest

GROUP: Final = "brokersync.providers"
MANIFEST: Final = "provider.toml"

# what neither a name nor a version may hold would reach terminals and logs
_HEADER = re.compile(r"^(Name|Version):[ \t]*([A-Za-z0-9._!+-]+)[ \t]*\r?$", re.MULTILINE)
_KEY = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_LARGEST = 1024 * 1024  # characters: what is longer was made to do harm
_OWN_FINDERS = ("_frozen_importlib_external", "importlib_metadata")


class Offer(NamedTuple):
    """An installed distribution's word that `module` holds the code for the broker `key`."""

    key: str
    module: str
    distribution: str
    version: str

    @property
    def package(self) -> str:
        """The plugin's top-level package, where its manifest lies."""
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".rstrip()


class Problem(NamedTuple):
    """A distribution, or one of its keys, that can not be offered; `key` is empty when even that is unreadable."""

    distribution: str
    reason: str
    key: str = ""


class Discovered(NamedTuple):
    """What is installed, sorted by key: offers, and what had to be left out.

    `folders` are the metadata folders of the distributions that offer something, where they lie on a plain file system.
    """

    offers: tuple[Offer, ...]
    problems: tuple[Problem, ...]
    folders: Mapping[str, str] = MappingProxyType({})


class _Metadata(Protocol):
    """What is asked of an installed distribution."""

    def read_text(self, filename: str) -> str | None: ...


class _Folder(NamedTuple):
    """The metadata folder of a distribution on a plain file system."""

    path: str

    def read_text(self, filename: str) -> str | None:
        try:
            with open(f"{self.path}/{filename}", encoding="utf-8", errors="replace") as file:  # noqa: PTH123  a listing need not pay for pathlib
                return file.read(_LARGEST + 1)
        except OSError:
            return None

    def __str__(self) -> str:
        return os.path.basename(self.path)  # noqa: PTH119  a listing need not pay for pathlib


def discover() -> Discovered:
    """The brokers that installed distributions offer, from their metadata alone.

    Nothing of a plugin is imported. Where one distribution stands on `sys.path` more than once, the first with readable
    metadata counts, as for importlib-metadata. What can not be read is a problem of its own and hides no other.
    """
    offers: set[Offer] = set()
    problems: set[Problem] = set()
    folders: dict[str, str] = {}
    for candidates in _by_name().values():
        dist = candidates[0] if len(candidates) == 1 else _preferred(candidates)
        try:
            text = dist.read_text("entry_points.txt") or ""
        except ValueError:
            problems.add(Problem(str(dist), "its entry points are not UTF-8"))
            continue
        if GROUP in text:
            name, version = _facts(dist)
            _sort_out(dist, name, version, text, offers, problems)
            if isinstance(dist, _Folder):
                folders[name] = dist.path
    return Discovered(tuple(sorted(offers)), tuple(sorted(problems)), folders)


def _sort_out(dist: _Metadata, name: str, version: str, text: str, offers: set[Offer], problems: set[Problem]) -> None:
    if len(text) > _LARGEST:
        problems.add(Problem(name or str(dist), f"its entry points are longer than {_LARGEST} characters"))
        return
    for key, module in _entries(text):
        if not name or not version:
            problems.add(Problem(name or str(dist), "its metadata does not tell its name and version", key))
        elif not _KEY.fullmatch(key):
            problems.add(Problem(name, f"the key {key!r} is not lower-case letters, digits and single dashes", key))
        elif not _MODULE.fullmatch(module):
            problems.add(Problem(name, f"its entry point must name the plugin's module, not {module!r}", key))
        else:
            offers.add(Offer(key, module, name, version))


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """Key and value of our group; other groups may hold anything."""
    group = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            group = line.strip("[]")
        elif group == GROUP and line and not line.startswith("#"):
            key, _, value = line.partition("=")
            yield key.strip(), value.strip()


def _facts(dist: _Metadata) -> tuple[str, str]:
    """Name and version; to parse the metadata as a mail, as importlib-metadata does, costs ten times this."""
    headers = _headers(dist).partition("\n\n")[0]
    found = dict(_HEADER.findall(headers))
    return found.get("Name", ""), found.get("Version", "")


def _headers(dist: _Metadata) -> str:
    try:
        return dist.read_text("METADATA") or dist.read_text("PKG-INFO") or ""
    except ValueError:
        return ""


def _preferred(candidates: list[_Metadata]) -> _Metadata:
    """An uninstalled or half-installed distribution leaves folders without metadata behind."""
    return next((dist for dist in candidates if _headers(dist)), candidates[0])


def _by_name() -> dict[str, list[_Metadata]]:
    """All installed distributions by normalised name, in the order of the import path."""
    found: dict[str, list[_Metadata]] = {}
    for name, dist in _installed():
        found.setdefault(_normalised(name), []).append(dist)
    return found


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _installed() -> Iterator[tuple[str, _Metadata]]:
    if any(hasattr(finder, "find_distributions") and not _is_own(finder) for finder in sys.meta_path):
        yield from _by_library(None)
        return
    for root in sys.path:
        if not isinstance(root, str):
            continue  # the import system ignores it too
        try:
            children = os.listdir(root or ".")  # noqa: PTH208  a listing need not pay for pathlib
        except NotADirectoryError:
            yield from _by_library(root)
            continue
        except OSError:
            continue
        if root.endswith(".egg"):
            yield from _by_library(root)
        for child in children:
            stem, dot, kind = child.rpartition(".")
            if dot and kind.lower() in ("dist-info", "egg-info"):
                yield stem.partition("-")[0], _Folder(f"{root or '.'}/{child}")


def _is_own(finder: object) -> bool:
    """Whether the finder looks into folders and zip files only, as we do."""
    module = finder.__module__ if isinstance(finder, type) else type(finder).__module__
    return module in _OWN_FINDERS


def _by_library(root: str | None) -> Iterator[tuple[str, _Metadata]]:
    """What importlib-metadata finds at a path that is no folder, or with the help of foreign finders."""
    import importlib_metadata

    for dist in importlib_metadata.distributions(**({} if root is None else {"path": [root]})):
        yield _facts(dist)[0] or str(dist), dist


def same_distribution(one: str, other: str) -> bool:
    """Whether both names mean one distribution, as package indexes see it."""
    return _normalised(one) == _normalised(other)


def read_manifest(offer: Offer) -> Manifest:
    """The manifest of an offer; nothing of its plugin is imported. See `read_manifests`."""
    for manifest in read_manifests(offer):
        if manifest.key == offer.key:
            return manifest
    raise refusal(offer, f"its {MANIFEST} does not describe the key that its entry point names")


def read_manifests(offer: Offer) -> tuple[Manifest, ...]:
    """All manifests in the plugin's `provider.toml`: one, or those of a family.

    The file is found without importing, in editable installs and zip files too. Raises `BrokerPluginError` that names
    the distribution and the reason.
    """
    from brokersync.manifest import parse_manifests  # attrs and cattrs are paid for only when a manifest is read
    from brokersync.packages import PackageError, read_text

    try:
        text = read_text(offer.package, MANIFEST)
    except PackageError as error:
        raise refusal(offer, str(error)) from None
    try:
        return parse_manifests(text, MANIFEST)
    except BrokerConfigError as error:
        raise refusal(offer, *(_contract_fault_in(text) or (error.message.rstrip("."),))) from None
    except Exception as error:  # noqa: BLE001  it is somebody else's file, and may be made to do harm
        raise refusal(offer, f"reading its {MANIFEST} failed with {type(error).__name__}") from None


def _contract_fault_in(text: str) -> tuple[str, str] | None:
    """A manifest for another contract may well have names that are unknown here; then the contract is the reason."""
    import tomllib

    from brokersync.compatibility import contract_fault

    try:
        contract = tomllib.loads(text).get("contract")
    except (ValueError, RecursionError):
        return None
    return contract_fault(contract) if type(contract) is int else None


def refusal(
    offer: Offer, reason: str, remedy: str = "Report it to the plugin's authors.", *, report_to: str | None = None
) -> BrokerPluginError:
    """The error that leaves this offer out and no other."""
    return BrokerPluginError(
        f"The plugin {offer} for the broker {offer.key!r} is refused: {reason}.",
        remedy=remedy,
        provider=offer.key,
        report_to=report_to,
    )
