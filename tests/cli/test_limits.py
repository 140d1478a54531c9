from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from brokersync.cli import tables
from brokersync.cli.exits import Exit
from brokersync.cli.limit_rows import COLUMNS, SHORT, WHOLE, limit_row
from brokersync.clock import SystemClock
from brokersync.errors import BrokerRateLimitError, LimitScope
from brokersync.login_sessions import LoginSessions
from brokersync.ratelimit import LimitedCall, Refusal
from brokersync.ratelimit.opening import open_redis
from brokersync.ratelimit.redis_limiter import RedisLimiter
from brokersync.registry import ProviderRegistry
from brokersync.store import SqliteStore
from brokersync.testing.redis_server import ScratchRedis

Run = Callable[..., Any]

OWN = """
[[brokers.ibkr.limits]]
scope = "credential"
amount = 4
period = "2m"
"""


SHARES = """
[[brokers.ibkr.limits]]
scope = "credential"
amount = 10
period = "1m"
reserve = 2
weights = { "flex/send" = 3 }
[[brokers.ibkr.limits]]
scope = "egress"
kind = "concurrency"
amount = 4
operations = ["flex/send", "flex/get"]
source = "seen in March"
"""


@pytest.fixture
def redis_url(own_redis: Callable[..., AbstractContextManager[ScratchRedis]]) -> Iterator[str]:
    with own_redis() as running:
        yield running.url


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "brokersync.toml"
        path.write_text(text)
        return path

    return write


def test_the_limits_in_force_are_shown_with_where_their_numbers_come_from(brokersync: Run) -> None:
    answer = brokersync("limits", "ibkr")
    assert answer.code == Exit.DONE
    assert "Interactive Brokers (ibkr), set by the plugin" in answer.out
    assert "10 in 1 min" in answer.out
    assert "IBKR's Flex Web Service guide" in answer.out
    assert "Each process counts for itself" in answer.err
    assert {one["broker"] for one in brokersync("limits", "--json").document["brokers"]} >= {"ibkr", "tradovate"}


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_name_of_a_call_is_broken_and_nothing_stands_beyond_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], width: int
) -> None:
    monkeypatch.setattr(tables, "console", lambda: Console(width=width))
    limits = ProviderRegistry.installed().manifest("tradovate").limits
    tables.show_table(COLUMNS, [limit_row(one) for one in limits], whole=WHOLE, short=SHORT)
    told = capfd.readouterr().out
    for one in ("auth/accesstokenrequest", "auth/oauthtoken", "auth/renewaccesstoken", "authentications"):
        assert one in told
    assert max(map(len, told.splitlines())) <= width


async def sessions_in_use(place: Path) -> None:
    """Two owners have the sessions of one login, a third waits for one; another login has one."""
    store = SqliteStore(place)
    await store.open()
    manifest = ProviderRegistry.installed().manifest("tradovate")
    for owner, login in (("ann", "mira"), ("bob", "mira"), ("eve", "mira"), ("joe", "nils")):
        with suppress(BrokerRateLimitError):
            await LoginSessions(manifest, store, SystemClock(), owner).open({"username": login})
    await store.close()


def test_the_sessions_in_use_and_who_waits_are_shown_without_whose_they_are(brokersync: Run, tmp_path: Path) -> None:
    asyncio.run(sessions_in_use(tmp_path / "store.db"))
    answer = brokersync("limits", "tradovate")
    assert "A login has 2 sessions at most, of 1 h 30 min each: partner.tradovate.com" in answer.out
    rows = [line.split()[1:5] for line in answer.out.splitlines() if re.search(r"^[0-9a-f]{8} .* of 2", line)]
    assert rows == [["2", "of", "2", "1"], ["1", "of", "2", "0"]]
    (told,) = brokersync("limits", "tradovate", "--json").document["brokers"]
    assert told["sessions"]["limit"]["most"] == 2
    assert [(one["taken"], one["waiting"]) for one in told["sessions"]["logins"]] == [(2, 1), (1, 0)]
    for name in ("ann", "bob", "eve", "joe", "mira", "nils"):
        assert name not in answer.out + str(told)


def test_a_store_that_does_not_open_keeps_no_limit_from_being_shown(brokersync: Run, tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"no store" * 1000)
    answer = brokersync("limits", "tradovate")
    assert answer.code == Exit.DONE
    assert "5000 in 1 h" in answer.out
    assert "The sessions in use are not known:" in answer.err


def test_without_a_store_the_sessions_of_a_login_are_told_all_the_same(brokersync: Run, tmp_path: Path) -> None:
    answer = brokersync("limits", "tradovate")
    assert "A login has 2 sessions at most" in answer.out
    assert not (tmp_path / "store.db").exists()
    (told,) = brokersync("limits", "tradovate", "--json").document["brokers"]
    assert told["sessions"]["logins"] is None
    assert "sessions" not in brokersync("limits", "ibkr", "--json").document["brokers"][0]


def test_the_operators_limits_are_shown_in_place_of_the_plugins(brokersync: Run, config: Callable[[str], Path]) -> None:
    answer = brokersync("limits", "ibkr", "--config", config(OWN))
    assert "set by the configuration" in answer.out
    assert "4 in 2 min" in answer.out
    assert "no known source" in answer.out
    assert "10 in 1 min" not in answer.out


def test_weights_reserves_and_how_many_may_be_under_way_are_shown(
    brokersync: Run, config: Callable[[str], Path]
) -> None:
    rows = [
        " ".join(line.split()) for line in brokersync("limits", "ibkr", "--config", config(SHARES)).out.splitlines()
    ]
    assert "10 in 1 min credential, window, 2 in reserve all, flex/send as 3 no known source" in rows
    assert "4 at once egress, concurrency flex/send, flex/get seen in March" in rows


def test_what_a_source_says_does_not_steer_the_terminal(brokersync: Run, config: Callable[[str], Path]) -> None:
    answer = brokersync("limits", "ibkr", "--config", config(f'{OWN}source = "seen \\u001b[2J\\u0007 in\\r\\nMarch"\n'))
    assert answer.code == Exit.DONE
    assert not {"\x1b", "\x07", "\r"} & {*answer.out}
    assert "seen \N{REPLACEMENT CHARACTER}[2J" in answer.out


def test_an_error_does_not_steer_the_terminal(brokersync: Run) -> None:
    answer = brokersync("limits", "\x1b[2Jibkr")
    assert answer.code != Exit.DONE
    assert "\x1b" not in answer.err


def test_a_fleet_sees_what_is_used_and_what_is_frozen(
    brokersync: Run, config: Callable[[str], Path], redis_url: str
) -> None:
    asyncio.run(_use(redis_url))
    path = config(f'[fleet]\nredis = "{redis_url}"\n')
    answer = brokersync("limits", "ibkr", "--config", path)
    assert answer.code == Exit.DONE
    assert "2 by the fullest of 2" in answer.out
    assert "No calls of one credential for" in answer.out
    assert "The broker says so." in answer.out
    usage = brokersync("limits", "ibkr", "--config", path, "--json").document["brokers"][0]["usage"]
    assert [(one["holders"], one["most"]) for one in usage["used"] if one["limit"]["amount"] == 10] == [(2, 2)]
    assert "One credential goes by 50 % of its limits, since the broker refused more." in answer.out
    assert [(one["scope"], one["percent"]) for one in usage["slowed"]] == [("credential", 50)]
    assert "token" not in answer.out.replace("per token", "")


def test_a_redis_that_is_away_is_said_to_be(brokersync: Run, config: Callable[[str], Path]) -> None:
    path = config('[fleet]\nredis = "redis://me:hidden@127.0.0.1:1/0"\n')
    answer = brokersync("limits", "ibkr", "--config", path)
    assert answer.code == Exit.STORE
    assert "does not answer" in answer.err
    assert "hidden" not in answer.err + answer.out


def test_status_says_that_the_redis_is_away_and_what_workers_do(brokersync: Run, config: Callable[[str], Path]) -> None:
    assert brokersync("migrate").code == Exit.DONE
    answer = brokersync("status", "--config", config('[fleet]\nredis = "redis://me:hidden@127.0.0.1:1/0"\n'))
    assert answer.code == Exit.DONE
    assert "does not answer" in answer.out
    assert "10 % of each limit" in " ".join(answer.out.split())
    assert "hidden" not in answer.err + answer.out


def test_status_says_nothing_of_a_redis_that_answers(
    brokersync: Run, config: Callable[[str], Path], redis_url: str
) -> None:
    path = config(f'[fleet]\nredis = "{redis_url}"\n')
    assert brokersync("migrate").code == Exit.DONE
    assert brokersync("status", "--config", path, "--json").document["shared_limits"] == {"trouble": None}


async def _use(url: str) -> None:
    clock = SystemClock()
    limiter = RedisLimiter(open_redis(url), clock)
    limits = [one for one in ProviderRegistry.installed().manifest("ibkr").limits if one.amount == 10]
    for credential in ("a", "a", "b"):
        scopes = {LimitScope.CREDENTIAL: f"token {credential}"}
        wanted = LimitedCall(provider="ibkr", limits=limits, operation="flex", scopes=scopes, waiter="x")
        await limiter.acquire(wanted, longest=timedelta(0), on_wait=lambda *_: None)
    until = clock.now() + timedelta(minutes=3)
    await limiter.freeze("ibkr", LimitScope.CREDENTIAL, "token c", until, "The broker says so.")
    second = timedelta(seconds=1)
    for _ in range(3):
        await limiter.penalise(
            Refusal(call=wanted, scope=LimitScope.CREDENTIAL, first=second, longest=second, reason="It refuses.")
        )
    await limiter.aclose()
