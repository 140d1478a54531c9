"""A recording appears in its folder whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from brokersync.errors import BrokerConfigError
from brokersync.testing.recording import recording as files
from brokersync.testing.recording.recording import INDEX, RecordedExchange, Recording, load, recordings_in, write

from .sessions import AT

RECORDING = Recording(
    key="acme",
    environment="live",
    at=AT,
    plugin="brokersync-acme 1.0",
    hosts={"api": "/api/v2"},
    fields={"username": "somebody"},
    exchanges=(RecordedExchange(method="GET", role="api", path="/me", status=200, file="001-me.json"),),
    bodies={"001-me.json": '{"id": 1,\r\n "name": "Bücher"}'},
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write(RECORDING, tmp_path / "new" / "first")
    assert recordings_in(tmp_path / "new") == [tmp_path / "new" / "first"]
    assert load(tmp_path / "new" / "first") == RECORDING


def test_a_write_that_fails_midway_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []

    def full(handle: int) -> None:
        assert not (tmp_path / "first").exists(), "the folder is there before it is whole"
        written.append(handle)
        if len(written) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(BrokerConfigError, match="No space left"):
        write(RECORDING, tmp_path / "first")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    write(RECORDING, tmp_path / "first")
    with pytest.raises(BrokerConfigError, match="is there already"):
        write(attrs.evolve(RECORDING, key="other"), tmp_path / "first")
    assert load(tmp_path / "first").key == "acme"


@pytest.mark.parametrize("index", ["", "[]", "{}", '{"format": 2}', '{"format": 1}'])
def test_a_broken_one_is_said_to_be(tmp_path: Path, index: str) -> None:
    (tmp_path / INDEX).write_text(index)
    with pytest.raises(BrokerConfigError, match="recording"):
        load(tmp_path)


def test_an_index_reads_no_file_outside_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("outside")
    write(attrs.evolve(RECORDING, bodies={"secret.txt": "inside"}), tmp_path / "first")
    index = (tmp_path / "first" / INDEX).read_text()
    (tmp_path / "first" / INDEX).write_text(index.replace("001-me.json", "../secret.txt"))
    assert load(tmp_path / "first").bodies == {"../secret.txt": "inside"}
