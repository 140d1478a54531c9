"""One hash for the files of an installed plugin: any changed, added or removed byte makes another one."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokersync.file_hashes import files_hash, installed_files
from brokersync.governance.record import read_record

_FILES = st.dictionaries(st.text("abc/._", min_size=1, max_size=6), st.binary(max_size=20), min_size=1, max_size=5)


def hash_of(folder: Path, files: dict[str, bytes]) -> str:
    made = []
    for number, (name, body) in enumerate(files.items()):
        path = folder / str(number)
        path.write_bytes(body)
        made.append((name, path))
    return files_hash(made)


@settings(max_examples=30, deadline=None)
@given(_FILES, st.data())
def test_every_change_changes_it(files: dict[str, bytes], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(files)))
    with TemporaryDirectory() as place:
        folder = Path(place)
        before = hash_of(folder, files)
        assert hash_of(folder, {**files, name: files[name] + b"\0"}) != before
        assert hash_of(folder, {**files, name + "x": b""}) != before
        assert hash_of(folder, {one: body for one, body in files.items() if one != name}) != before
        assert hash_of(folder, dict(reversed(files.items()))) == before


def test_it_is_what_anybody_can_compute(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    digest = urlsafe_b64encode(hashlib.sha256(b"x").digest()).rstrip(b"=").decode()
    line = f"p/a.py\0sha256={digest}\n"
    assert files_hash([("p/a.py", path)]) == f"sha256:{hashlib.sha256(line.encode()).hexdigest()}"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution with a package, in a folder that is imported from."""
    package = tmp_path / "hashedbroker"
    package.mkdir()
    (package / "__init__.py").write_text("")
    info = tmp_path / "hashedbroker-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hashedbroker\nVersion: 1.0\n")
    (info / "INSTALLER").write_text("pip")
    rows = ["hashedbroker/__init__.py,sha256=x,0", "hashedbroker-1.0.dist-info/METADATA,sha256=x,0"]
    rows += ["hashedbroker-1.0.dist-info/INSTALLER,sha256=x,3", "hashedbroker-1.0.dist-info/RECORD,,"]
    (info / "RECORD").write_text("\n".join(rows))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def names() -> list[str]:
    return [name for name, _ in installed_files("hashedbroker", "hashedbroker")]


def test_what_is_listed_counts_without_what_the_installer_writes(installed: Path) -> None:
    assert names() == ["hashedbroker-1.0.dist-info/METADATA", "hashedbroker/__init__.py"]


def _added(package: Path) -> None:
    (package / "more.py").write_text("")


def _deep(package: Path) -> None:
    (package / "recordings" / "first").mkdir(parents=True)
    (package / "recordings" / "first" / "a.json").write_text("{}")


@pytest.mark.parametrize("change", [_added, _deep])
def test_a_file_that_is_not_listed_counts(installed: Path, change: Callable[[Path], None]) -> None:
    before = files_hash(installed_files("hashedbroker", "hashedbroker"))
    change(installed / "hashedbroker")
    assert files_hash(installed_files("hashedbroker", "hashedbroker")) != before


def test_compiled_files_do_not_count(installed: Path) -> None:
    before = names()
    cache = installed / "hashedbroker" / "__pycache__"
    cache.mkdir()
    (cache / "__init__.cpython-311.pyc").write_bytes(b"x")
    assert names() == before


def test_what_is_not_installed_has_no_files() -> None:
    assert installed_files("nosuchbroker", "nosuchbroker") == []


def test_of_an_untouched_wheel_it_is_the_hash_that_is_approved() -> None:
    from importlib.metadata import distribution

    record = read_record(Path(str(distribution("pluggy").locate_file("pluggy"))).parent / metadata_folder("pluggy"))
    assert record is not None
    assert files_hash(installed_files("pluggy", "pluggy")) == record.files_hash


def metadata_folder(name: str) -> str:
    from importlib.metadata import distribution

    return next(str(one).split("/")[0] for one in distribution(name).files or () if one.name == "METADATA")
