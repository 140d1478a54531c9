"""A file that a user downloaded, on the same way into the store as a broker's answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

import attrs

from brokersync.errors import BrokerConfigError, BrokerError, BrokerPluginError, Fault
from brokersync.events import EventSink
from brokersync.manifest import Manifest
from brokersync.provider import Clock, ReadsCache, StatementReader
from brokersync.records import Era, SyncReport
from brokersync.store import Store
from brokersync.sync.commit import PageWriter, Target
from brokersync.sync.report import ReportBuilder
from brokersync.typed import wrong_type
from brokersync.types import QuarantinedRow, StatementHints, TradeBooking, TradePage

_HEAD_BYTES = 64 * 1024

OnRow = Callable[[TradeBooking | QuarantinedRow, str], None]


async def import_statement(
    file: BinaryIO,
    *,
    owner: str,
    manifest: Manifest,
    reader: StatementReader,
    hints: StatementHints,
    store: Store,
    clock: Clock,
    events: EventSink,
    on_row: OnRow | None = None,
    era: Era | None = None,
) -> SyncReport:
    """Commit every execution of a file and tell `on_row` what became of each.

    The whole file is checked before anything is written: raises a `BrokerError` for one that can not be read to its
    end, and the store is as it was. Importing a file again changes nothing. Raises `ErasedError` when the `era` ends.
    """
    report = ReportBuilder(owner=owner, provider=manifest.key, connection_id=None, started_at=clock.now())
    writer = PageWriter(
        target=Target(owner=owner, provider=manifest.key, file=hints.name, era=era),
        manifest=manifest,
        store=store,
        clock=clock,
        events=events,
        report=report,
    )
    _check_seekable(file)
    _check_zone(hints)
    _check_environment(hints, manifest)
    hints = attrs.evolve(hints, accounts=await store.known_accounts(owner, manifest.key))
    reader = reader.with_cache(_Cached(store, manifest)) if isinstance(reader, ReadsCache) else reader
    name = await asyncio.to_thread(_checked_source, reader, file, hints, manifest)
    writer.begin_file(manifest.source(name))
    if hints.account_id is not None:
        await asyncio.to_thread(_check_account, reader, file, hints, manifest)
    pages = await asyncio.to_thread(_pages, reader, file, hints, manifest)
    try:
        while (page := await asyncio.to_thread(_next_page, pages, manifest)) is not None:
            outcome = await writer.commit(page, going_on=True)
            if on_row is not None:
                for booking, disposition in zip(page.bookings, outcome.dispositions, strict=True):
                    on_row(booking, disposition)
                for strange in page.quarantined:
                    on_row(strange, "quarantined")
    finally:
        if isinstance(pages, Generator):
            # the thread of a cancelled import is still inside, and ends it itself
            with suppress(ValueError):
                pages.close()
    return report.build(clock.now())


def _check_seekable(file: BinaryIO) -> None:
    if not file.seekable():
        raise BrokerConfigError(
            "The file can be read only once, as a pipe, and has to be read twice.",
            remedy="Give a file, or what a temporary one keeps of it.",
            fault=Fault.USER,
        )


def _check_zone(hints: StatementHints) -> None:
    try:
        ZoneInfo(hints.zone or "UTC")
    except (KeyError, ValueError, OSError):
        raise BrokerConfigError(
            f"There is no time zone {hints.zone!r}.", remedy="Name one like America/New_York.", fault=Fault.USER
        ) from None


def _check_environment(hints: StatementHints, manifest: Manifest) -> None:
    if hints.environment is not None and hints.environment not in manifest.environments:
        raise BrokerConfigError(
            f"{manifest.display_name} has no environment {hints.environment!r}.",
            remedy=f"Name one of {', '.join(manifest.environments)}.",
            fault=Fault.USER,
        )


@attrs.frozen
class _Cached:
    """What providers of a broker have cached, of whichever environment, for a reader in a thread of its own."""

    _store: Store
    _manifest: Manifest
    _loop: asyncio.AbstractEventLoop = attrs.field(factory=asyncio.get_running_loop)

    def __call__(self, keys: Sequence[str]) -> Mapping[str, Any]:
        return asyncio.run_coroutine_threadsafe(self._of_all(keys), self._loop).result()

    async def _of_all(self, keys: Sequence[str]) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        for environment in self._manifest.environments:
            found |= await self._store.cache_get(self._manifest.key, environment, keys)
        return found


def _checked_source(reader: StatementReader, file: BinaryIO, hints: StatementHints, manifest: Manifest) -> str:
    with _Border(manifest):
        if not reader.recognises(file.read(_HEAD_BYTES)):
            # the reader knows best what it was given instead, so it is asked before the general answer
            file.seek(0)
            reader.source(file, hints)
            raise BrokerConfigError(
                f"{hints.name or 'The file'} is no statement of {manifest.display_name}.",
                remedy="Name the broker that the file comes from.",
            )
        file.seek(0)
        source = reader.source(file, hints)
        file.seek(0)
    if source not in {one.name for one in manifest.sources}:
        raise BrokerPluginError(f"The plugin names the source {source!r}, which its manifest does not declare.")
    return source


def _pages(reader: StatementReader, file: BinaryIO, hints: StatementHints, manifest: Manifest) -> Iterator[TradePage]:
    with _Border(manifest):
        return reader.read_statement(file, hints)


def _next_page(pages: Iterator[TradePage], manifest: Manifest) -> TradePage | None:
    with _Border(manifest):
        return next(pages, None)


def _check_account(reader: StatementReader, file: BinaryIO, hints: StatementHints, manifest: Manifest) -> None:
    """Raises `BrokerConfigError` where the user names an account for a file that tells another one."""
    told: set[str | None] = set()
    pages = _pages(reader, file, hints, manifest)
    while (page := _next_page(pages, manifest)) is not None:
        told |= {*(one.account_id for one in page.bookings), *(one.account_id for one in page.covered)}
    file.seek(0)
    others = sorted(one for one in told if one is not None)
    # of several accounts the user may name the one that the file shows under another name
    if others and hints.account_id not in others:
        raise BrokerConfigError(
            f"The file is of the account {', '.join(others)}, and {hints.account_id} was named for it.",
            remedy="Leave the account out: it is only for files that do not tell it.",
            fault=Fault.USER,
        )


class _Border:
    """What a plugin's reader raises besides `BrokerError` is the plugin's fault, whatever the file says."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, BrokerError):
            error.provider = error.provider or self._manifest.key
            error.operation = error.operation or "import"
        elif error is not None and not isinstance(error, OSError | KeyboardInterrupt):
            what = wrong_type(error) or type(error).__name__
            raise BrokerPluginError(
                f"The plugin for {self._manifest.display_name} failed on this file ({what}).",
                provider=self._manifest.key,
                operation="import",
                report_to=self._manifest.support,
                remedy="Report it with the kind of file; the file itself holds private data.",
            ) from error
