from __future__ import annotations

import base64
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokersync.errors import BrokerConfigError, Fault
from brokersync.sealing import KEY_VARIABLE, LazyMasterKey, MasterKey, Sealer, master_key

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
HIDDEN = "hidden-value"


class Case:
    """A sealed value with all that is needed to open it."""

    def __init__(self, value: str = HIDDEN, *, key: bytes = KEY, owner: str = "o", row: str = "row") -> None:
        self.sealer = Sealer(MasterKey(key))
        self.owner, self.row = owner, row
        self.wrapped = self.sealer.new_data_key(owner)
        self.sealed = self.sealer.seal(self.wrapped, owner, row, value)

    def opened(self) -> str:
        return self.sealer.unseal(self.wrapped, self.owner, self.row, self.sealed)


def refusal(case: Case) -> BrokerConfigError:
    with pytest.raises(BrokerConfigError) as caught:
        case.opened()
    assert caught.value.remedy
    assert caught.value.fault is Fault.OPERATOR
    assert HIDDEN not in str(caught.value)
    return caught.value


@given(st.text(), st.text(), st.text())
def test_a_sealed_value_opens_and_shows_nothing(value: str, owner: str, row: str) -> None:
    case = Case(value, owner=owner, row=row)
    assert case.opened() == value
    assert len(value.encode()) < 4 or value.encode() not in case.sealed + case.wrapped


def test_a_value_is_sealed_anew_each_time() -> None:
    case = Case()
    assert case.sealer.seal(case.wrapped, "o", "row", HIDDEN) != case.sealed
    assert case.sealer.new_data_key("o") != case.wrapped


def test_a_value_moved_to_another_row_does_not_open() -> None:
    case = Case()
    case.row = "other"
    assert "copied" in refusal(case).message


def test_a_value_moved_to_another_owner_does_not_open_even_with_its_data_key() -> None:
    case, other = Case(), Case(owner="x")
    case.owner = "x"
    assert "copied" in refusal(case).message
    case.wrapped = other.wrapped
    assert "another key" in refusal(case).message


@pytest.mark.parametrize("part", ["sealed", "wrapped"])
def test_a_changed_or_shortened_value_does_not_open(part: str) -> None:
    whole: bytes = getattr(Case(), part)
    for place in range(len(whole)):
        changed, shortened = Case(), Case()
        kept = bytearray(getattr(changed, part))
        kept[place] ^= 1
        setattr(changed, part, bytes(kept))
        refusal(changed)
        setattr(shortened, part, getattr(shortened, part)[:place])
        refusal(shortened)


def test_another_key_is_named_as_the_reason_with_what_to_do() -> None:
    case = Case()
    case.sealer = Sealer(MasterKey(OTHER_KEY))
    error = refusal(case)
    assert "another key" in error.message
    assert KEY_VARIABLE in error.remedy


def test_a_value_of_a_newer_release_is_told_as_such() -> None:
    case = Case()
    case.sealed = b"\x02" + case.sealed[1:]
    assert "newer" in refusal(case).message


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(BrokerConfigError, match=f"has {length} bytes"):
        MasterKey(bytes(length))


def test_a_key_shows_only_its_id() -> None:
    shown = repr(MasterKey(KEY))
    assert KEY.hex() not in shown
    assert base64.b64encode(KEY).decode() not in shown
    assert shown == repr(MasterKey(KEY)) != repr(MasterKey(OTHER_KEY))


def test_a_missing_key_file_is_made_for_its_owner_alone_and_used_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "store.key"
    key, made = master_key(path, {})
    again, made_again = master_key(path, {})
    assert (made, made_again) == (True, False)
    assert repr(key) == repr(again)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(base64.b64decode(path.read_bytes())) == 32
    assert list(path.parent.iterdir()) == [path]


def test_the_environment_comes_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "store.key"
    given, made = master_key(path, {KEY_VARIABLE: f" {base64.b64encode(KEY).decode()}\n"})
    assert (repr(given), made) == (repr(MasterKey(KEY)), False)
    assert not path.exists()


def test_the_process_environment_is_read_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, base64.b64encode(KEY).decode())
    assert repr(master_key(None)[0]) == repr(MasterKey(KEY))


def test_without_a_file_the_key_lives_in_memory_alone() -> None:
    assert repr(master_key(None, {})[0]) != repr(master_key(None, {})[0])


@pytest.mark.parametrize("text", [HIDDEN + "!", "c2hvcnQ=", "päßwort"])
def test_a_mistaken_key_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "store.key"
    path.write_text(text, encoding="utf-8")
    for where in ({KEY_VARIABLE: text}, {}):
        with pytest.raises(BrokerConfigError) as caught:
            master_key(path, where)
        assert caught.value.remedy
        assert text not in str(caught.value)
    assert path.read_text(encoding="utf-8") == text


def test_a_key_file_that_can_not_be_read_or_made_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "store.key"):
        with pytest.raises(BrokerConfigError, match="can not be used") as caught:
            master_key(path, {})
        assert KEY_VARIABLE in caught.value.remedy


def test_a_key_file_is_used_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.key"
    made, _ = master_key(path, {})

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    monkeypatch.setattr("os.link", refuse)
    assert repr(master_key(path, {})[0]) == repr(made)


def test_threads_that_race_for_a_key_file_end_with_one_key(tmp_path: Path) -> None:
    for attempt in range(20):
        path, barrier = tmp_path / f"{attempt}.key", Barrier(8)

        def race(path: Path = path, barrier: Barrier = barrier) -> tuple[str, bool]:
            barrier.wait()
            key, made = master_key(path, {})
            return repr(key), made

        with ThreadPoolExecutor(8) as pool:
            ends = [future.result() for future in [pool.submit(race) for _ in range(8)]]
        assert len({key for key, _ in ends}) == 1
        assert sum(made for _, made in ends) == 1
    assert len(list(tmp_path.iterdir())) == 20, "no draft is left behind"


def test_processes_that_race_for_a_key_file_end_with_one_key(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from brokersync.sealing import master_key\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print(*master_key(pathlib.Path(sys.argv[1]), {}))\n"
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


def test_a_lazy_key_is_made_with_the_first_value_and_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    path, told = tmp_path / "store.key", list[Path]()
    sealer = Sealer(LazyMasterKey(path, told.append))
    assert not path.exists()
    wrapped = sealer.new_data_key("o")
    sealed = sealer.seal(wrapped, "o", "row", HIDDEN)
    assert told == [path]
    other = Sealer(LazyMasterKey(path, told.append))
    assert other.unseal(wrapped, "o", "row", sealed) == HIDDEN
    assert told == [path]
