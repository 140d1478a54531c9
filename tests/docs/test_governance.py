"""The page on governance says what is true, and its receiver verifies what is really sent."""

from __future__ import annotations

import base64
import re
import time
import zipfile
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from brokersync.config import parse_settings
from brokersync.governance.notices import Notice, make_notice
from brokersync.governance.record import read_record
from brokersync.governance.webhook import sign
from brokersync.governance_settings import GovernanceMode

PAGE = (Path(__file__).parents[2] / "docs/governance.md").read_text(encoding="utf-8")
KEY = bytes(range(32))
CODE: dict[str, Any] = {}
for _block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
    exec(_block, CODE)
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"


@pytest.fixture
def verified() -> Any:
    """The receiver as the page has it."""
    return CODE["verified"]


@pytest.fixture
def notice() -> Notice:
    return make_notice("provider.seen", {"provider": "alpha"}, datetime.now(UTC))


def headers(notice: Notice, at: int, key: bytes = KEY) -> dict[str, str]:
    signatures = f"{sign(bytes(32), notice.notice_id, at, b'')} {sign(key, notice.notice_id, at, notice.body())}"
    return {"webhook-id": notice.notice_id, "webhook-timestamp": str(at), "webhook-signature": signatures}


def test_the_receiver_takes_a_notice_once(verified: Any, notice: Notice) -> None:
    seen: set[str] = set()
    now = int(time.time())
    assert verified(headers(notice, now), notice.body(), SECRET, seen)
    assert not verified(headers(notice, now), notice.body(), SECRET, seen)


def test_the_receiver_refuses_what_is_old_changed_or_of_others(verified: Any, notice: Notice) -> None:
    now = int(time.time())
    assert not verified(headers(notice, now - 301), notice.body(), SECRET, set())
    assert not verified(headers(notice, now), notice.body() + b" ", SECRET, set())
    assert not verified(headers(notice, now, KEY[::-1]), notice.body(), SECRET, set())
    other = headers(notice, now) | {"webhook-id": "msg_other"}
    assert not verified(other, notice.body(), SECRET, set())
    later = headers(notice, now) | {"webhook-timestamp": str(now + 1)}
    assert not verified(later, notice.body(), SECRET, set())


def test_the_configuration_of_the_page_is_one() -> None:
    (block,) = re.findall(r"(    \[governance\]\n(?:    .*\n)+)", PAGE)
    settings = parse_settings("\n".join(line.strip() for line in block.splitlines()))
    assert settings.governance.mode is GovernanceMode.APPROVE


def test_the_hash_of_a_wheel_is_the_one_that_is_shown_of_it_once_it_is_installed(tmp_path: Path) -> None:
    files = {
        "acme/provider.toml": b"key",
        "acme/__init__.py": b"",
        "acme-1.0.dist-info/METADATA": b"Name: acme",
        "acme-1.0.data/scripts/acme": b"#!python",
    }
    digests = {
        path: base64.urlsafe_b64encode(sha256(body).digest()).rstrip(b"=").decode() for path, body in files.items()
    }
    rows = [f"{path},sha256={digest},{len(files[path])}" for path, digest in digests.items()]
    wheel, record = tmp_path / "acme-1.0-py3-none-any.whl", "acme-1.0.dist-info/RECORD"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, body in files.items():
            archive.writestr(path, body)
        archive.writestr(record, "\n".join([*rows, f"{record},,"]))
    # as an installer leaves it: with a row of its own, in another order, and the script where scripts are
    installed = [f"acme-1.0.dist-info/INSTALLER,sha256={'0' * 43},3", f"../../bin/acme,sha256={'1' * 43},9"]
    folder = tmp_path / "site" / "acme-1.0.dist-info"
    folder.mkdir(parents=True)
    kept = [row for row in reversed(rows) if ".data/" not in row]
    (folder / "RECORD").write_text("\n".join([*installed, *kept, f"{record},,"]))
    found = read_record(folder)
    assert found is not None
    assert CODE["files_of"](str(wheel)) == found.files_hash
