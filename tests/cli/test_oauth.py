"""A login at the broker's own page from the command line: a real page, a real address on this machine, a script for a
browser."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Sandbox

pytestmark = pytest.mark.parametrize("sandbox", ["tradovate"], indirect=True)

# fills in the form as its user would, and follows where that leads
_BROWSER = """
import json, os, sys, time, urllib.error, urllib.parse, urllib.request
form = json.loads(os.environ["BROWSER_FORM"])
page = urllib.request.urlopen(sys.argv[1]).read().decode()
assert 'name="username"' in page, page
try:
    ended = urllib.request.urlopen(sys.argv[1], urllib.parse.urlencode(form).encode())
except urllib.error.HTTPError as error:
    sys.exit(f"the browser ended with {error.code}")
assert b"brokersync has the answer" in ended.read()
assert ended.headers["Referrer-Policy"] == "no-referrer"
if os.environ.get("BROWSER_STAYS"):
    os.close(1), os.close(2)  # which are the command's own, and would keep its reader waiting
    time.sleep(60)
"""


class Shell:
    """Runs the command line with a browser that is a script; each command is a process."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.script = folder / "browser.py"
        self.script.write_text(_BROWSER)
        self.sandbox = sandbox
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("BROKERSYNC_")},
            "BROWSER": f"{sys.executable} {self.script} %s",
            "BROKERSYNC_STORE": str(folder / "store.db"),
            "BROKERSYNC_CONFIG": str(sandbox.config),
        }

    def run(self, *words: str, login: int = 0, answer: str = "allow", given: str = "") -> Any:
        fields = self.sandbox.facts["logins"][login]["fields"]
        form = {"username": fields["username"], "password": fields["password"], "answer": answer}
        return subprocess.run(
            [sys.executable, "-m", "brokersync", *words],
            env={**self.environ, "BROWSER_FORM": json.dumps(form)},
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def control(self, what: str, order: dict[str, Any] | None = None) -> Any:
        data = None if order is None else json.dumps(order).encode()
        address = f"{self.sandbox.facts['base_url']}/_sandbox/{what}"
        with urllib.request.urlopen(urllib.request.Request(address, data)) as answer:
            return json.loads(answer.read())


@pytest.fixture
def shell(tmp_path: Path, sandbox: Sandbox) -> Shell:
    return Shell(tmp_path, sandbox)


def test_a_trader_of_a_firm_connects_in_the_browser_and_syncs_through_expiry_and_rotation(shell: Shell) -> None:
    connected = shell.run("connect", "tradovate", "--oauth", "--json", login=1)
    assert connected.returncode == 0, connected
    document = json.loads(connected.stdout)
    name = document["connection"]["connection_id"]
    wanted = shell.sandbox.facts["logins"][1]["trades"]
    assert {one["account_id"] for one in document["accounts"]} == set(wanted)

    before = shell.control("requests")["operations"]["auth/oauthtoken"]
    shell.control("faults", {"fault": "expired_token", "after": 2})
    synced = shell.run("sync", name)
    assert synced.returncode == 0, synced
    assert shell.control("requests")["operations"]["auth/oauthtoken"] == before + 1, "one rotation, and no new consent"

    lines = shell.run("trades", "--format", "jsonl").stdout.splitlines()
    counts = dict.fromkeys(wanted, 0)
    for line in lines:
        counts[json.loads(line)["account_id"]] += 1
    assert counts == wanted


def test_a_login_that_has_ended_is_made_again_in_the_browser_by_the_same_user_only(shell: Shell) -> None:
    name = json.loads(shell.run("connect", "tradovate", "--oauth", "--json").stdout)["connection"]["connection_id"]

    other = shell.run("reconnect", name, "--oauth", login=1)
    assert (other.returncode, other.stdout) == (4, "")
    assert "Nothing was changed" in " ".join(other.stderr.split())

    again = shell.run("reconnect", name)  # there is no other way to make it again
    assert again.returncode == 0, again
    assert again.stdout.startswith(f"Logged in again {name}")
    assert shell.run("sync", name).returncode == 0


def test_a_browser_that_is_not_closed_keeps_nobody_waiting(shell: Shell) -> None:
    shell.environ["BROWSER_STAYS"] = "1"
    began = time.monotonic()
    connected = shell.run("connect", "tradovate", "--oauth")
    assert connected.returncode == 0, connected
    assert time.monotonic() - began < 45


def test_who_declines_is_told_so_and_nothing_is_kept(shell: Shell) -> None:
    declined = shell.run("connect", "tradovate", "--oauth", answer="deny")

    assert declined.returncode == 4
    assert "Access was declined at Tradovate's page, so nothing was connected." in " ".join(declined.stderr.split())
    assert json.loads(shell.run("status", "--json").stdout)["connections"] == []


def test_an_answer_to_another_machine_is_pasted(shell: Shell) -> None:
    registered = "https://journal.example/callback"
    command = ("connect", "tradovate", "--oauth", "--no-browser", "--redirect-uri", registered)
    asked = shell.run(*command, given="https://journal.example/callback?code=x&state=guessed\n")

    assert "redirect_uri=https%3A%2F%2Fjournal.example%2Fcallback" in asked.stderr
    assert "Paste the address" in asked.stderr
    assert asked.returncode == 4
    assert "no answer to the login that was begun" in " ".join(asked.stderr.split())


def test_an_address_that_is_taken_is_named_before_anybody_is_sent_anywhere(shell: Shell) -> None:
    taken = shell.sandbox.facts["base_url"]
    answer = shell.run("connect", "tradovate", "--oauth", "--redirect-uri", f"{taken}/callback")

    assert answer.returncode == 3
    assert "--redirect-uri" in answer.stderr
    assert "Open this address" not in answer.stderr


def test_without_an_app_the_operator_is_told_what_to_set(shell: Shell, brokersync: Callable[..., Any]) -> None:
    answer = brokersync("connect", "tradovate", "--oauth", "--no-browser")

    assert answer.code == 3
    assert "[brokers.tradovate.settings]" in answer.err


def test_what_a_broker_is_logged_in_to_with_is_told(brokersync: Callable[..., Any], sandbox: Sandbox) -> None:
    shown = brokersync("providers", sandbox.key).out
    assert "brokersync connect tradovate --oauth" in shown
    assert "client_secret" in shown
    assert sandbox.facts["operator_fields"]["client_secret"] not in shown


def test_a_session_after_a_login_at_the_page_is_recorded_without_what_came_of_it(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "recordings" / "first"
    done = shell.run("record", "tradovate", "--oauth", "--days", "5", "--to", str(folder), "--json", login=1)
    assert done.returncode == 0, done.stdout + done.stderr
    index = json.loads((folder / "recording.json").read_text())
    assert index["consent"] is True
    assert index["fields"] == {}
    (exchange,) = [one for one in index["exchanges"] if one["path"].endswith("oauthtoken")]
    assert "authorization_code" in exchange["body"]
    assert "code=%2A%2A%2A" in exchange["body"] or "code=***" in exchange["body"]
    answer = (folder / exchange["file"]).read_text()
    assert answer.count("not-the-real-one-") == 2, "both tokens are taken out"
