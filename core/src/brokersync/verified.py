"""The quality levels that plugins have reached on this machine, each bound to the files that were tested."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

import attrs

from brokersync.errors import BrokerConfigError
from brokersync.file_hashes import files_hash, installed_files
from brokersync.levels import Level


@attrs.frozen(kw_only=True)
class Verified:
    """What `brokersync verify` found: `files` is the hash of the files that were tested, `by` the brokersync."""

    key: str
    distribution: str
    version: str
    level: Level
    files: str
    at: datetime
    by: str
    exempt: tuple[str, ...] = ()


def plugin_files_hash(distribution: str, package: str) -> str:
    """The hash of an installed plugin's files as they are now: the approved one, as long as no byte has changed."""
    return files_hash(installed_files(distribution, package))


def load_verified(folder: Path) -> dict[str, Verified]:
    """What was found by key; nothing where nothing was kept, or where it can not be read any more."""
    place = _place(folder)
    if not place.exists():
        return {}
    from brokersync.converter import structure_config  # cattrs costs 50 ms that a listing without levels need not pay

    try:
        told = json.loads(place.read_text(encoding="utf-8"))
        return {key: structure_config(one, Verified, str(place)) for key, one in told.items()}
    except (OSError, ValueError, AttributeError, BrokerConfigError):
        return {}


def keep_verified(folder: Path, found: Verified) -> None:
    """Keep what was found in place of what was found before. Raises `OSError`."""
    from brokersync.converter import to_json

    known = {**load_verified(folder), found.key: found}
    folder.mkdir(parents=True, exist_ok=True)
    beside = _place(folder).with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps({key: to_json(one) for key, one in known.items()}, indent=1), encoding="utf-8")
    beside.replace(_place(folder))


def holds(found: Verified, package: str) -> bool:
    """Whether not a byte of the plugin has changed since."""
    try:
        return found.files == plugin_files_hash(found.distribution, package)
    except OSError:
        return False


def _place(folder: Path) -> Path:
    return folder / "verified.json"
