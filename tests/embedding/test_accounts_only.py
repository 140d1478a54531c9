"""A broker whose API tells of accounts, and whose trades come in files."""

from __future__ import annotations

from pathlib import Path

from brokersync.records import Done

from .broker import MANIFEST, Broker, open_desk

FILES = MANIFEST.replace('look_back = "10d"', "files = true")


async def test_a_sync_looks_for_accounts_where_all_sources_are_files(tmp_path: Path) -> None:
    listed = ["a-1"]
    desk = open_desk(tmp_path, Broker(accounts=lambda _: listed), manifest=FILES)
    async with desk.bs as bs:
        (name,) = await desk.connect("ann")
        listed.append("a-2")

        assert isinstance(await bs.run(name), Done)

        assert {one.account_id for one in await bs.accounts(name)} == {"a-1", "a-2"}
        assert desk.broker.asked == []
