"""The how-to pages' configuration is read, and their commands and code do what is written; `...` is anything."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from brokersync import BrokerSync, Settings
from brokersync.__main__ import main
from brokersync.config import parse_settings
from brokersync.overruling import mistakes_of_brokers

from .flex_file import statement

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "how-to"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.md"))}
RUN = ("govern-plugins", "import-files", "set-limits")  # the others' commands have tests of their own


def blocks(page: str, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGES[page], re.DOTALL)


def commands(page: str) -> list[tuple[str, str]]:
    """Each command with the answer below it, in the order of the page."""
    found = []
    for block in blocks(page, "console"):
        for one in re.split(r"^\$ brokersync ", block, flags=re.MULTILINE)[1:]:
            words, _, answer = one.partition("\n")
            found.append((words, answer))
    return found


def test_there_are_pages_with_configuration_and_commands() -> None:
    assert len(PAGES) >= 6
    assert sum(len(blocks(page, "toml")) for page in PAGES) >= 4
    assert sum(len(commands(page)) for page in RUN) >= 10


@pytest.mark.parametrize(("page", "text"), [(page, text) for page in PAGES for text in blocks(page, "toml")])
def test_each_configuration_is_read_without_a_mistake(page: str, text: str) -> None:
    assert isinstance(parse_settings(text, page, mistakes_of_brokers), Settings)


_EXPORT = {
    "_id": "21", "_orderId": "200", "_contractId": "301", "_tradeDate": "2026-03-09", "_action": "1", "_qty": "2",
    "_price": "110.515625", "_active": "true", "_accountId": "11", "Fill ID": "21", "Order ID": "200",
    "Timestamp": "03/09/2026 14:31:02", "Date": "3/9/26", "Account": "77001", "B/S": " Sell", "Quantity": "2",
    "Price": "110'165", "_priceFormat": "-6", "_priceFormatType": "1", "_tickSize": "0.015625", "Contract": "ZNM6",
    "Product": "ZN", "commission": "1.58",
}  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a reader of the pages would stand in."""
    (tmp_path / "march.xml").write_bytes(statement())
    (tmp_path / "Fills.csv").write_text(f"{','.join(_EXPORT)}\r\n{','.join(_EXPORT.values())}\r\n", newline="")
    (tmp_path / "brokersync.toml").write_text(blocks("set-limits", "toml")[0])
    (tmp_path / "mistaken.toml").write_text(
        '[[brokers.ibkr.limits]]\nscope = "credential"\namount = 3\nperiod = "1m"\nreserve = 4\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BROKERSYNC_STORE", str(tmp_path / "store.db"))
    monkeypatch.delenv("BROKERSYNC_CONFIG", raising=False)
    return tmp_path


@pytest.mark.parametrize("page", RUN)
def test_the_commands_of_a_page_answer_one_after_the_other_as_it_is_written(
    desk: Path, page: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for words, answer in commands(page):
        main(shlex.split(words))
        out, err = capfd.readouterr()
        shown = re.sub(r" +$", "", out + err, flags=re.MULTILINE)
        parts = [re.escape(part.strip("\n")) for part in answer.strip().split("...")]
        assert re.match(".*?".join(parts), shown, re.DOTALL), f"{words}\n{shown}"


def test_the_receiver_for_ones_own_machine_takes_a_notice(
    desk: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = blocks("govern-plugins", "py")
    made: dict[str, Any] = {}
    exec(compile(code.rpartition("\n\n\n")[0], "docs/how-to/govern-plugins.md", "exec"), made)
    monkeypatch.setenv("BROKERSYNC_WEBHOOK_SECRET", f"whsec_{'A' * 43}=")
    with made["HTTPServer"](("127.0.0.1", 0), made["Receiver"]) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        (desk / "brokersync.toml").write_text(f'[governance]\nwebhook = "http://127.0.0.1:{server.server_port}/"\n')
        answer = main(["providers", "test-webhook", "--config", "brokersync.toml"])
        server.shutdown()
    assert not answer
    assert '"type":"webhook.test"' in capfd.readouterr().out.replace(" ", "")


async def test_what_a_file_does_not_tell_is_asked_for_in_a_backend(desk: Path) -> None:
    (code,) = blocks("import-files", "python")
    made: dict[str, Any] = {}
    exec(compile(code, "docs/how-to/import-files.md", "exec"), made)
    body = (desk / "Fills.csv").read_bytes()
    async with BrokerSync.open(desk / "journal.db") as bs:
        asked = await made["upload"](bs, "alice", "Fills.csv", body, {})
        refused = await made["upload"](bs, "alice", "notes.txt", b"nothing", {})
        answers = {"zone": "America/Chicago", "environment": "live"}
        report = await made["upload"](bs, "alice", "Fills.csv", body, answers)
    assert asked.startswith("ask: ")
    assert {*asked.removeprefix("ask: ").split(", ")} <= {*answers}
    assert not refused.startswith("ask: ")
    assert report.added == 1
