"""What `status` says of connections that can not be synced."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from brokersync.cli.common import Owned
from brokersync.cli.status import status
from brokersync.incidents import Probes, after_failure
from brokersync.records import Connection
from brokersync.states import Cause, moved
from brokersync.store import SealedGrant, SqliteStore

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


async def fill(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    one = Connection(
        connection_id="toy-1", owner="me", provider="toy", environment="live", label="Toy", identity="i", created_at=NOW
    )
    one = moved(one, Cause.REFUSED, reason="The password was changed.", remedy="Connect again.")
    grant = SealedGrant(
        owner="me", provider="toy", environment="live", identity="i", generation=1, auth=b"", credentials=b""
    )
    await store.add_connection(one, grant)
    probes = Probes(timedelta(minutes=1), timedelta(minutes=15), lambda: 0.0)
    for _ in range(3):
        await store.change_health(
            "toy",
            "live",
            NOW,
            lambda known, standing: after_failure(
                known, "toy-1", connections=standing.active, reason="503", now=NOW, probes=probes
            ),
        )
    await store.close()


def test_status_tells_the_reason_what_to_do_and_which_broker_is_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(fill(tmp_path / "s.db"))
    common = {"store": tmp_path / "s.db", "owner": "me"}
    assert status(common=Owned(**common)) == 0
    shown = capsys.readouterr().out
    assert "needs_user" in shown
    assert "toy-1: The password was changed. Connect again." in shown
    assert "toy (live) does not answer since 2030-01-01 12:00 UTC; it is asked again at 2030-01-01 12:01 UTC." in shown
    status(common=Owned(**common, json=True))
    facts = json.loads(capsys.readouterr().out)
    assert [one["provider"] for one in facts["incidents"]] == ["toy"]
    assert facts["connections"][0]["remedy"] == "Connect again."


def test_status_tells_owners_of_their_own_brokers_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(fill(tmp_path / "s.db"))
    status(common=Owned(store=tmp_path / "s.db", owner="somebody else", json=True))
    assert json.loads(capsys.readouterr().out)["incidents"] == []
