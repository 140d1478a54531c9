"""The demo's stage: sandboxes, a store of its own, and what happens on it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from brokersync.cli.progress import SyncProgress
from brokersync.cli.sync import as_json, sync_all
from brokersync.config import Settings, parse_settings
from brokersync.consents import OpenConsent
from brokersync.records import ChangeKind, Connection
from brokersync.registry import ProviderRegistry
from brokersync.sandboxes import CONTROL_PATH, SandboxLogin, SandboxSettings
from brokersync.service import BrokerSync
from brokersync.store import TradeFilter
from brokersync.testing import RunningSandbox, answer_page, run_sandbox

_OWNER = "demo"
_REDIRECT_URI = "http://127.0.0.1:8765/"
_LOOK_EVERY_SECONDS = 0.02
_LOOKS = 1000
_BOOKED_WITHIN = timedelta(minutes=15)


class Stage:
    """Everything of one demo; leaving it stops the sandboxes and the child process."""

    def __init__(
        self, folder: Path, brokers: Sequence[str], registry: ProviderRegistry, settings: SandboxSettings
    ) -> None:
        self._folder, self._brokers, self._registry, self._settings = folder, brokers, registry, settings
        self._settled = settings.now() - _BOOKED_WITHIN
        self._stack = AsyncExitStack()
        self._sandboxes: list[RunningSandbox] = []
        self.connections: list[Connection] = []

    async def __aenter__(self) -> Self:
        try:
            for key in self._brokers:
                self._sandboxes.append(
                    await self._stack.enter_async_context(
                        run_sandbox(key, registry=self._registry, settings=self._settings)
                    )
                )
            self._write_config()
            self._bs = await self._stack.enter_async_context(
                BrokerSync.open(self._store, settings=self._read_settings(), registry=self._registry)
            )
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def _store(self) -> Path:
        return self._folder / "demo.db"

    @property
    def _config(self) -> Path:
        return self._folder / "brokersync.toml"

    def _toml(self) -> str:
        # the demo kills a worker, and nobody watching wants to wait until it counts as dead
        lines = ['lease = "1s"']
        for sandbox in self._sandboxes:
            lines += [f"[brokers.{sandbox.key}.hosts]"]
            lines += [f"{json.dumps(role)} = {json.dumps(url)}" for role, url in sandbox.hosts.items()]
            if sandbox.operator_fields:
                lines += [f"[brokers.{sandbox.key}.settings]"]
                lines += [
                    f"{json.dumps(name)} = {json.dumps(value)}" for name, value in sandbox.operator_fields.items()
                ]
        return "\n".join(lines) + "\n"

    def _write_config(self) -> None:
        self._config.write_text(self._toml(), encoding="utf-8")

    def _read_settings(self) -> Settings:
        return parse_settings(self._config.read_text(encoding="utf-8"), str(self._config))

    def addresses(self) -> list[str]:
        """Each broker with the address its sandbox listens on."""
        return [f"{sandbox.key} at {sandbox.base_url}" for sandbox in self._sandboxes]

    async def connect(self) -> None:
        """Connect every login of every sandbox."""
        logins = [(sandbox, login) for sandbox in self._sandboxes for login in sandbox.logins]
        self.connections = await asyncio.gather(
            *(
                self._connected(sandbox.key, login, f"demo {number}")
                for number, (sandbox, login) in enumerate(logins, 1)
            )
        )

    async def _connected(self, key: str, login: SandboxLogin, label: str) -> Connection:
        """With what the login's user gives: in the form, or at the broker's own page."""
        facts: dict[str, Any] = {"fields": login.fields, "environment": login.environment, "label": label}
        if not self._registry.manifest(key).only_consents:
            return await self._bs.connect(key, owner=_OWNER, **facts)
        step: Connection | OpenConsent = await self._bs.begin_consent(
            key, owner=_OWNER, redirect_uri=_REDIRECT_URI, **facts
        )
        while isinstance(step, OpenConsent):
            answers = await answer_page(step.url or "", login.page)
            step = await self._bs.finish_consent(step.consent_id, answers, owner=_OWNER)
        return step

    async def inject_faults(self) -> list[str]:
        """Ask each sandbox for the faults that a sync overcomes by itself; what was asked for, in words."""
        told = []
        async with aiohttp.ClientSession() as session:
            for sandbox in self._sandboxes:
                for number, fault in enumerate(sandbox.broker.demo_faults, 1):
                    body = {"fault": fault, "times": 1, "after": 4 * number}
                    async with session.post(f"{sandbox.base_url}{CONTROL_PATH}/faults", json=body) as answer:
                        answer.raise_for_status()
                    told.append(f"{sandbox.key} {fault.replace('_', ' ')}")
        return told

    async def sync_and_kill(self) -> str:
        """Sync one login in another process and kill that with SIGKILL once a page is committed."""
        connection = self.connections[-1]
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "brokersync", "sync", connection.connection_id),
            *("--store", str(self._store), "--config", str(self._config), "--owner", _OWNER, "--json"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        waiter = asyncio.create_task(child.wait())
        try:
            for _ in range(_LOOKS):
                if await self._committed(connection):
                    break
                # the child tells nothing while it runs, so its commits are looked for in the store
                await asyncio.wait([waiter], timeout=_LOOK_EVERY_SECONDS)
        finally:
            if not waiter.done():
                os.kill(child.pid, signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
            code = await waiter
        kept = await self._committed(connection)
        if code == 0:
            return f"{connection.connection_id} was done before it could be killed; {kept} trades are kept."
        return f"{connection.connection_id} was killed; {kept} trades were committed and are kept."

    async def _committed(self, connection: Connection) -> int:
        mine = {account.account_id for account in await self._bs.accounts(connection.connection_id)}
        return sum(
            row["active"] + row["cancelled"] for row in await self._bs.counts(_OWNER) if row["account_id"] in mine
        )

    async def sync(self, again_from: datetime | None = None) -> list[dict[str, Any]]:
        """Sync all logins side by side; each one's result as JSON values. With `again_from` only histories are read."""
        sources = self._histories(self._brokers) if again_from else None
        connections = [one for one in self.connections if sources is None or self._histories([one.provider])]
        with SyncProgress(connections) as progress:
            results = await sync_all(self._bs, connections, events=progress, again_from=again_from, sources=sources)
        return [as_json(result) for result in results]

    def _histories(self, brokers: Sequence[str]) -> list[str]:
        """The sources that are read again for corrections, if any; the others hold the last days only."""
        specs = [spec for key in brokers for spec in self._registry.manifest(key).sources]
        return [spec.name for spec in specs if spec.reread > timedelta(0)]

    async def feed_position(self) -> int:
        """Where the change feed ends now."""
        position = 0
        while changes := await self._bs.changes(_OWNER, position):
            position = changes[-1].position
        return position

    async def added_since(self, position: int) -> int:
        """How many trades from before the demo were added behind a position of the feed."""
        old = {trade.trade_id async for trade in self._bs.trades(_OWNER, TradeFilter(until=self._settled))}
        added = 0
        while changes := await self._bs.changes(_OWNER, position):
            position = changes[-1].position
            added += sum(change.kind is ChangeKind.ADDED and change.trade_id in old for change in changes)
        return added

    async def compare(self) -> list[dict[str, Any]]:
        """The store's live trades against each sandbox's ledger, per account: by key, side, quantity and price.

        Simulated trading goes on while the demo runs, so only what was settled before it began is compared.
        """
        kept: dict[tuple[str, str], dict[str, tuple[str, Decimal, Decimal]]] = {}
        async for trade in self._bs.trades(_OWNER, TradeFilter(until=self._settled)):
            facts = (trade.side.value, trade.quantity, trade.price)
            kept.setdefault((trade.provider, trade.account_id), {})[trade.trade_id] = facts
        rows = []
        async with aiohttp.ClientSession() as session:
            for sandbox in self._sandboxes:
                async with session.get(f"{sandbox.base_url}{CONTROL_PATH}/ledger") as answer:
                    books = (await answer.json())["accounts"]
                for account, told in sorted(books.items()):
                    trades = [row for row in told if datetime.fromisoformat(row["executed_at"]) < self._settled]
                    rows.append(_compared(sandbox.key, account, trades, kept.get((sandbox.key, account), {})))
        return rows


def _compared(
    key: str, account: str, books: Sequence[Mapping[str, Any]], kept: Mapping[str, tuple[str, Decimal, Decimal]]
) -> dict[str, Any]:
    wanted = {row["trade_id"]: (row["side"], Decimal(row["quantity"]), Decimal(row["price"])) for row in books}
    missing, extra = wanted.keys() - kept.keys(), kept.keys() - wanted.keys()
    different = [name for name in wanted.keys() & kept.keys() if wanted[name] != kept[name]]
    return {
        "account": f"{key} {account}",
        "broker": len(wanted),
        "store": len(kept),
        "missing": len(missing),
        "extra": len(extra),
        "different": len(different),
        "equal": not missing and not extra and not different,
    }
