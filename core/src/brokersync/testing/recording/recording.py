"""A recording: what may be kept of a session, and how it lies in a folder."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import attrs

from brokersync.converter import structure_config, to_json
from brokersync.errors import BrokerConfigError

FORMAT: Final = 1
ANYTHING: Final = "***"
"""Stands in a recorded request for what is different each time, or secret: it matches whatever is sent."""
INDEX: Final = "recording.json"


@attrs.frozen(kw_only=True)
class RecordedExchange:
    """A request by what matters of it, and its answer; `file` holds the answer's body."""

    method: str
    role: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: str = ""
    body_type: str = ""
    status: int
    answer_headers: Mapping[str, str] = attrs.field(factory=dict)
    file: str

    def __str__(self) -> str:
        shown = "&".join(f"{name}={value}" for name, value in self.query)
        told = f"{self.method} {self.path}" + (f"?{shown}" if shown else "")
        return f"{told} {self.body}" if self.body else told


@attrs.frozen(kw_only=True)
class RecordedReading:
    """What was asked of a source, and how much came; `trades` are what a plugin made of it when it was recorded."""

    source: str
    accounts: tuple[str, ...]
    start: datetime
    end: datetime
    rows: int
    quarantined: int
    trades: tuple[Mapping[str, Any], ...] = ()


@attrs.frozen(kw_only=True)
class Recording:
    """A session without anything private in it. `fields` are what the login is replayed with; with
    `consent` it is made at the broker's own page, which sends back a made-up code.

    `hosts` says, by role, below which path its host is replayed; `bodies` are the answers by the names of their files,
    which lie beside the index and not in it.
    """

    format: int = FORMAT
    key: str
    environment: str
    at: datetime
    plugin: str
    hosts: Mapping[str, str]
    fields: Mapping[str, str]
    operator_fields: Mapping[str, str] = attrs.field(factory=dict)
    consent: bool = False
    readings: tuple[RecordedReading, ...] = ()
    exchanges: tuple[RecordedExchange, ...]
    bodies: Mapping[str, str] = attrs.field(factory=dict, repr=False)


def texts_of(recording: Recording) -> dict[str, str]:
    """All files of a recording with what they hold."""
    index = to_json(attrs.evolve(recording, bodies={}))
    del index["bodies"]
    return {INDEX: json.dumps(index, ensure_ascii=False, indent=1) + "\n", **recording.bodies}


def write(recording: Recording, folder: Path) -> None:
    """Keep a recording in a new folder, of which nothing can be seen before it is whole.

    Raises `BrokerConfigError` where there is something already.
    """
    if folder.exists():
        raise BrokerConfigError(f"{folder} is there already.", remedy="Name another folder, or delete it first.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        for name, text in texts_of(recording).items():
            with (beside / name).open("w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        beside.chmod(0o755)
        beside.rename(folder)
    except OSError as error:
        raise _unwritable(folder, error) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def rewrite_index(recording: Recording, folder: Path) -> None:
    """Keep what a recording's readings are now."""
    beside = folder / f".{INDEX}"
    beside.write_text(texts_of(recording)[INDEX], encoding="utf-8")
    beside.replace(folder / INDEX)


def load(folder: Path) -> Recording:
    """A recording as it lies in a folder. Raises `BrokerConfigError` for one that can not be read."""
    try:
        told = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        number = told.get("format")
        if number != FORMAT:
            raise BrokerConfigError(f"The recording {folder} has the format {number!r}.", remedy="Record it anew.")
        recording = structure_config(told, Recording, str(folder / INDEX))
        names = {exchange.file for exchange in recording.exchanges}
        bodies = {name: (folder / Path(name).name).read_bytes().decode() for name in names}
    except (OSError, ValueError, AttributeError) as error:
        raise BrokerConfigError(
            f"The recording {folder} can not be read: {type(error).__name__}.", remedy="Record it anew."
        ) from None
    return attrs.evolve(recording, bodies=bodies)


def recordings_in(folder: Path) -> list[Path]:
    """The folders of all recordings below a folder, by name; none where there is no such folder."""
    return sorted(path.parent for path in folder.glob(f"*/{INDEX}"))


def _unwritable(folder: Path, error: OSError) -> BrokerConfigError:
    return BrokerConfigError(
        f"The recording can not be written to {folder}: {error.strerror}.", remedy="Name another folder with --to."
    )
