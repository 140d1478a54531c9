"""Bad input gets a clear message and an exit code, and the store stays as it was."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from brokersync import BrokerConfigError, BrokerSync, Settings
from brokersync.cli.exits import Exit
from brokersync.config import BrokerSettings

Run = Callable[..., Any]

_GOOD = """<FlexQueryResponse queryName="q" type="AF"><FlexStatements count="1">
<FlexStatement accountId="U9000001" fromDate="20260105" toDate="20260109" period="" whenGenerated="20260110;060000">
<Trades>
<Trade accountId="U9000001" currency="USD" assetCategory="STK" symbol="ACME" conid="77" multiplier="1" tradeID="501"
 transactionID="9001" ibExecID="0000aaaa.0000bbbb.01.01" ibOrderID="31" dateTime="20260106;093105" tradeDate="20260106"
 transactionType="ExchTrade" buySell="BUY" quantity="3" tradePrice="10.25" ibCommission="-0.35"
 ibCommissionCurrency="USD" levelOfDetail="EXECUTION" openCloseIndicator="O" exchange="NYSE" />
</Trades></FlexStatement></FlexStatements></FlexQueryResponse>
"""

_BAD = {
    "truncated": _GOOD[:-60],
    "not XML": "these are my trades, honest",
    "an HTML page": "<!DOCTYPE html><html><body>Service is being maintained</body></html>",
    "a service answer": """<FlexStatementResponse timestamp='05 January, 2026 12:10 PM EST'><Status>Warn</Status>
        <ErrorCode>1019</ErrorCode><ErrorMessage>Generation in progress.</ErrorMessage></FlexStatementResponse>""",
    "a CSV statement": '"ClientAccountID","CurrencyPrimary","Symbol","Buy/Sell"\n"U9000001","USD","ACME","BUY"\n',
    "an entity bomb": '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]>'
    + _GOOD.replace("ACME", "&b;"),
    "empty": "",
    "another root": "<Statements/>",
    "no encoding": "\udcff\udcfe" + _GOOD,
}


def _contents(store: Path) -> dict[str, list[Any]]:
    tables = ("bookings", "trades", "changes", "coverage", "accounts", "quarantine")
    with sqlite3.connect(store) as db:
        found = {table: db.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
    db.close()
    return found


@pytest.fixture
def filled(brokersync: Run, tmp_path: Path) -> Path:
    good = tmp_path / "good.xml"
    good.write_text(_GOOD)
    assert brokersync("import", "ibkr", good).code == 0
    return tmp_path / "store.db"


@pytest.mark.parametrize("what", _BAD)
def test_a_bad_statement_changes_nothing_and_says_what_to_do(
    brokersync: Run, filled: Path, tmp_path: Path, what: str
) -> None:
    before = _contents(filled)
    bad = tmp_path / "bad.xml"
    bad.write_bytes(_BAD[what].encode("utf-8", "surrogateescape"))
    answer = brokersync("import", "ibkr", bad, "--json")
    error = answer.document["imports"][0]["error"]
    assert answer.code == 3
    assert error["message"]
    assert error["remedy"]
    assert "Traceback" not in answer.out + answer.err
    assert _contents(filled) == before
    assert brokersync("import", "ibkr", bad).err.startswith("bad.xml: ")


def test_each_bad_statement_has_a_message_of_its_own(brokersync: Run, tmp_path: Path) -> None:
    messages = set()
    for what, text in _BAD.items():
        bad = tmp_path / "bad.xml"
        bad.write_bytes(text.encode("utf-8", "surrogateescape"))
        messages.add(brokersync("import", "ibkr", bad, "--json").document["imports"][0]["error"]["message"])
        assert messages, what
    assert len(messages) >= len(_BAD) - 2


def test_a_missing_file_does_not_keep_the_others_from_being_imported(brokersync: Run, tmp_path: Path) -> None:
    good = tmp_path / "good.xml"
    good.write_text(_GOOD)
    answer = brokersync("import", "ibkr", tmp_path / "missing.xml", good, "--json")
    assert answer.code == 3
    assert [set(one) & {"error", "report"} for one in answer.document["imports"]] == [{"error"}, {"report"}]
    assert answer.document["imports"][1]["report"]["added"] == 1


def test_a_dry_run_says_what_each_row_would_do_and_keeps_nothing(brokersync: Run, filled: Path, tmp_path: Path) -> None:
    before = _contents(filled)
    changed = tmp_path / "changed.xml"
    second = _GOOD[_GOOD.index("<Trade ") : _GOOD.index("</Trades>")]
    second = second.replace("501", "502").replace("9001", "9002").replace("bbbb.01.01", "bbbb.02.01")
    changed.write_text(_GOOD.replace("</Trades>", second + "</Trades>"))
    answer = brokersync("import", "ibkr", changed, "--dry-run", "--json")
    assert answer.code == 0
    assert [row["disposition"] for row in answer.document["imports"][0]["rows"]] == ["unchanged", "added"]
    assert _contents(filled) == before
    shown = brokersync("import", "ibkr", changed, "--dry-run").out
    assert "would add 1" in shown
    assert _contents(filled) == before


def test_what_a_statement_says_does_not_steer_the_terminal(brokersync: Run, tmp_path: Path) -> None:
    named = tmp_path / "\x1b[2Jgood.xml"
    named.write_text(_GOOD.replace('assetCategory="STK"', 'assetCategory="S\x9b2JTK"'))
    shown = brokersync("import", "ibkr", named)
    assert "\N{REPLACEMENT CHARACTER}[2Jgood.xml: 1 rows read" in shown.out
    assert "S\N{REPLACEMENT CHARACTER}2JTK" in shown.out
    assert not {"\x1b", "\x9b"} & {*shown.out, *shown.err}


def test_what_comes_out_of_a_pipe_is_imported_like_a_file(brokersync: Run, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(_GOOD,))
    writer.start()
    answer = brokersync("import", "ibkr", pipe)
    writer.join()
    assert answer.code == 0
    assert answer.out.startswith("pipe: 1 rows read, added 1")


async def test_a_program_that_imports_a_pipe_is_told_to_keep_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(_GOOD,))
    writer.start()
    async with BrokerSync.open(tmp_path / "store.db", settings=Settings()) as bs:
        with pipe.open("rb") as file:
            with pytest.raises(BrokerConfigError, match="only once") as caught:
                await bs.import_statement("ibkr", file, owner="me")
            file.read()
    writer.join()
    assert caught.value.remedy


def test_a_question_and_its_answer_do_not_steer_the_terminal(brokersync: Run, filled: Path) -> None:
    shown = brokersync("explain", "--account", "U9000001", "--day", "2026-01-06", "--symbol", "AC\x1b[2JME")
    assert "AC\N{REPLACEMENT CHARACTER}[2JME" in shown.out
    assert "\x1b" not in shown.out


def test_an_older_file_is_said_to_be_told_otherwise_later(brokersync: Run, filled: Path, tmp_path: Path) -> None:
    before = _contents(filled)["changes"]
    older = tmp_path / "older.xml"
    older.write_text(_GOOD.replace('"-0.35"', '"-0.40"').replace("20260110;060000", "20260109;200000"))
    shown = brokersync("import", "ibkr", older)
    assert (shown.code, _contents(filled)["changes"]) == (0, before)
    assert "1 told otherwise by what the broker made later" in shown.out
    future = tmp_path / "future.xml"
    future.write_text(_GOOD.replace("20260110;060000", "21260110;060000"))
    assert "made on 2126-01-10, which is still to come" in brokersync("import", "ibkr", future).out


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        (("--account", "U8"), "U9000001"),
        (("--zone", "Mars/City"), "Mars/City"),
        (("--environment", "mars"), "live, paper"),
    ],
)
def test_a_hint_that_does_not_fit_the_file_is_refused_and_keeps_nothing(
    brokersync: Run, filled: Path, tmp_path: Path, hint: tuple[str, str], said: str
) -> None:
    before = _contents(filled)
    other = tmp_path / "other.xml"
    other.write_text(_GOOD.replace('"-0.35"', '"-0.40"').replace("20260110;060000", "20260111;060000"))
    answer = brokersync("import", "ibkr", other, *hint)
    assert answer.code == 3
    assert said in answer.err
    assert _contents(filled) == before
    assert brokersync("import", "ibkr", other, "--account", "U9000001").code == 0


def test_importing_the_same_file_again_adds_nothing(brokersync: Run, filled: Path, tmp_path: Path) -> None:
    before = _contents(filled)
    answer = brokersync("import", "ibkr", tmp_path / "good.xml", "--json")
    report = answer.document["imports"][0]["report"]
    assert (report["added"], report["unchanged"]) == (0, 1)
    assert _contents(filled) == before


@pytest.mark.usefixtures("empty_store")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("sync",), 3, "connection"),
        (("sync", "nobody-1"), 3, "nobody-1"),
        (("connect", "acme"), 3, "acme"),
        (("connect", "IBKR"), 3, "ibkr"),
        (("providers", "ibrk"), 3, "ibkr"),
        (("import", "ibkr"), 2, "file"),
        (("import", "acme", "x.xml"), 3, "acme"),
        (("connect", "ibkr", "--field", "token=1"), 3, "secret"),
        (("connect", "ibkr", "--field", "nonsense"), 2, "NAME=VALUE"),
        (("connect", "ibkr", "--fields-from", "/nowhere.json"), 3, "nowhere.json"),
        (("connect", "ibkr", "--since", "tomorrow"), 2, "tomorrow"),
        (("trades", "--since", "soon"), 2, "soon"),
        (("trades", "--limit", "-1"), 2, "limit"),
        (("trades", "--account", "U8"), 3, "'me' has no account 'U8'"),
        (("sandbox", "acme"), 3, "acme"),
        (("status", "--store", "/dev/null/x.db"), 7, "/dev/null"),
        (("status", "--config", "/nowhere.toml"), 3, "nowhere.toml"),
        (("status", "--store", "/"), 3, "--store"),
        (("status", "--store", "mysql://me:hidden@db/app"), 3, "postgresql://"),
        (("explain", "--account", "U9", "--symbol", "ACME", "--day", "2026-13-40"), 2, "2026-13-40"),
        (("explain", "--account", "U9", "--symbol", "ACME"), 2, "names no trade"),
        (("explain", "--account", "U9", "--symbol", "ACME", "--trade-id", "x"), 2, "either --trade-id"),
        (("explain", "--symbol", "ACME", "--day", "2026-03-02"), 2, "names no account"),
        (("explain", "--trade-id", "nowhere"), 2, "No trade that is stored has the id 'nowhere'"),
        (("--log", "loud", "sync"), 2, "loud"),
        (("explain", "--account", "U9", "--symbol", "ACME", "--day", "0001-01-01"), 3, "0001-01-01"),
        (("explain", "--account", "U9", "--symbol", "ACME", "--day", "9999-12-31"), 3, "9999-12-31"),
        (("explain", "--account", "U9", "--symbol", " ", "--day", "2026-01-06"), 3, "names no trade"),
        (("sandbox", "ibkr", "--port", "70000"), 3, "70000"),
        (("disconnect", "nobody-1"), 3, "'me' has none yet"),
        (("reconnect", "nobody-1"), 3, "'me' has none yet"),
        (("frobnicate",), 2, "frobnicate"),
        (("trades", "--format", "xml"), 2, "xml"),
    ],
)
def test_wrong_words_get_a_clear_error_and_their_exit_code(
    brokersync: Run, words: tuple[str, ...], code: int, said: str
) -> None:
    answer = brokersync(*words)
    assert answer.code == code, answer
    assert said in answer.err
    assert answer.out == ""
    assert "Traceback" not in answer.err
    assert "hidden" not in answer.err


@pytest.mark.usefixtures("empty_store")
def test_an_error_under_json_is_the_one_document(brokersync: Run) -> None:
    answer = brokersync("sync", "--json")
    assert answer.code == 3
    assert json.loads(answer.out)["error"]["error"] == "BrokerConfigError"


@pytest.mark.usefixtures("empty_store")
@pytest.mark.parametrize("words", [("providers",), ("providers", "ibkr"), ("status",), ("trades",)])
def test_json_is_one_document_and_nothing_else(brokersync: Run, words: tuple[str, ...]) -> None:
    answer = brokersync(*words, "--json")
    assert answer.code == 0
    assert isinstance(answer.document, dict)


def test_a_file_that_is_no_store_is_left_alone(brokersync: Run, tmp_path: Path) -> None:
    other = tmp_path / "letter.txt"
    other.write_text("Dear Sir or Madam" * 100)
    answer = brokersync("status", "--store", other)
    assert answer.code == 7
    assert "letter.txt" in answer.err
    assert other.read_text() == "Dear Sir or Madam" * 100


def test_a_row_that_is_not_understood_has_its_disposition_too(brokersync: Run, tmp_path: Path) -> None:
    strange = tmp_path / "strange.xml"
    second = _GOOD[_GOOD.index("<Trade ") : _GOOD.index("</Trades>")].replace('"BUY"', '"SWAP"').replace("9001", "9002")
    strange.write_text(_GOOD.replace("</Trades>", second + "</Trades>"))
    rehearsal = brokersync("import", "ibkr", strange, "--dry-run", "--json").document["imports"][0]
    assert [row["disposition"] for row in rehearsal["rows"]] == ["added", "quarantined"]
    assert "SWAP" in rehearsal["rows"][1]["reason"]
    assert "SWAP" in brokersync("import", "ibkr", strange, "--dry-run").out
    answer = brokersync("import", "ibkr", strange, "--json").document["imports"][0]
    assert answer["dispositions"] == {"added": 1, "quarantined": 1}
    assert "quarantined 1" in brokersync("import", "ibkr", strange).out


def test_a_store_without_its_key_file_says_so_and_makes_no_other(brokersync: Run, tmp_path: Path) -> None:
    from brokersync.masterkeys import KeyFile

    key = tmp_path / "store.db.key"
    wrapped = asyncio.run(KeyFile(key).wrap(bytes(32), "me"))
    key.unlink()
    with pytest.raises(BrokerConfigError, match="missing"):
        asyncio.run(KeyFile(key).unwrap(wrapped, "me"))
    assert not key.exists()


def test_an_order_of_numbers_beyond_any_date_costs_its_row_only(brokersync: Run, tmp_path: Path) -> None:
    odd = tmp_path / "odd.xml"
    second = _GOOD[_GOOD.index("<Trade ") : _GOOD.index("</Trades>")]
    second = second.replace("20260106;093105", "99991231;235959").replace("9001", "9" * 5000).replace('"501"', '"502"')
    odd.write_text(_GOOD.replace("</Trades>", second + "</Trades>"))
    report = brokersync("import", "ibkr", odd, "--json").document["imports"][0]["report"]
    assert (report["added"], report["quarantined"]) == (1, 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
@pytest.mark.parametrize("command", ["coverage", "trades"])
def test_a_full_disk_under_the_output_is_said(empty_store: Path, command: str) -> None:
    words = [sys.executable, "-m", "brokersync", command, "--store", str(empty_store)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 3
    assert "The output can not be written: No space left on device." in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


_WRONG_IN_EIGHT_WAYS = """
long_wait = "soon"
first_probe = "1h"
feed_pol = "1s"
[fleet]
redis = "http://me:hidden@host"
share = 250
[brokers.tradovat]
[brokers.ibkr]
hosts = { flx = "https://example.com" }
settings = { client_id = "hidden" }
"""
_LIKE_THIS = (
    "write it like redis://user:password@host:6379/0, rediss:// for TLS, redis+cluster:// or rediss+cluster:// for a "
    "cluster, or unix:///path/to/socket"
)


@pytest.mark.parametrize("command", ["worker", "migrate", "providers"])
def test_a_configuration_that_is_wrong_in_eight_ways_is_told_so_at_once_and_nothing_is_started(
    brokersync: Run, tmp_path: Path, command: str
) -> None:
    path = tmp_path / "brokersync.toml"
    path.write_text(_WRONG_IN_EIGHT_WAYS)
    answer = brokersync(command, "--config", path)
    assert answer.code == Exit.CONFIG
    assert answer.out == ""
    first, *mistakes, _ = answer.err.splitlines()
    assert first == f"Error: {path} has 8 mistakes:"
    assert [one.strip() for one in mistakes] == [
        "long_wait: 'soon' is no duration; write it like 500ms, 30s, 5m, 6h or 365d",
        "the whole: unknown 'feed_pol'; did you mean 'feed_poll'?",
        f"fleet.redis: redis is not the URL of a Redis; {_LIKE_THIS}",
        "fleet.share: share is in percent, from 1 to 100",
        "longest_probe: longest_probe, which is 0:15:00, must not be shorter than first_probe, which is 1:00:00",
        "brokers: unknown 'tradovat'; did you mean 'tradovate'?",
        "brokers[ibkr].hosts[flx]: Interactive Brokers has no host for 'flx'. Its roles are: flex",
        "brokers[ibkr].settings.client_id: is unknown",
    ]
    assert [*tmp_path.iterdir()] == [path]


def test_a_program_is_told_of_a_mistaken_broker_before_its_store_is_made(tmp_path: Path) -> None:
    async def start() -> None:
        settings = Settings(brokers={"tradovat": BrokerSettings()})
        async with BrokerSync.open(tmp_path / "store.db", settings=settings):
            pass

    with pytest.raises(BrokerConfigError, match="did you mean 'tradovate'"):
        asyncio.run(start())
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    "command", ["demo", "providers", "limits", "doctor", "worker", "migrate", "rotate-key", "sandbox"]
)
def test_what_is_about_all_owners_takes_none_alone(brokersync: Run, command: str) -> None:
    answer = brokersync(command, "--owner", "ann")
    assert (answer.code, answer.out) == (Exit.USAGE, "")
    assert "--owner" in answer.err


def test_a_login_without_any_field_names_each_that_is_missing(brokersync: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    answer = brokersync("connect", "tradovate")
    assert answer.code == 3
    assert "username is missing; password is missing" in answer.err
    assert "Its fields are: " in answer.err


def test_a_file_that_does_not_tell_live_from_demo_is_asked_about_and_the_answer_is_an_option(
    brokersync: Run, tmp_path: Path
) -> None:
    file = tmp_path / "Fills.csv"
    header = "_id,_orderId,_contractId,_timestamp,_action,_qty,_price,_accountId,Account,Contract,commission"
    file.write_text(f"{header}\n1,2,3,2026-03-09 14:31:02.125Z,1,2,110.5,11,77001,ZNM6,1.58\n")
    asked = brokersync("import", "tradovate", file)
    assert asked.code == 3
    assert "name the environment: live or demo" in asked.err
    assert brokersync("import", "tradovate", file, "--environment", "demo").code == 0
    assert brokersync("import", "tradovate", file).code == 0, "the account is known now"
    assert len(brokersync("trades", "--json").document["trades"]) == 1


def test_of_two_aliases_the_unknown_one_is_asked_for_and_named_by_the_option_that_is_said(
    brokersync: Run, tmp_path: Path
) -> None:
    known, both = tmp_path / "known.xml", tmp_path / "both.xml"
    known.write_text(_GOOD.replace("<Trade ", '<Trade acctAlias="Rainy days" '))
    [before, statement, after] = re.split(r"(<FlexStatement .*</FlexStatement>)", _GOOD, flags=re.DOTALL)
    aliased = [statement.replace("U9000001", name) for name in ("Rainy days", "College")]
    both.write_text("".join([before, aliased[0], aliased[1].replace('ID="', 'ID="7'), after]))
    assert brokersync("import", "ibkr", known).code == 0
    asked = brokersync("import", "ibkr", both)
    assert asked.code == 3
    assert "Which account is this statement for? Its id, such as U1234567 (--account)" in asked.err
    assert brokersync("import", "ibkr", both, "--account", "College").code == 3, "it is no id"
    assert brokersync("import", "ibkr", both, "--account", "U9000002").code == 0
    trades = brokersync("trades", "--json").document["trades"]
    assert sorted(trade["account_id"] for trade in trades) == ["U9000001", "U9000002"]


def test_a_row_that_a_better_source_has_told_is_counted_as_known(brokersync: Run, tmp_path: Path) -> None:
    flex = tmp_path / "flex.xml"
    flex.write_text(_GOOD)
    assert "known already" not in brokersync("import", "ibkr", flex).out
    other = tmp_path / "confirmations.xml"
    told = _GOOD.replace("<Trades>", "<TradeConfirms>").replace("</Trades>", "</TradeConfirms>")
    told = told.replace("<Trade ", "<TradeConfirm ").replace("tradePrice=", "price=")
    other.write_text(told.replace("ibCommission=", "commission=").replace("ibCommissionCurrency", "commissionCurrency"))
    answer = brokersync("import", "ibkr", other)
    assert "1 rows read, added 0, modified 0, unchanged 0, quarantined 0" in answer.out
    assert "  1 known already: they are of trades that were told before, and change nothing" in answer.out
    again = brokersync("import", "ibkr", other, "--json").document["imports"][0]
    assert again["dispositions"] == {"unchanged": 1}
    fresh = brokersync("import", "ibkr", flex, "--json").document["imports"][0]
    assert sum(fresh["dispositions"].values()) == fresh["report"]["fetched"] + fresh["report"]["quarantined"]
    assert sum(fresh["report"]["dispositions"].values()) == fresh["report"]["rows"]
