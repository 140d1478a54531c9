"""A session with a broker, taken down and made into a recording that a plugin reads as it read the broker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final

import attrs

from brokersync.concealing import secrets_in, secrets_of
from brokersync.config import BrokerSettings, Settings
from brokersync.converter import decimal_text
from brokersync.errors import BrokerError, BrokerNotReadyError
from brokersync.factory import make_credentials, open_provider
from brokersync.hosts import HostMap
from brokersync.managed import ManagedProvider
from brokersync.provider import Clock
from brokersync.registry import LoadedProvider
from brokersync.secret import Secret
from brokersync.testing.contract.packaging import files_of
from brokersync.testing.contract.reading import Reading, read, requests
from brokersync.testing.contract.stage import MemoryCache, VirtualClock
from brokersync.testing.recording.capture import Session, Tape
from brokersync.testing.recording.comparing import differences_of
from brokersync.testing.recording.consenting import AtThePage, replayed_page
from brokersync.testing.recording.kinds import Kinds, vocabulary_of
from brokersync.testing.recording.recording import RecordedReading, Recording
from brokersync.testing.recording.replay import ReplayedBroker
from brokersync.testing.recording.sanitise import Sanitised, Sanitiser
from brokersync.testing.sandbox_server import serve_sandbox
from brokersync.types import AuthResult, BrokerAccount, BrokerTrade, TradeRequest

LOGIN_FAILS: Final = "logging in to the recording fails"
_TRIES: Final = 5
_LONGEST_WAIT: Final = 200


@attrs.frozen(kw_only=True)
class Taken:
    """A session, what the plugin read in it, and the sources that could not be read, with why."""

    session: Session
    accounts: Sequence[BrokerAccount]
    readings: Sequence[Reading]
    failed: Mapping[str, str]


@attrs.frozen(kw_only=True)
class Made:
    """A recording, and what stands against writing it: what still looks private, and what is read otherwise."""

    sanitised: Sanitised
    differences: Sequence[str]

    @property
    def recording(self) -> Recording:
        return self.sanitised.recording


async def take_session(
    loaded: LoadedProvider,
    *,
    environment: str,
    settings: Settings,
    fields: Mapping[str, str],
    clock: Clock,
    page: AtThePage | None = None,
    span: timedelta = timedelta(days=20),
    tell: Callable[[str], None] = lambda _: None,
) -> Taken:
    """Log in, list the accounts and read a span of each source, all of it in memory.

    With a `page` the user logs in at the broker's own. A source that fails is left out with its requests. Raises what
    logging in raises, and the last failure when no source could be read.
    """
    tape, manifest, at = Tape(), loaded.manifest, clock.now()
    provider = open_provider(
        loaded,
        environment=environment,
        settings=settings,
        cache=MemoryCache(),
        clock=clock,
        fields=fields,
        tap=tape.take,
    )
    tape.hosts = hosts = _host_map(provider)
    try:
        tell("Logging in ...")
        auth = await _logged_in(provider, loaded, fields, page)
        accounts = await _accounts(provider, auth, clock)
        done, failed = [], {}
        for request in requests(manifest.sources, accounts, at, longest=span):
            tell(f"Reading {request.source} ...")
            before = len(tape.exchanges)
            reading = await _read(provider, auth, request, clock)
            if reading.error is None:
                done.append(reading)
                continue
            del tape.exchanges[before:]
            failed[request.source] = str(reading.error)
            last = reading.error
        if failed and not done:
            raise last
    finally:
        await provider.aclose()
    operator = settings.broker(manifest.key).settings
    given = [*secrets_in(manifest.user_fields, fields), *secrets_in(manifest.operator_fields, operator)]
    session = Session(
        key=manifest.key,
        environment=environment,
        at=at,
        hosts=hosts.roles(),
        exchanges=tuple(tape.exchanges),
        fields=dict(fields),
        operator_fields=dict(operator),
        secrets=_revealed([*given, *secrets_of(auth), *(page.secrets if page else ())]),
        consent=page is not None,
        requests=tuple(reading.request for reading in done),
    )
    return Taken(session=session, accounts=accounts, readings=done, failed=failed)


async def make_recording(taken: Taken, loaded: LoadedProvider, random: Random, factor: int | None = None) -> Made:
    """The recording of a session, read once by the plugin: its readings are those that a replay has to give."""
    manifest = loaded.manifest
    package = (loaded.spec.create or type(loaded)).__module__.partition(".")[0]
    kinds = Kinds(
        harmless=manifest.recording.harmless,
        amounts=manifest.recording.amounts,
        vocabulary=vocabulary_of(files_of(package)),
    )
    for _ in range(_TRIES):
        sanitiser = Sanitiser(taken.session, manifest, kinds, random, factor)
        sanitised = sanitiser.sanitised(f"{loaded.distribution} {loaded.version}".strip())
        if not sanitised.leaks:  # a substitute may be by chance what something else was
            break
    places = _places(taken)
    told, missed = await _first_replay(sanitised.recording, loaded, taken.readings, places)
    found = [*missed, *differences_of(taken.readings, told, sanitised.factor)]
    recording = attrs.evolve(sanitised.recording, readings=tuple(map(recorded, told)))
    leaks = [*sanitised.leaks, *(sanitiser.leaks(recording) if not sanitised.leaks else ())]
    return Made(sanitised=attrs.evolve(sanitised, recording=recording, leaks=leaks), differences=found)


async def replay(recording: Recording, loaded: LoadedProvider) -> tuple[list[Reading], list[str]]:
    """What a plugin reads from a recording, and the requests that it has no answer for."""
    async with _replayed(recording, loaded) as (broker, provider, clock):
        try:
            auth = await _logged_in(provider, loaded, recording.fields, replayed_page() if recording.consent else None)
            asked = broker.requests(await _accounts(provider, auth, clock))
            return [await _read(provider, auth, one, clock) for one in asked], broker.missed
        except BrokerError:
            if broker.missed:
                return [], broker.missed
            raise


async def _logged_in(
    provider: ManagedProvider, loaded: LoadedProvider, fields: Mapping[str, str], page: AtThePage | None
) -> AuthResult:
    if page is not None:
        return await page.log_in(provider, loaded, fields)
    return await provider.authenticate(make_credentials(loaded, fields))


def _shown_trade(trade: BrokerTrade) -> dict[str, Any]:
    return {
        "trade_id": trade.trade_id,
        "symbol": trade.instrument.symbol,
        "side": trade.side.value,
        "quantity": decimal_text(trade.quantity),
        "price": decimal_text(trade.price),
        "executed_at": trade.executed_at.isoformat(),
    }


async def _first_replay(
    recording: Recording, loaded: LoadedProvider, readings: Sequence[Reading], places: Sequence[Sequence[int]]
) -> tuple[list[Reading], list[str]]:
    """The accounts have other ids now: they are known by their places in the list of all."""
    found = await _replayed_accounts(recording, loaded)
    if isinstance(found, list):
        return [], found
    planned = []
    for reading, numbers in zip(readings, places, strict=True):
        window, source = reading.request.window, reading.request.source
        ids = tuple(found[number].account_id for number in numbers if number < len(found))
        planned.append(
            RecordedReading(source=source, accounts=ids, start=window.start, end=window.end, rows=0, quarantined=0)
        )
    return await replay(attrs.evolve(recording, readings=tuple(planned)), loaded)


async def _replayed_accounts(recording: Recording, loaded: LoadedProvider) -> tuple[BrokerAccount, ...] | list[str]:
    async with _replayed(recording, loaded) as (broker, provider, clock):
        try:
            auth = await _logged_in(provider, loaded, recording.fields, replayed_page() if recording.consent else None)
            return await _accounts(provider, auth, clock)
        except BrokerError as error:
            return broker.missed or [f"{LOGIN_FAILS}: {error.message}"]


@asynccontextmanager
async def _replayed(
    recording: Recording, loaded: LoadedProvider
) -> AsyncIterator[tuple[ReplayedBroker, ManagedProvider, VirtualClock]]:
    broker, clock = ReplayedBroker(recording), VirtualClock(recording.at)
    async with serve_sandbox(recording.key, broker) as running:
        provider = open_provider(
            loaded,
            environment=recording.environment,
            settings=_replaying(recording, running.hosts),
            cache=MemoryCache(),
            clock=clock,
        )
        try:
            yield broker, provider, clock
        finally:
            await provider.aclose()


def _replaying(recording: Recording, hosts: Mapping[str, str]) -> Settings:
    mine = BrokerSettings(hosts=hosts, limits=(), settings=recording.operator_fields)
    return Settings(brokers={recording.key: mine})


def _places(taken: Taken) -> list[list[int]]:
    """For each reading the places of its accounts among all."""
    known = [one.account_id for one in taken.accounts]
    return [[known.index(one.account_id) for one in reading.request.accounts] for reading in taken.readings]


def _host_map(provider: ManagedProvider) -> HostMap:
    hosts = provider.context.hosts
    assert isinstance(hosts, HostMap), "open_provider gives its own"
    return hosts


def recorded(reading: Reading) -> RecordedReading:
    """What a recording keeps of a reading."""
    window = reading.request.window
    return RecordedReading(
        source=reading.request.source,
        accounts=tuple(one.account_id for one in reading.request.accounts),
        start=window.start,
        end=window.end,
        rows=len(reading.bookings),
        quarantined=len(reading.quarantined),
        trades=tuple(map(_shown_trade, reading.trades)),
    )


async def _accounts(provider: ManagedProvider, auth: AuthResult, clock: Clock) -> tuple[BrokerAccount, ...]:
    for _ in range(_LONGEST_WAIT):
        try:
            return tuple(await provider.get_accounts(auth))
        except BrokerNotReadyError as error:
            await clock.sleep((error.retry_after or timedelta(seconds=5)).total_seconds())
    return tuple(await provider.get_accounts(auth))


async def _read(provider: ManagedProvider, auth: AuthResult, request: TradeRequest, clock: Clock) -> Reading:
    def wait(until: datetime) -> Awaitable[None]:
        return clock.sleep(max(0.0, (until - clock.now()).total_seconds()))

    return await read(lambda asked: provider.get_trades(auth, asked), request, wait=wait)


def _revealed(values: Sequence[Secret | str | None]) -> tuple[str, ...]:
    shown = (value.reveal() if isinstance(value, Secret) else value for value in values)
    return tuple(value for value in shown if value)
