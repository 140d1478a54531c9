"""`brokersync doctor`: each thing that can be wrong is found with its remedy, and the bundle shows nobody's secret."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.install.hostile import GOOD_CODE, wheel_of

from brokersync.cli.exits import Exit
from brokersync.governance.notices import Notices, make_notice
from brokersync.governance.state_file import StateFile
from brokersync.masterkeys import KeyFile
from brokersync.records import Connection, ConnectionState
from brokersync.redaction import shows
from brokersync.sealing import Sealer
from brokersync.secret import Secret
from brokersync.store import SqliteStore
from brokersync.types import AuthResult, BrokerAccount
from brokersync.vault import GrantVault

Run = Callable[..., Any]
NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def _own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "brokersync.toml"


def found(answer: Any, area: str) -> list[dict[str, str]]:
    return [one for one in answer.document["findings"] if one["area"] == area]


@pytest.fixture
def doctor(brokersync: Run, config: Path) -> Run:
    """Runs it with a configuration of this text; its findings in one area, and the exit code."""

    def run(text: str, area: str, *words: str) -> tuple[list[dict[str, str]], int]:
        config.write_text(text)
        answer = brokersync("doctor", *words, "--json", "--config", config)
        return found(answer, area), answer.code

    return run


def test_nothing_but_notes_where_nothing_is_wrong(brokersync: Run) -> None:
    answer = brokersync("doctor")
    assert answer.code == Exit.DONE
    assert "fault" not in answer.out
    assert "warning" not in answer.out
    assert "note: There is no store at" in answer.out


def test_it_makes_nothing(brokersync: Run, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    brokersync("doctor", "ibkr", "--json")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_mistaken_configuration_is_told_and_the_rest_looked_at(doctor: Run) -> None:
    (one,), code = doctor('long_wait = "soon"', "configuration")
    assert code == Exit.CONFIG
    assert "'soon' is no duration" in one["message"]
    assert one["severity"] == "fault"


@pytest.mark.parametrize(
    ("text", "told", "code"),
    [
        ('[governance]\nmode = "approve"', "nobody is told", Exit.CONFIG),
        ('[governance]\nwebhook = "http://elsewhere.example/x"', "no https address", Exit.CONFIG),
        ('[governance]\nwebhook = "https://elsewhere.example/x"', "no secret to sign with", Exit.CONFIG),
    ],
)
def test_governance_that_can_not_work_is_told(doctor: Run, text: str, told: str, code: int) -> None:
    (one,), exit_code = doctor(text, "governance")
    assert told in one["message"]
    assert exit_code == code
    assert one["remedy"]


def test_a_list_that_names_no_broker_is_told(doctor: Run) -> None:
    (one,), code = doctor('[governance]\ndeny = ["tradovte"]', "governance")
    assert "'tradovte', which is no known broker" in one["message"]
    assert (one["remedy"], one["severity"], code) == ("Did you mean 'tradovate'?", "warning", Exit.DONE)


@pytest.mark.parametrize("name", ["deny", "allow"])
def test_a_list_that_names_a_label_says_whose_it_is(doctor: Run, name: str) -> None:
    (one,), code = doctor(f'[governance]\n{name} = ["captrader"]', "governance")
    assert "'captrader', a name under which ibkr is sold: it is of all of ibkr" in one["message"]
    assert (one["severity"], code) == ("note", Exit.DONE)


def test_approvals_that_can_not_be_read_are_told(doctor: Run, tmp_path: Path) -> None:
    (tmp_path / "approvals.json").write_text("{")
    (one,), code = doctor(f'[governance]\napprovals = "{tmp_path}/approvals.json"', "governance")
    assert "it is not JSON" in one["message"]
    assert code == Exit.CONFIG


def test_notices_that_wait_are_told(doctor: Run, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKERSYNC_WEBHOOK_SECRET", "whsec_" + base64.b64encode(bytes(32)).decode())
    notices = Notices(StateFile(Path(f"{empty_store}.plugins.json"), "The notices"))
    notices.add(make_notice("provider.held", {}, NOW))
    (one,), code = doctor('[governance]\nwebhook = "https://elsewhere.example/x"', "governance")
    assert one["message"].startswith("Notices that wait for the webhook: 1,")
    assert (one["severity"], code) == ("warning", Exit.DONE)


def test_a_held_broker_and_one_that_is_used_all_the_same_are_told(doctor: Run) -> None:
    text = '[governance]\ndeny = ["ibkr"]\n[brokers.ibkr.hosts]\n'
    (one, *_), code = doctor(text, "plugins")
    assert "ibkr is held" in one["message"] or "ibkr is used" in one["message"]
    assert code == Exit.CONFIG


@attrs.frozen
class Site:
    """A folder of installed plugins on the import path."""

    folder: Path

    def plugin(self, distribution: str, key: str, code: str = "", **more: Any) -> Path:
        wheel = wheel_of(self.folder, distribution, key, code=GOOD_CODE + code, **more)
        with zipfile.ZipFile(wheel) as pack:
            pack.extractall(self.folder)
        wheel.unlink()
        return self.folder / distribution.replace("-", "_")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    yield Site(folder)
    for name in [name for name in sys.modules if (folder / name.partition(".")[0]).is_dir()]:
        del sys.modules[name]


def test_a_key_that_is_offered_twice_is_told_once(doctor: Run, site: Site) -> None:
    site.plugin("first-plugin", "twice")
    site.plugin("second-plugin", "twice")
    told, code = doctor("", "plugins")
    (one,) = [one for one in told if one["provider"] == "twice"]
    assert "offered 2 times: first-plugin 1.0 and second-plugin 1.0" in one["message"]
    assert "[brokers.twice] distribution" in one["remedy"]
    assert code == Exit.DONE


def test_an_entry_point_that_can_not_be_used_is_told(doctor: Run, site: Site) -> None:
    site.plugin("odd-plugin", "odd")
    (site.folder / "odd_plugin-1.0.dist-info/entry_points.txt").write_text("[brokersync.providers]\nOdd = odd_plugin\n")
    told, code = doctor("", "plugins")
    assert any("the key 'Odd' is not lower-case" in one["message"] for one in told)
    assert code == Exit.CONFIG


def test_a_broken_manifest_a_changed_file_and_a_missing_package_are_told(doctor: Run, site: Site) -> None:
    (site.plugin("bad-plugin", "bad") / "provider.toml").write_text("key = ")
    (site.plugin("changed-plugin", "changed") / "more.py").write_text("")
    told, code = doctor("", "plugins")
    by_key = {one["provider"]: one for one in told}
    assert "provider.toml is not TOML" in by_key["bad"]["message"]
    assert "'changed_plugin/more.py' is in no RECORD" in by_key["changed"]["message"]
    assert by_key["changed"]["severity"] == "fault"
    assert code == Exit.CONFIG


@pytest.mark.parametrize("name", ["__init__.py", "more.py"])
def test_a_plugin_that_is_not_as_it_was_installed_fails_the_check_where_it_is_trusted(
    doctor: Run, site: Site, name: str
) -> None:
    folder = site.plugin("changed-plugin", "changed")
    assert doctor("", "plugins")[1] == Exit.DONE
    with (folder / name).open("a") as file:
        file.write("# put there later")
    told, code = doctor("", "plugins")
    (one,) = [one for one in told if one["provider"] == "changed"]
    assert "changed-plugin is not as it was installed: " in one["message"]
    assert "pip install --force-reinstall changed-plugin" in one["remedy"]
    assert code == Exit.CONFIG


def test_code_that_ran_when_python_started_is_told(doctor: Run, brokersync: Run, site: Site) -> None:
    site.plugin("early-plugin", "early", more={"early.pth": b"import os"})
    told, code = doctor("", "plugins")
    (one,) = [one for one in told if one["provider"] == "early"]
    assert "its code has run already" in one["message"]
    assert one["remedy"] == "Uninstall it: pip uninstall early-plugin"
    assert code == Exit.CONFIG
    rows = brokersync("providers", "list", "--json").document["providers"]
    (row,) = [row for row in rows if row["key"] == "early"]
    assert row["state"] == "refused"
    assert "has run already" in row["reason"]


_CHECKS = """
from brokersync.plugin import Finding, Severity
@hookimpl
def brokersync_doctor(broker, settings):
    return [Finding(message=f"{broker} has {len(settings)} settings.", remedy="Set more.", severity=Severity.WARNING)]
"""


def test_a_plugin_adds_checks_of_its_own_where_it_is_used_and_nowhere_else(doctor: Run, site: Site) -> None:
    site.plugin("own-plugin", "own", _CHECKS)
    assert doctor("", "brokers") == ([], Exit.DONE)
    expected = {
        "message": "own has 0 settings.", "remedy": "Set more.", "severity": "warning", "area": "brokers",
        "provider": "own",
    }  # fmt: skip
    assert doctor("", "brokers", "own") == ([expected], Exit.DONE)
    assert doctor("[brokers.own.hosts]", "brokers") == ([expected], Exit.DONE)


def test_what_a_plugin_finds_shows_no_secret_and_no_signs_for_terminals(doctor: Run, site: Site) -> None:
    folder = site.plugin(
        "own-plugin",
        "own",
        """
from brokersync.plugin import Finding
@hookimpl
def brokersync_doctor(broker, settings):
    return [Finding(message=f"It is {settings['app_secret']}\\x1b[2J\\nover", remedy="")]
""",
    )
    toml = folder / "provider.toml"
    field = '[[operator_fields]]\nname = "app_secret"\nlabel = "x"\nhelp = "x"\nsecret = true\n[[sources]]'
    toml.write_text(toml.read_text().replace("[[sources]]", field))
    (one,), _ = doctor('[brokers.own.settings]\napp_secret = "very-secret-1"', "brokers")
    assert one["message"] == "It is ***[2J over"


@pytest.mark.parametrize("answer", ["raise ValueError('x')", "return ['text']", "return 5"])
def test_a_check_of_a_plugin_that_breaks_costs_only_its_own(doctor: Run, site: Site, answer: str) -> None:
    site.plugin("own-plugin", "own", f"@hookimpl\ndef brokersync_doctor(broker, settings):\n    {answer}\n")
    told, code = doctor("", "plugins", "own")
    assert any("brokersync_doctor" in one["message"] for one in told if one["provider"] == "own")
    assert code == Exit.CONFIG


def test_a_store_that_can_not_be_opened_is_told(brokersync: Run, tmp_path: Path) -> None:
    (tmp_path / "store.db").write_text("this is no database at all, but some text")
    answer = brokersync("doctor", "--json")
    (one,) = [one for one in found(answer, "store") if one["severity"] == "fault"]
    assert answer.code == Exit.STORE
    assert one["remedy"]


def test_files_that_others_can_read_are_told(brokersync: Run, empty_store: Path) -> None:
    empty_store.chmod(0o644)
    (one,) = found(brokersync("doctor", "--json"), "store")
    assert one["remedy"] == f"Run: chmod 600 {empty_store}"
    empty_store.chmod(0o600)
    assert found(brokersync("doctor", "--json"), "store") == []


def test_a_missing_key_is_told_before_it_is_needed(brokersync: Run, empty_store: Path, stored: Any) -> None:
    Path(f"{empty_store}.key").unlink()
    answer = brokersync("doctor", "--json")
    (one,) = found(answer, "keys")
    assert "is missing" in one["message"]
    assert answer.code == Exit.STORE


SECRETS = {"password": "pass-word-of-mine-8271", "token": "token-of-mine-5540"}
ACCOUNT, OWNER, LABEL = "U77120043", "tenant-of-ours-31", "The savings of Miss Fitt"


@pytest.fixture
def stored(brokersync: Run, empty_store: Path) -> Any:
    """A store with a connection, its sealed login, an account, and an incident."""

    connection = Connection(
        connection_id="ibkr-a1b2c3d4e5",
        owner=OWNER,
        provider="ibkr",
        environment="live",
        label=LABEL,
        identity="identity-of-mine-66",
        created_at=NOW,
    )

    async def fill() -> None:
        store = SqliteStore(empty_store)
        await store.open()
        vault = GrantVault(store, Sealer(KeyFile(Path(f"{empty_store}.key"))))
        auth = AuthResult(identity=connection.identity, access_token=Secret(SECRETS["token"]))
        await vault.add(connection, auth, SECRETS, made_at=NOW)
        state = ConnectionState.NEEDS_OPERATOR
        await store.change_connection(connection.connection_id, state=state, reason=f"It said {SECRETS['token']}")
        account = BrokerAccount(account_id=ACCOUNT, name="Miss Fitt", environment="live")
        await store.put_accounts(connection, [account], NOW)
        vault.close()
        await store.close()

    asyncio.run(fill())
    return connection


def test_connections_that_wait_for_the_operator_are_told(brokersync: Run, stored: Any) -> None:
    answer = brokersync("doctor", "--json")
    (one,) = found(answer, "connections")
    assert one["message"] == "Connections that wait for you: 1."
    assert answer.code == Exit.CONFIG


def test_the_bundle_holds_what_helps_and_nothing_of_anybody(
    brokersync: Run, stored: Any, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path
) -> None:
    hook = "whsec_" + base64.b64encode(os.urandom(32)).decode()
    texts = {
        "store": str(empty_store),
        "secret": hook,
        "path": "hidden-path-of-hook",
        "host": "internal-broker-host.example",
        "setting": "query-of-mine-993311",
        "redirect": "internal-redirect.example",
        "redis": "redis-password-77",
    }
    config.write_text(
        f'[fleet]\nredis = "redis://:{texts["redis"]}@127.0.0.1:1/0"\n'
        f'[governance]\nwebhook = "https://hooks.example/{texts["path"]}"\nwebhook_secret = "{hook}"\n'
        f'[brokers.ibkr]\nredirect_uri = "https://{texts["redirect"]}/x"\n'
        f'[brokers.ibkr.hosts]\nflex = "https://{texts["host"]}/"\n'
        f'[brokers.tradovate.settings]\nclient_id = "{texts["setting"]}"\nclient_secret = "{texts["setting"]}-s"\n'
    )
    out = tmp_path / "bundle.json"
    answer = brokersync("doctor", "--bundle", out, "--config", config)
    assert f"Wrote {out}" in answer.err
    text = out.read_text()
    facts = json.loads(text)
    assert facts["versions"]["brokersync"]
    assert {one["key"] for one in facts["providers"]} == {"ibkr", "tradovate"}
    assert facts["store"]["connections"] == {"ibkr live needs_operator": 1}
    assert facts["configuration"]["brokers"]["tradovate"]["settings"] == ["client_id", "client_secret"]
    assert facts["configuration"]["fleet"]["redis"] == "set"
    key = Path(f"{empty_store}.key").read_text().strip()
    nobodys = [*texts.values(), *SECRETS.values(), ACCOUNT, OWNER, LABEL, "Miss Fitt", stored.identity, key]
    assert [one for one in [*nobodys, stored.connection_id] if shows(text, one)] == []
    assert out.stat().st_mode & 0o077 == 0


def test_a_bundle_overwrites_nothing(brokersync: Run, tmp_path: Path) -> None:
    out = tmp_path / "bundle.json"
    out.write_text("mine")
    assert brokersync("doctor", "--bundle", out).code == Exit.CONFIG
    assert out.read_text() == "mine"


def test_a_redis_that_does_not_answer_is_told(doctor: Run) -> None:
    told, code = doctor('[fleet]\nredis = "redis://:word@127.0.0.1:1/0"', "redis")
    assert len(told) == 1
    assert "does not answer" in told[0]["message"]
    assert "word" not in json.dumps(told)
    assert code == Exit.STORE


def test_hosts_are_asked_only_when_it_is_wanted_and_a_wrong_clock_is_told(
    brokersync: Run, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def look() -> tuple[list[Any], list[Any]]:
        from brokersync.clock import SystemClock
        from brokersync.config import parse_settings
        from brokersync.doctor.reach import reach_findings
        from brokersync.registry import ProviderRegistry

        async def answer(request: web.Request) -> web.Response:
            asked.append(f"{request.method} {request.path}")
            late = (NOW - timedelta(hours=2)).strftime("%a, %d %b %Y %H:%M:%S GMT")
            return web.Response(status=404, headers={"Date": late})

        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", answer)
        server = TestServer(app)
        await server.start_server()
        base = str(server.make_url("/"))
        settings = parse_settings(f'[brokers.ibkr.hosts]\nflex = "{base}"')
        registry = ProviderRegistry.installed(settings)
        late = await reach_findings(registry, settings, ["ibkr"], SystemClock())
        await server.close()
        return late, await reach_findings(registry, settings, ["ibkr"], SystemClock())

    late, away = asyncio.run(look())
    assert asked == ["HEAD /"]
    (one,) = late
    assert one.area == "clock"
    assert "ahead of" in one.message
    (one,) = away
    assert (one.area, one.provider) == ("hosts", "ibkr")
    assert "127.0.0.1 can not be reached" in one.message
