"""A store, a keeper of its grant, and a broker that answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

from brokersync.auth import TokenKeeper
from brokersync.config import Settings
from brokersync.errors import BrokerError
from brokersync.events import Event
from brokersync.masterkeys import MasterKeys
from brokersync.records import Connection, Lease
from brokersync.sealing import Sealer
from brokersync.secret import Secret
from brokersync.store import SealedGrant, Store
from brokersync.types import AuthResult
from brokersync.underway import Underway
from brokersync.vault import GrantVault

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CONNECTION = Connection(
    connection_id="c", owner="o", provider="paper", environment="live", label="", identity="me", created_at=NOW
)
FIELDS = {"username": "me", "password": "hidden-password"}
HIDDEN = ("hidden-password", "hidden-access", "hidden-refresh", "hidden-device")


def login(token: str = "hidden-access-0", refresh: str | None = "hidden-refresh-0", **facts: Any) -> AuthResult:
    return AuthResult(
        **(
            {
                "identity": "me",
                "access_token": Secret(token),
                "refresh_token": Secret(refresh) if refresh else None,
                "expires_at": NOW + 60 * MINUTE,
                "secrets": {"device": Secret("hidden-device")},
            }
            | facts
        )
    )


class Clock:
    """Stands still but for those who sleep; `on_sleep` is what happens meanwhile."""

    def __init__(self) -> None:
        self.moment = NOW
        self.slept: list[float] = []
        self.on_sleep: Callable[[], Awaitable[object]] | None = None

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return (self.moment - NOW).total_seconds()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.moment += timedelta(seconds=seconds)
        await asyncio.sleep(0)
        if self.on_sleep is not None:
            await self.on_sleep()


Step = AuthResult | BrokerError | Callable[[], Any]


class Broker:
    """Answers refreshes and logins one after another as it is told; what is left over is a failure of the test."""

    session: Lease | None = None

    def __init__(self) -> None:
        self.refreshes: list[Step] = []
        self.logins: list[Step] = []
        self.asked: list[str] = []
        self.login_of: Callable[[], Awaitable[object]] | None = None
        self.reached = asyncio.Event()
        self.pause = asyncio.Event()
        self.pause.set()

    async def refresh_token(self, auth: AuthResult) -> AuthResult:
        assert auth.refresh_token is not None
        self.asked.append(f"refresh with {auth.refresh_token.reveal()}")
        return await self._answer(self.refreshes)

    async def log_in(self, fields: Mapping[str, str], instead_of: Lease | None = None) -> AuthResult:
        assert fields == FIELDS
        self.asked.append("login")
        if self.login_of is not None:
            await self.login_of()
        return await self._answer(self.logins)

    async def _answer(self, steps: list[Step]) -> AuthResult:
        self.reached.set()
        await self.pause.wait()
        step = steps.pop(0)
        if not isinstance(step, AuthResult | BrokerError):
            step = await step()
        if isinstance(step, BrokerError):
            raise step
        assert isinstance(step, AuthResult)
        return step


class Desk:
    def __init__(self, store: Store) -> None:
        self.store, self.clock, self.broker = store, Clock(), Broker()
        self.vault = GrantVault(store, Sealer(MasterKeys(bytes(32))))
        self.events: list[Event] = []
        self.underway = Underway()
        self.settings = Settings()

    async def connect(self, auth: AuthResult) -> None:
        await self.store.add_connection(CONNECTION, await self.sealed(auth, 1))

    async def sealed(self, auth: AuthResult, generation: int) -> SealedGrant:
        return await self.vault.seal(
            owner="o", provider="paper", environment="live", auth=auth, fields=FIELDS, generation=generation
        )

    def keeper(self, underway: Underway | None = None, **facts: Any) -> TokenKeeper:
        """A keeper of this process; one of another process has renewals of its own under way."""
        underway = underway or self.underway
        vault = self.vault if underway is self.underway else GrantVault(self.store, Sealer(MasterKeys(bytes(32))))
        return TokenKeeper(**{
            "connection": CONNECTION, "vault": vault, "logins": lambda: nullcontext(self.broker), "clock": self.clock,
            "settings": self.settings, "events": self.events.append, "underway": underway,
            "worker": f"worker-{id(underway):x}", **facts,
        })  # fmt: skip

    async def in_doubt(self) -> datetime | None:
        """Since when it is not known what became of a renewal."""
        grant, _ = await self.vault.load(CONNECTION)
        return grant.renewing_since

    async def kept(self) -> tuple[AuthResult, int]:
        grant, fields = await self.vault.load(CONNECTION)
        assert fields == FIELDS
        return grant.auth, grant.generation


FRESH = login("hidden-access-1", "hidden-refresh-1")
