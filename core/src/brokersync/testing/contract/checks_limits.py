"""Checks of size, time and what is shown: memory, cancellation, secrets, hosts, logs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from brokersync.testing.contract.base import ContractBase
from brokersync.testing.contract.changing import drawn, samples
from brokersync.testing.contract.expecting import expect, told
from brokersync.testing.contract.growing import drained, large_answer, most_of_one, objects
from brokersync.testing.contract.reading import Reading
from brokersync.testing.contract.showing import all_of, expect_no_secret
from brokersync.testing.contract.stage import ONCE, Stage
from brokersync.testing.contract.written import HOW_ROWS_ARE_KNOWN
from brokersync.testing.faults import Fault, Occasion, status
from brokersync.types import AuthResult

_MEMORY: Final = 100 * 1024 * 1024
_WITHIN: Final = 2.0
_MOST_PLACES: Final = 5
_FAILURES: Final = 5


class LimitChecks(ContractBase):
    """Of what must stay bounded, and of what must stay inside."""

    async def test_a_hundred_thousand_rows_fit_in_memory(self) -> None:
        """Read answer by answer of some megabytes, of which nothing is kept: 100 MB above start are the most."""
        async with self.stage() as stage:
            auth, readings = await self.readings(stage)
            tried = False
            wanted = self.rows // max(len(samples(readings)), 1)
            for sample in samples(readings):
                stage.open()
                since = len(stage.server.exchanges)
                before = await stage.read(auth, sample.request)
                large = large_answer(before, stage.server.exchanges[since:])
                if large is None:
                    continue
                stage.server.alter(large.alter)
                await drained(stage, auth, before)  # what is made once is made by now
                most = await most_of_one(stage, auth, before)
                there, rows = objects(), 0
                while rows < wanted and (came := await drained(stage, auth, before)) >= large.rows:
                    rows += came
                left = objects() - there
                stage.server.clear()
                tried = tried or rows >= wanted
                expect(most < _MEMORY, f"{large.rows} rows in one answer of {before} take {most >> 20} MB above start")
                expect(
                    left < rows // 10 + 1000,
                    f"{rows} rows of {before} were read, and {left} more objects are there: keep no rows",
                )
            if not tried:
                self.cannot_try(f"no list of the sandbox's answers has a row that is a trade's; {HOW_ROWS_ARE_KNOWN}")

    async def test_a_reading_that_is_cancelled_ends_within_two_seconds(self) -> None:
        """At each kind of request, with nothing left running behind it."""
        async with self.stage() as stage:
            auth, readings = await self.readings(stage)
            for sample in samples(readings):
                stage.open()
                since = len(stage.server.exchanges)
                await stage.read(auth, sample.request)
                count = len(stage.server.exchanges) - since
                for place in drawn(self.random("cancelled"), list(range(count)), _MOST_PLACES):
                    stage.open()
                    await _cancelled(stage, auth, sample, place)

    async def test_no_secret_is_shown(self, capfd: pytest.CaptureFixture[str]) -> None:
        """In no log, output, error or page, when all goes well and when the broker repeats what it was sent."""
        with _logged() as lines:
            async with self.stage() as stage:
                auth, readings = await self.readings(stage)
                said = [repr(auth), *(repr(page.cursor or "") for one in readings for page in one.pages)]
                said += [f"{page.bookmark or ''} {page.accounts}" for one in readings for page in one.pages]
                said += [row.reason for one in readings for row in one.quarantined]
                for sample in samples(readings):
                    for echo in (_echo(400), _echo(401), _echo(500), _echo(200)):
                        stage.open(retry=ONCE)
                        stage.server.show(echo, times=None)
                        said += [all_of(error) for error in await _errors(stage, auth, sample)]
                        stage.server.clear()
                secrets = list(stage.secrets)
        out, err = capfd.readouterr()
        for where, text in (("the output", out + err), ("a log", "\n".join(lines)), ("what is said", "\n".join(said))):
            expect_no_secret(text, secrets, where)

    async def test_only_declared_hosts_are_contacted(self) -> None:
        """From login to the last page nobody is talked to beside the hosts of provider.toml."""
        async with self.stage() as stage:
            with stage.watched() as watched:
                auth = await self.log_in(stage)
                for request in stage.requests(await stage.accounts(auth)):
                    reading = await stage.read(auth, request)
                    expect(reading.error is None, f"{reading} failed with {told(reading.error)}")
            hosts = sorted({*watched.contacted})
            expect(not hosts, f"{', '.join(hosts)} was contacted, which provider.toml does not declare")

    async def test_every_request_goes_through_core(self) -> None:
        """So that limits, retries and redaction hold for it."""
        async with self.stage() as stage:
            await self.readings(stage)
            sent, came = len(stage.sent_since(0)), len(stage.server.exchanges)
            expect(sent == came, f"{came} requests came in, and core sent {sent}: use context.http for each")

    async def test_a_lasting_failure_is_logged_once(self) -> None:
        """The same failure again and again is no news."""
        async with self.stage() as stage:
            auth, readings = await self.readings(stage)
            with _logged(stage.package, logging.WARNING) as lines:
                stage.server.show("status_503", times=None)
                for _ in range(_FAILURES):
                    stage.open(retry=ONCE)
                    await stage.read(auth, samples(readings)[0].request)
            expect(len(lines) <= 1, f"{_FAILURES} equal failures are logged {len(lines)} times: {lines[:2]}")


async def _cancelled(stage: Stage, auth: AuthResult, sample: Reading, place: int) -> None:
    reached = asyncio.Event()

    async def hang(_: Occasion) -> Any:
        reached.set()
        await asyncio.sleep(3600)

    stage.server.show(Fault("hangs", hang), after=place)
    before = asyncio.all_tasks()
    task = asyncio.ensure_future(stage.read(auth, sample.request))
    await asyncio.wait([task, asyncio.ensure_future(reached.wait())], return_when=asyncio.FIRST_COMPLETED)
    began = time.monotonic()
    task.cancel()
    await asyncio.wait([task], timeout=_WITHIN)
    where = f"request {place + 1} of {sample}"
    expect(task.done(), f"a reading that was cancelled at {where} does not end within {_WITHIN:.0f} s")
    expect(
        task.cancelled(),
        f"a reading that was cancelled at {where} goes on all the same, after {time.monotonic() - began:.1f} s",
    )
    await asyncio.sleep(0.02)
    left = [one for one in asyncio.all_tasks() - before if _is_of(one, stage.package)]
    stage.server.clear()
    for one in left:
        one.cancel()
    expect(not left, f"a reading that was cancelled at {where} leaves {len(left)} tasks running")


def _is_of(task: asyncio.Task[Any], package: str) -> bool:
    names = [str(frame.f_globals.get("__name__", "")) for frame in task.get_stack()]
    code = getattr(task.get_coro(), "cr_code", None)
    return any(name.startswith(package) for name in names) or (code is not None and package in code.co_filename)


def _echo(code: int) -> Fault:
    """An answer that repeats all of the request, as careless servers do."""

    async def show(occasion: Occasion) -> Any:
        request = occasion.request
        body = f"{request.method} {request.url}\n{dict(request.headers)}\n".encode() + await request.read()
        return await status(code, body=body, headers={"Content-Type": "text/plain"}).show(occasion)

    return Fault(f"echo_{code}", show)


async def _errors(stage: Stage, auth: AuthResult, sample: Reading) -> list[BaseException]:
    found: list[BaseException] = []
    for call in (stage.log_in(), stage.provider.refresh_token(auth), stage.provider.get_accounts(auth)):
        try:
            await call
        except Exception as error:  # noqa: BLE001  what is shown is asked, whatever it is
            found.append(error)
    reading = await stage.read(auth, sample.request)
    return [*found, *([] if reading.error is None else [reading.error])]


@contextmanager
def _logged(package: str = "", level: int = logging.DEBUG) -> Iterator[list[str]]:
    """What is logged, by whoever; or by the modules of one package."""
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if not package or f"/{package}/" in record.pathname or record.name.startswith(package):
                lines.append(self.format(record))

    handler, root = Lines(level), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield lines
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
