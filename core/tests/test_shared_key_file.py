"""The key file that all Postgres stores of a user share: what one does with it keeps every other one openable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from brokersync.masterkeys import KeyFile, master_keys
from brokersync.sealing import KEY_VARIABLE

HIDDEN = b"hidden-value"
_BEGINS = """
import asyncio, sys
from pathlib import Path
from brokersync.masterkeys import KeyFile

async def main():
    for _ in range(20):
        keys = await KeyFile(Path(sys.argv[1]), shared=True).begin()
        print((await keys.wrap(bytes(32), "o")).hex())

asyncio.run(main())
"""


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    return tmp_path / "folder" / "brokersync.key"


async def test_a_rotation_leaves_the_keys_of_other_stores_in_the_file(key_file: Path) -> None:
    others = await KeyFile(key_file, shared=True).wrap(HIDDEN, "o")
    rotating = KeyFile(key_file, shared=True)
    during = await rotating.begin()
    new = await during.wrap(HIDDEN, "o")
    (sentence,) = await rotating.end()
    assert f"The old keys stay in {key_file}" in sentence
    fresh = KeyFile(key_file, shared=True)
    assert [await fresh.unwrap(one, "o") for one in (others, new)] == [HIDDEN] * 2
    assert (await fresh.wrap(HIDDEN, "o"))[:9] == new[:9], "the new key seals from now on"
    assert {path.stat().st_mode & 0o777 for path in key_file.parent.iterdir()} == {0o600}


def test_rotations_of_several_stores_at_once_lose_no_key(key_file: Path) -> None:
    words = [sys.executable, "-c", _BEGINS, str(key_file)]
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    sealed = [bytes.fromhex(line) for one in running for line in one.communicate()[0].splitlines()]
    assert len(sealed) == 60
    keys, _ = master_keys(key_file)
    assert all(keys.knows(one) for one in sealed)
