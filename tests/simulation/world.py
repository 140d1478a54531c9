"""One seed's course of events: users connect, workers sync and crash and race, and in the end all is put in order."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Final

import attrs

from brokersync import BrokerSync, Settings
from brokersync.config import KeepSettings
from brokersync.errors import BrokerAuthError, BrokerRetryableError
from brokersync.events import Event, HistoryLost, SyncDeferred, SyncFailed, SyncFinished, SyncStarted
from brokersync.manifest import Retention
from brokersync.masterkeys import MasterKeys
from brokersync.records import Connection, Deferred, Done
from brokersync.registry import ProviderRegistry
from brokersync.sync.days import day_floor, next_day
from brokersync.types import TimeWindow

from .books import Books, Seen
from .broker import Broker
from .follower import Follower
from .invariants import SKEW, Violation, check, check_deadline, check_ledger, check_report
from .logins import BY_THE_USER
from .loop import Process, ProcessClock, VirtualLoop
from .losses import Losses
from .plugin import READING, ModelPlugin, Reading
from .shape import DAY, HOUR, KEY, SINCE, START, Shape, Weather
from .store import Database, WatchedStore

_KEYS: Final = MasterKeys(bytes(32))
_NOT_SHOWN: Final = ("provider", "url", "duration", "report")
_LASTS: Final = timedelta(days=2)
# the second probe is two minutes after the first, or a fifth less by chance
_BETWEEN_PROBES: Final = timedelta(seconds=90)


@attrs.define(eq=False)
class Login:
    """A user's login at the broker, and the connection that was made of it."""

    identity: str
    environment: str
    accounts: tuple[str, ...]
    connection_id: str | None = None
    connected_at: datetime | None = None
    screen: Process | None = None
    readings: list[Reading] = attrs.field(factory=list)
    kept: set[tuple[str, Seen]] = attrs.field(factory=set)

    @property
    def owner(self) -> str:
        return self.identity.partition("-")[0]


@attrs.define(eq=False)
class Worker:
    """What a process does, and when it is over: because it is done, or because it crashed."""

    task: asyncio.Task[None]
    over: asyncio.Event


@attrs.frozen
class Line:
    """One line of the trace. It is put into words only when somebody reads it, which few seeds are worth."""

    at: datetime
    process: str
    what: str | Event

    def __str__(self) -> str:
        what = self.what if isinstance(self.what, str) else _in_words(self.what)
        return f"{self.at:%d %H:%M:%S.%f} {self.process:<3} {what}"


def _in_words(event: Event) -> str:
    facts = attrs.asdict(event, recurse=False)
    shown = (f"{name}={value}" for name, value in facts.items() if name not in _NOT_SHOWN)
    return f"{type(event).__name__} {' '.join(shown)}"


class World:
    """Everything of one seed; `run` is its whole life."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        self.seed, self.chance, self.database = seed, chance, Database()
        self.shape = Shape.draw(chance)
        self.ends = START + _LASTS
        self.weather = Weather.draw(chance)
        self._settings = _settings(self.weather)
        self.loop = VirtualLoop(random.Random(chance.random()), START)
        self.manifest = self.shape.manifest()
        self.logins, self.opened = _cast(self.shape, chance)
        self.accounts = {(login.identity, login.environment): login.accounts for login in self.logins}
        self.books = Books(self.shape, self.opened, self.ends, chance)
        self.told: list[Line] = []
        self.broker = Broker(
            self.shape, self.weather, self.books, self.accounts, self.opened, self.loop, chance, self.tell, self._stop
        )
        self.followers = [Follower(owner) for owner in sorted({login.owner for login in self.logins})]
        self.registry = ProviderRegistry()
        self.registry.register(ModelPlugin(self.broker), self.manifest)
        self._crashes = self.weather.crashes
        self._number = self._stops = 0
        self.trespasses: list[str] = []
        self.undone_proofs: list[str] = []
        self.processes: list[Process] = []
        self.crowds: list[str] = []
        self._probed_at: dict[str, datetime] = {}
        self.losses = Losses()
        self.finals: dict[tuple[str, ...], list[TimeWindow]] = {}
        self.opened_again: defaultdict[tuple[str, ...], list[TimeWindow]] = defaultdict(list)
        self._running: dict[str, tuple[Process, datetime]] = {}
        self._workers: dict[str, Process] = {}

    def tell(self, what: str | Event) -> None:
        process = Process.current()
        self.told.append(Line(self.loop.now(), process.name if process else "-", what))

    # the course of events

    async def run(self) -> None:
        """Trouble first, then calm; then everything is brought to its end and looked at."""
        disturbances = self.loop.spawn(None, self._disturb())
        async with asyncio.TaskGroup() as workers:
            for number in range(self.weather.workers):
                workers.create_task(self._keep_alive(f"w{number}"))
        disturbances.cancel()
        await self._recover()

    async def _keep_alive(self, name: str) -> None:
        """Start a worker again and again, as whoever runs processes does."""
        while self.loop.now() < self.ends:
            worker = self._start(name)
            await worker.over.wait()
            if worker.task.done():
                worker.task.result()
            await asyncio.sleep(self.chance.random() * 3 * 3600)

    def _start(self, name: str) -> Worker:
        self._number += 1
        over = asyncio.Event()
        process = Process(f"{name}.{self._number}", lambda: self._crashed(process, over))
        process.skew = timedelta(seconds=self.chance.uniform(-2, 2))
        bs = self._open(process)
        self._workers[name] = process
        self.processes.append(process)
        if self._crashes > 0:
            self._crashes -= 1
            process.light_fuse(self.chance.randrange(self.chance.choice((100, 400, 1200))))
        elif self.weather.deadly == 0:
            process.spare()
        self.tell(f"{process.name} starts")
        task = self.loop.spawn(process, self._work(bs))
        task.add_done_callback(lambda _: over.set())
        return Worker(task, over)

    def _open(self, process: Process) -> BrokerSync:
        return BrokerSync(
            store=WatchedStore(
                self.database,
                on_trespass=self.trespasses.append,
                on_undone=self.undone_proofs.append,
                on_opened=lambda account, windows: self.opened_again[account].extend(windows),
            ),
            registry=self.registry,
            keys=_KEYS,
            settings=self._settings,
            clock=ProcessClock(self.loop, process),
            events=self._hear,
        )

    def _crashed(self, process: Process, over: asyncio.Event) -> None:
        self.tell(f"{process.name} crashes")
        self.losses.may_be_untold = True
        self.loop.call_soon(over.set, context=self.loop.context_of(None))

    def _hear(self, event: Event) -> None:
        self.tell(event)
        if isinstance(event, HistoryLost):
            self.losses.hear(event, self._owner_of(event.connection_id))
        if isinstance(event, SyncStarted):
            self._begins(event.connection_id)
            self._probes(event.connection_id)
        elif isinstance(event, SyncFinished | SyncDeferred | SyncFailed):
            self._ends(event.connection_id)

    def _owner_of(self, connection_id: str | None) -> str:
        return next(login.owner for login in self.logins if login.connection_id == connection_id)

    def _begins(self, connection_id: str) -> None:
        """A run begins; another may be under way only in a process that was thought to be dead.

        And one that stood still after it had taken the lease may begin with what another has taken over since.
        """
        process, now = Process.current(), self.loop.now()
        assert process is not None
        other, since = self._running.get(connection_id, (process, now))
        stood_still = other.stopped_since(since) or process.stopped_since(since)
        if other is not process and other.alive and not stood_still:
            self.trespasses.append(f"{process.name} and {other.name} both sync {connection_id}")
        self._running[connection_id] = process, now

    def _probes(self, connection_id: str) -> None:
        """While the broker is away one connection asks now and then; whoever stood still may come late with it."""
        (environment,) = {login.environment for login in self.logins if login.connection_id == connection_id}
        process, now, incident = Process.current(), self.loop.now(), self.database.incident(environment)
        assert process is not None
        if incident is None or incident.opened_at > now - SKEW or process.stopped_since(incident.opened_at):
            return
        before = self._probed_at.get(environment, incident.opened_at)
        if before > incident.opened_at and now - before < _BETWEEN_PROBES:
            self.crowds.append(f"{connection_id} at {now:%d %H:%M:%S}, and another one since {before:%d %H:%M:%S}")
        self._probed_at[environment] = now

    def _ends(self, connection_id: str) -> None:
        running = self._running.get(connection_id)
        if running is not None and running[0] is Process.current():
            del self._running[connection_id]

    async def _work(self, bs: BrokerSync) -> None:
        async with bs:
            await check_ledger(self, bs)
            async with asyncio.TaskGroup() as group:
                for login in self.logins:
                    group.create_task(self._serve(bs, login))
                for follower in self.followers:
                    group.create_task(self._follow(bs, follower))
                if self.weather.keeps:
                    group.create_task(self._clean_up(bs))
        self.tell("ends")

    async def _follow(self, bs: BrokerSync, follower: Follower) -> None:
        while self.loop.now() < self.ends:
            await asyncio.sleep(self.chance.uniform(4, 20) * 3600)
            await follower.look(bs)

    async def _clean_up(self, bs: BrokerSync) -> None:
        while self.loop.now() < self.ends:
            await asyncio.sleep(self.chance.uniform(1, 12) * 3600)
            pruned = await bs.prune()
            self.tell(f"pruned {pruned.feed} changes and {pruned.raw} raw rows")

    async def _serve(self, bs: BrokerSync, login: Login) -> None:
        """One connection as a backend serves it: connect, run, wait for as long as it is told, run again."""
        await asyncio.sleep(self._to_the_hour(self.chance.random() * 6 * 3600))
        while self.loop.now() < self.ends:
            wait = await self._turn(bs, login)
            await asyncio.sleep(wait)

    async def _turn(self, bs: BrokerSync, login: Login) -> float:
        """One run, or one login; how many seconds to wait after it."""
        began = self.loop.now()
        try:
            if login.connection_id is None:
                await self._log_in(bs, login)
                return self.chance.uniform(1, 600)
            outcome = await self.sync(bs, login)
        except BrokerAuthError as error:
            self.check_revoked(login, str(error), began)
            await asyncio.sleep(self.chance.uniform(60, 4 * 3600))
            if login.identity in self.broker.logins.revoked:
                await self._log_in(bs, login)
            return self.chance.uniform(60, 3600)
        except BrokerRetryableError as error:
            self.tell(f"{login.identity}: {error}")
            return self.chance.uniform(60, 4 * 3600) + (error.retry_after or timedelta(0)).total_seconds()
        if isinstance(outcome, Deferred):
            wait = (outcome.until - self.loop.now()).total_seconds()
            return max(wait, 0) + self.chance.uniform(5, self.chance.choice((60, 60, 3 * 3600)))
        # as many runs in all, however many share them
        return self._to_the_hour(
            self.chance.uniform(5, 12) * 3600 * max(self.weather.workers * len(self.logins) / 2, 1)
        )

    def _to_the_hour(self, seconds: float) -> float:
        """So long, or until all the others begin, too, where all are started by the clock.

        They are, among other times, as a day rolls and as it is settled.
        """
        if not self.weather.by_the_clock:
            return seconds
        now, calendar = self.loop.now(), self.shape.calendar
        wanted = now + timedelta(seconds=seconds)
        midnight = day_floor(wanted, calendar)
        hours = [midnight + hour * HOUR for hour in range(6, 24, 6)]
        hours += [midnight + self.shape.lag % DAY, next_day(wanted, calendar)]
        return (min(hour for hour in hours if hour > wanted) - now).total_seconds()

    async def connect(self, bs: BrokerSync, login: Login) -> Connection:
        """What a user does at the screen, with what the broker wants of them now."""
        fields = {"user": login.identity, "password": self.broker.logins.password(login.identity)}
        token = BY_THE_USER.set(True)
        try:
            connection = await bs.connect(
                KEY, owner=login.owner, fields=fields, environment=login.environment, since=SINCE
            )
        finally:
            BY_THE_USER.reset(token)
            self.broker.logins.settle(login.identity, Process.current())
        if login.connection_id not in (None, connection.connection_id):
            raise Violation("logging in again keeps the connection", f"{login.identity} has another one")
        login.connection_id, login.connected_at = connection.connection_id, connection.created_at
        self.broker.logins.restore(login.identity)
        return connection

    async def _log_in(self, bs: BrokerSync, login: Login) -> None:
        """As `connect`, by a user who sits at one screen at a time, and tries again another time when it fails."""
        if login.screen is not None and login.screen.alive:
            return
        login.screen = Process.current()
        try:
            await self.connect(bs, login)
        except (BrokerAuthError, BrokerRetryableError) as error:
            self.tell(f"{login.identity} can not log in: {error}")
        finally:
            login.screen = None

    def check_revoked(self, login: Login, why: str, since: datetime) -> None:
        """A login needs its user only where the broker has ended it; a run may learn so late."""
        logins = self.broker.logins
        if login.identity not in logins.revoked and logins.restored.get(login.identity, START) < since:
            raise Violation("no login dies by our own hand", f"{login.identity} needs its user: {why}")

    async def sync(self, bs: BrokerSync, login: Login) -> Done | Deferred:
        assert login.connection_id is not None
        self._maybe_brake()
        reading = Reading()
        login.readings.append(reading)
        token = READING.set(reading)
        try:
            outcome = await bs.run(login.connection_id)
        finally:
            READING.reset(token)
        check_report(outcome.report, given=reading.count, whole=isinstance(outcome, Done))
        if isinstance(outcome, Done):
            login.kept |= reading.rows
            await self._check_deadline(bs, login.connection_id)
        return outcome

    async def _check_deadline(self, bs: BrokerSync, connection_id: str) -> None:
        """What lives for a session only is read again before it ends."""
        if all(source.retention is not Retention.SESSION for source in self.manifest.sources):
            return
        done = self.loop.now()
        connection = await bs.connection(connection_id)
        check_deadline(connection, next_day(done + SKEW, self.shape.calendar), done, self._settings.perishable_margin)

    async def _disturb(self) -> None:
        """What happens to machines and logins from outside."""
        weather = self.weather
        plan = [self._leap] * weather.leaps + [self._revoke] * weather.revocations
        plan += [self.broker.collapse] * weather.collapses
        moments = sorted(self.chance.random() * _LASTS.total_seconds() for _ in plan)
        self.chance.shuffle(plan)
        for moment, act in zip(moments, plan, strict=True):
            wait = (START + timedelta(seconds=moment) - self.loop.now()).total_seconds()
            await asyncio.sleep(max(wait, 0))
            act()

    def _leap(self) -> None:
        by = timedelta(seconds=self.chance.choice((40, 1800, 5 * 3600)))
        self.tell(f"the machine sleeps for {by}")
        self.loop.leap(by)
        for worker in self._workers.values():
            worker.stop(self.loop.time(), self.loop.now())
            worker.skew = timedelta(seconds=self.chance.uniform(-2, 2))

    def _revoke(self) -> None:
        login = self.chance.choice(self.logins)
        self.tell(f"the broker ends all sessions of {login.identity}")
        self.broker.logins.revoke(login.identity)

    def _maybe_brake(self) -> None:
        """Let the process stand still at any step of the run that begins."""
        process = Process.current()
        if process is not None and not self.broker.calm and self.weather.stops and self.chance.random() < 0.3:
            steps, seconds = self.chance.randrange(60), self.chance.choice((2, 20, 300))
            self.tell(f"{process.name} will stand still for {seconds} seconds, {steps} steps from now")
            process.light_brake(steps, seconds)

    def _stop(self, process: Process) -> None:
        if process.alive and self.weather.stops > self._stops:
            self._stops += 1
            seconds = self.chance.choice((20, 300, 4000))
            self.tell(f"{process.name} stands still for {seconds} seconds")
            self.loop.stop_process(process, seconds)

    async def _recover(self) -> None:
        """The faults end: a last process runs everything until it is done, and what it leaves is looked at."""
        self.broker.calm = True
        # far from the moments at which a day rolls or is settled, so that none passes while it is looked at
        settled = next_day(max(self.books.complete_at, self.ends) + self.shape.lag, self.shape.calendar) + 10 * HOUR
        settled = max(settled, next_day(self.loop.now(), self.shape.calendar) + 10 * HOUR)
        await asyncio.sleep(max((settled - self.loop.now()).total_seconds(), 0))
        process = Process("end")
        process.spare()
        await self.loop.spawn(process, self._finish(self._open(process)))

    async def _finish(self, bs: BrokerSync) -> None:
        async with bs:
            for login in self.logins:
                before = await self._begun_and_known(bs, login)
                await self._settle(bs, login)
                # that run may have finished what was begun long ago, or met accounts that it had not planned for
                if before != await self._begun_and_known(bs, login):
                    await self._settle(bs, login)
            for follower in self.followers:
                await follower.look(bs)
            await check(self, bs)

    async def _begun_and_known(self, bs: BrokerSync, login: Login) -> object:
        if login.connection_id is None:
            return None
        return await bs._store.open_requests(login.connection_id), await bs.accounts(login.connection_id)

    async def _settle(self, bs: BrokerSync, login: Login) -> None:
        for _ in range(40):
            try:
                if login.connection_id is None:
                    await self.connect(bs, login)
                outcome = await self.sync(bs, login)
            except BrokerAuthError as error:
                self.check_revoked(login, str(error), self.loop.now())
                await self.connect(bs, login)
                continue
            if isinstance(outcome, Done):
                if outcome.report.problems:
                    raise Violation("a calm broker is read to the end", f"{outcome.report.problems}")
                return
            await asyncio.sleep(max((outcome.until - self.loop.now()).total_seconds(), 0) + 1)
        raise Violation("everything comes to its end", f"{login.identity} is put off again and again")


def _settings(weather: Weather) -> Settings:
    keeps = weather.keeps
    return Settings(keep=KeepSettings(raw=keeps, logs=keeps, feed=keeps)) if keeps else Settings()


def _cast(shape: Shape, chance: random.Random) -> tuple[list[Login], dict[str, datetime]]:
    """Who logs in and which accounts they see; some are seen by two, some are opened later."""
    logins = [Login("alice-1", "live", ("A", "S"))]
    if shape.one_login:
        logins.append(Login("alice-1", "demo", ("D",)))
    if chance.random() < 0.5:
        logins.append(Login("alice-2", "live", ("S", "Bo")))
    if chance.random() < 0.3:
        logins.append(Login("bob-1", "live", ("S",)))
    opened = {name: START - 4 * DAY for login in logins for name in login.accounts}
    if chance.random() < 0.3:
        opened["S"] = START + timedelta(hours=chance.randrange(40))
    return logins, opened
