from __future__ import annotations

import base64
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from brokersync.errors import BrokerConfigError
from brokersync.masterkeys import KeyFile, MasterKeys, master_keys
from brokersync.sealing import KEY_VARIABLE

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
HIDDEN = "hidden-value"


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(BrokerConfigError, match=f"has {length} bytes"):
        MasterKeys(bytes(length))


def test_a_key_shows_only_its_id() -> None:
    shown = repr(MasterKeys(KEY))
    assert KEY.hex() not in shown
    assert base64.b64encode(KEY).decode() not in shown
    assert shown == repr(MasterKeys(KEY)) != repr(MasterKeys(OTHER_KEY))


def test_a_missing_key_file_is_made_for_its_owner_alone_and_used_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "store.key"
    key, made = master_keys(path, {})
    again, made_again = master_keys(path, {})
    assert (made, made_again) == (True, False)
    assert repr(key) == repr(again)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(base64.b64decode(path.read_bytes())) == 32
    assert list(path.parent.iterdir()) == [path]


def test_the_environment_comes_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "store.key"
    given, made = master_keys(path, {KEY_VARIABLE: f" {base64.b64encode(KEY).decode()}\n"})
    assert (repr(given), made) == (repr(MasterKeys(KEY)), False)
    assert not path.exists()


def test_the_process_environment_is_read_where_none_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, base64.b64encode(KEY).decode())
    assert repr(master_keys(tmp_path / "none")[0]) == repr(MasterKeys(KEY))


@pytest.mark.parametrize("between", ["\n", ",", " , ", "\r\n"])
def test_several_keys_stand_in_lines_or_behind_commas(tmp_path: Path, between: str) -> None:
    path = tmp_path / "store.key"
    text = between.join(base64.b64encode(key).decode() for key in (KEY, OTHER_KEY))
    path.write_bytes(text.encode())
    for environ in ({}, {KEY_VARIABLE: text}):
        assert repr(master_keys(path, environ)[0]) == repr(MasterKeys(KEY, OTHER_KEY))


@pytest.mark.parametrize("text", [HIDDEN + "!", "c2hvcnQ=", "päßwort"])
def test_a_mistaken_key_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "store.key"
    path.write_text(text, encoding="utf-8")
    for where in ({KEY_VARIABLE: text}, {}):
        with pytest.raises(BrokerConfigError) as caught:
            master_keys(path, where)
        assert caught.value.remedy
        assert text not in str(caught.value)
    assert path.read_text(encoding="utf-8") == text


def test_a_key_file_that_can_not_be_read_or_made_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "store.key"):
        with pytest.raises(BrokerConfigError, match="can not be used") as caught:
            master_keys(path, {})
        assert KEY_VARIABLE in caught.value.remedy


def test_a_key_file_is_used_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.key"
    made, _ = master_keys(path, {})

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    monkeypatch.setattr("os.link", refuse)
    assert repr(master_keys(path, {})[0]) == repr(made)


def test_threads_that_race_for_a_key_file_end_with_one_key(tmp_path: Path) -> None:
    for attempt in range(20):
        path, barrier = tmp_path / f"{attempt}.key", Barrier(8)

        def race(path: Path = path, barrier: Barrier = barrier) -> tuple[str, bool]:
            barrier.wait()
            key, made = master_keys(path, {})
            return repr(key), made

        with ThreadPoolExecutor(8) as pool:
            ends = [future.result() for future in [pool.submit(race) for _ in range(8)]]
        assert len({key for key, _ in ends}) == 1
        assert sum(made for _, made in ends) == 1
    assert len(list(tmp_path.iterdir())) == 20, "no draft is left behind"


def test_processes_that_race_for_a_key_file_end_with_one_key(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from brokersync.masterkeys import master_keys\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print(*master_keys(pathlib.Path(sys.argv[1]), {}))\n"
    )
    path = tmp_path / "store.key"
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    ends = [racer.communicate()[0].split() for racer in racers]
    assert len({key for key, _ in ends}) == 1
    assert sorted(made for _, made in ends) == ["False", "False", "False", "True"]


def there(path: Path) -> bool:
    return path.exists()


def lines(path: Path) -> list[str]:
    return path.read_text().split()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def remove(path: Path) -> None:
    path.unlink()


def beside(path: Path) -> list[Path]:
    return list(path.parent.iterdir())


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    return tmp_path / "store.key"


async def test_a_key_file_is_made_with_the_first_value_and_told_once(key_file: Path) -> None:
    told: list[Path] = []
    keys = KeyFile(key_file, told.append)
    assert not there(key_file)
    wrapped = await keys.wrap(HIDDEN.encode(), "o")
    assert told == [key_file]
    assert await KeyFile(key_file, told.append).unwrap(wrapped, "o") == HIDDEN.encode()
    assert told == [key_file]


async def test_a_rotation_puts_a_new_key_in_front_and_takes_the_old_ones_out_at_its_end(key_file: Path) -> None:
    keys, other = KeyFile(key_file), KeyFile(key_file)
    old = await keys.wrap(HIDDEN.encode(), "o")
    assert await other.unwrap(old, "o") == HIDDEN.encode()
    during = await keys.begin()
    assert mode(key_file) == 0o600
    assert len(lines(key_file)) == 2
    new = await during.wrap(HIDDEN.encode(), "o")
    assert await other.unwrap(new, "o") == HIDDEN.encode(), "a process that knew the old key reads the file again"
    assert await other.unwrap(old, "o") == HIDDEN.encode()
    assert await keys.end() == ()
    assert len(lines(key_file)) == 1
    assert await during.unwrap(old, "o") == HIDDEN.encode()
    fresh = KeyFile(key_file)
    assert await fresh.unwrap(new, "o") == HIDDEN.encode()
    with pytest.raises(BrokerConfigError, match="another key"):
        await fresh.unwrap(old, "o")
    assert beside(key_file) == [key_file], "no draft is left behind"


async def test_a_new_owner_gets_the_key_that_stands_first_now(key_file: Path) -> None:
    stale = KeyFile(key_file)
    await stale.wrap(HIDDEN.encode(), "o")
    rotating = KeyFile(key_file)
    await rotating.begin()
    await rotating.end()
    assert await KeyFile(key_file).unwrap(await stale.wrap(HIDDEN.encode(), "x"), "x") == HIDDEN.encode()


async def test_a_rotation_of_the_environments_key_says_what_to_do(
    key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (base64.b64encode(key).decode() for key in (KEY, OTHER_KEY))
    monkeypatch.setenv(KEY_VARIABLE, old)
    with pytest.raises(BrokerConfigError, match=KEY_VARIABLE) as caught:
        await KeyFile(key_file).begin()
    assert "in front" in caught.value.remedy
    monkeypatch.setenv(KEY_VARIABLE, f"{new},{old}")
    keys = KeyFile(key_file)
    assert repr(await keys.begin()) == repr(MasterKeys(OTHER_KEY, KEY))
    (sentence,) = await keys.end()
    assert "take out all but the first" in sentence
    assert not there(key_file)


async def test_a_missing_key_file_is_not_made_anew_for_what_was_sealed(key_file: Path) -> None:
    wrapped = await KeyFile(key_file).wrap(HIDDEN.encode(), "o")
    remove(key_file)
    with pytest.raises(BrokerConfigError, match="is missing"):
        await KeyFile(key_file).unwrap(wrapped, "o")
    assert not there(key_file)
