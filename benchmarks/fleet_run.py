"""The processes of a fleet: a broker that counts, and workers over one store and one Redis."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Mapping, Sequence

import attrs

from benchmarks.fleet_work import OWNERS, Plan, opened
from benchmarks.processes import ended, said, started

WORKERS = 8
_PROGRAM = "benchmarks.fleet_work"


@attrs.frozen(kw_only=True)
class Counted:
    """What the broker counted, in seconds since the first call at `began`, and what became of the syncs."""

    plan: Plan
    began: float
    let_in: Mapping[str, Sequence[float]]
    refused: Sequence[float]
    outcomes: Mapping[str, int]

    @property
    def failed(self) -> int:
        return self.outcomes.get("failed", 0)


@attrs.frozen(kw_only=True)
class Fleet:
    """Workers that run until they are stopped, whose syncs never have enough."""

    plan: Plan
    broker: subprocess.Popen[str]
    workers: Sequence[subprocess.Popen[str]]

    @classmethod
    def start(cls, plan: Plan, folder: str, redis: str) -> Fleet:
        """Returns when all workers have started; the store is in `folder`."""
        broker = started(_PROGRAM, "broker", plan.words())
        port = said(broker)
        asyncio.run(_connect(plan, port, folder))
        workers = [started(_PROGRAM, "worker", plan.words(), port, folder, redis) for _ in range(WORKERS)]
        for one in workers:
            said(one)
        return cls(plan=plan, broker=broker, workers=workers)

    def stop(self) -> Counted:
        for one in self.workers:
            one.terminate()
        told = [ended(one) for one in self.workers]
        names = {name for one in told for name in one["outcomes"]}
        outcomes = {name: sum(one["outcomes"].get(name, 0) for one in told) for name in names}
        return Counted(plan=self.plan, outcomes=outcomes, **ended(self.broker))


async def _connect(plan: Plan, port: str, folder: str) -> None:
    async with opened(plan, port, folder, "") as bs:
        for number in range(OWNERS):
            await bs.connect("bench", owner=f"owner {number}", fields={"api_key": f"key-{number:04}"})
