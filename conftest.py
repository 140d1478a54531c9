"""What the whole workspace's tests share: how large the slow suites are, what they did, a store in each database."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings

# a machine under load takes its time for any example: a test that says nothing of time does not fail for it
settings.register_profile("unhurried", settings.default, deadline=None)
settings.load_profile("unhurried")

R = TypeVar("R")

_SIZES = pytest.StashKey[dict[str, str]]()
_NO_POSTGRES = "No Postgres here"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the slow suites in their full size")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SIZES] = {}


@pytest.fixture
def sized(request: pytest.FixtureRequest) -> Callable[[str, int, int], int]:
    """`sized(what, ci, full)` gives the number to run, and has it printed at the end."""

    def choose(what: str, ci: int, full: int) -> int:
        number = full if request.config.getoption("--full") else ci
        request.config.stash[_SIZES][what] = f"{what}: {number} (full size {full})"
        return number

    return choose


@pytest.fixture
def told(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """`told(line)` has a line printed at the end: what a slow suite has really done."""

    def tell(line: str) -> None:
        request.config.stash[_SIZES][line] = line

    return tell


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is slow runs on Postgres in part; what is left out is told at the end.

    Slow suites run first: a worker of xdist is given whole files, and one of those at the end would leave it alone.
    """
    sampled: dict[str, list[pytest.Item]] = {}
    long: list[pytest.Item] = []
    for item in items:
        if getattr(getattr(item, "callspec", None), "params", {}).get("database") != "postgres":
            continue
        if item.get_closest_marker("sampled_on_postgres"):
            sampled.setdefault(item.nodeid.partition("[")[0], []).append(item)
        elif item.get_closest_marker("long_on_postgres"):
            long.append(item)
    left_out: set[pytest.Item] = set()
    if not config.getoption("--full"):
        left_out.update(long)
        for turn, (_, tests) in enumerate(sorted(sampled.items())):
            # another set of parameters each time, so that each is met
            left_out.update(tests[: turn % len(tests)], tests[turn % len(tests) + 1 :])
    for what, tests in (("laws of the contract", [*chain(*sampled.values())]), ("long tests", long)):
        if tests:
            line = f"{what} on Postgres: {len(set(tests) - left_out)} (full size {len(tests)})"
            config.stash[_SIZES][line] = line
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = [item for item in items if item not in left_out]
    slow = {item.path for item in items if _is_slow(item)}
    items.sort(key=lambda item: item.path not in slow)


def _is_slow(item: pytest.Item) -> bool:
    """Whether it tells at the end what it has done; `told` is a parameter of other tests."""
    given = getattr(getattr(item, "callspec", None), "params", {})
    return any(name in getattr(item, "fixturenames", ()) and name not in given for name in ("sized", "told"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    # a worker of xdist prints nothing
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["sizes"] = session.config.stash[_SIZES]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[_SIZES].update(getattr(node, "workeroutput", {}).get("sizes", {}))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Generator[None, None, None]:
    sizes = config.stash[_SIZES]
    if sizes:
        terminalreporter.section("sizes of the slow suites")
        for line in sizes.values():
            terminalreporter.write_line(line)
    yield
    # behind the list of what was skipped, which is long then
    left_out = sum(_NO_POSTGRES in str(one.longrepr) for one in terminalreporter.stats.get("skipped", ()))
    if left_out:
        terminalreporter.section("Postgres was not tested", red=True)
        terminalreporter.write_line(f"{left_out} tests were skipped, since there is no Postgres on this machine.")


@pytest.fixture(scope="session")
def own_postgres() -> Callable[..., AbstractContextManager[Any]]:
    """`scratch_postgres` for what may crash or change a server; where there is none, the test is skipped."""
    from brokersync.testing.postgres_server import NoPostgresError, scratch_postgres

    @contextmanager
    def started(**facts: bool) -> Iterator[Any]:
        try:
            with scratch_postgres(**facts) as running:
                yield running
        except NoPostgresError as error:
            pytest.skip(f"{_NO_POSTGRES}: {error}")

    return started


@pytest.fixture(scope="session")
def own_redis() -> Callable[..., AbstractContextManager[Any]]:
    """`scratch_redis`; where there is none, the test is skipped."""
    from brokersync.testing.redis_server import NoRedisError, scratch_redis

    @contextmanager
    def started(**facts: bool) -> Iterator[Any]:
        try:
            with scratch_redis(**facts) as running:
                yield running
        except NoRedisError as error:
            pytest.skip(f"No Redis here: {error}")

    return started


@pytest.fixture(scope="session")
def redis_url(own_redis: Callable[..., AbstractContextManager[Any]]) -> Iterator[str]:
    """`REDIS_URL`, else a server of our own; no key is deleted but by its own time, since it may be anybody's."""
    if (given := os.environ.get("REDIS_URL")) is not None:
        yield given
        return
    with own_redis() as running:
        yield running.url


@pytest.fixture(scope="session")
def own_cluster() -> Callable[..., AbstractContextManager[Any]]:
    """`scratch_cluster`; where there is no Redis, the test is skipped."""
    from brokersync.testing.redis_cluster import scratch_cluster
    from brokersync.testing.redis_server import NoRedisError

    @contextmanager
    def started() -> Iterator[Any]:
        try:
            with scratch_cluster() as running:
                yield running
        except NoRedisError as error:
            pytest.skip(f"No Redis here: {error}")

    return started


@pytest.fixture(scope="session")
def cluster_url(own_cluster: Callable[..., AbstractContextManager[Any]]) -> Iterator[str]:
    """A cluster that runs as long as the tests."""
    with own_cluster() as running:
        yield running.url


@pytest.fixture(scope="session")
def postgres_url(own_postgres: Callable[..., AbstractContextManager[Any]]) -> Iterator[str]:
    """The URL of a server that may hold schemas of ours: `DATABASE_URL`, else one that runs as long as the tests."""
    if given := os.environ.get("DATABASE_URL"):
        yield given
        return
    with own_postgres() as running:
        yield running.url


class Schemas:
    """Schemas of one server, each of one test at a time; to empty one takes a tenth of the time to make it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._name, self._made = f"test_{secrets.token_hex(6)}", 0
        self._spare: list[str] = []

    def take(self) -> str:
        if self._spare:
            return self._spare.pop()
        self._made += 1
        return f"{self._name}_{self._made}"

    def place(self, schema: str) -> str:
        return f"{self.url}{'&' if '?' in self.url else '?'}schema={schema}"

    async def content(self, schema: str) -> bytes:
        (found,) = await self._do(_values, [schema])
        return found

    async def give_back(self, schemas: list[str]) -> None:
        await self._do(_empty, schemas)
        self._spare += schemas

    async def drop(self) -> None:
        """The server may be somebody's own."""
        await self._do(_drop, [f"{self._name}_{number}" for number in range(1, self._made + 1)])

    async def _do(self, work: Callable[[Any, str], Awaitable[R]], schemas: list[str]) -> list[R]:
        import asyncpg

        db = await asyncpg.connect(self.url)
        try:
            return [await work(db, one) for one in schemas]
        finally:
            await db.close()


_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = $1"
_NUMBERS = "SELECT setval(format('%s.%s', schemaname, sequencename), 1, false) FROM pg_sequences WHERE schemaname = $1"


async def _values(db: Any, schema: str) -> bytes:
    found: list[bytes] = []
    for (table,) in await db.fetch(_TABLES, schema):
        for row in await db.fetch(f"TABLE {schema}.{table}"):
            found += [one if isinstance(one, bytes) else str(one).encode() for one in row]
    return b"|".join(found)


async def _empty(db: Any, schema: str) -> None:
    tables = {table for (table,) in await db.fetch(_TABLES, schema)}
    if not tables:
        return
    clear = [f"DELETE FROM {schema}.{table}" for table in tables - {"store_layout", "feed_head"}]  # noqa: S608  our own
    clear.append(f"UPDATE {schema}.feed_head SET position = 0")  # noqa: S608  our own
    async with db.transaction():
        # a process that was killed may have a commit under way
        await db.execute(f"LOCK TABLE {', '.join(f'{schema}.{table}' for table in tables)}")
        await db.execute("; ".join(clear))
        await db.execute(_NUMBERS, schema)


async def _drop(db: Any, schema: str) -> None:
    await db.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


class Stores:
    """Opens stores in one place: a file, or a schema. `new` is another place."""

    def __init__(self, folder: Path, schemas: Schemas | None) -> None:
        self._folder, self._schemas = folder, schemas
        self._made: list[Any] = []
        self._names: list[str] = []
        self._name = ""

    @property
    def place(self) -> str:
        """What `BrokerSync.open` takes."""
        if not self._name:
            self._name = f"store{len(self._names)}.db" if self._schemas is None else self._schemas.take()
            self._names.append(self._name)
        return str(self._folder / self._name) if self._schemas is None else self._schemas.place(self._name)

    def new(self) -> Stores:
        self._name = ""
        return self

    async def open(self) -> Any:
        """Another store at the place, as another process has it."""
        from brokersync.store.place import store_at

        made, _ = store_at(self.place)
        self._made.append(made)
        await made.open()
        return made

    async def content(self) -> bytes:
        """All that stands at the place: the bytes of the files, or the values of the rows."""
        if self._schemas is None:
            return b"".join(one.read_bytes() for one in sorted(self._folder.glob(f"{self._name}*")))
        return await self._schemas.content(self._name)

    async def close(self) -> None:
        for store in self._made:
            await store.close()
        if self._schemas is not None:
            await self._schemas.give_back(self._names)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that another process writes to is called busy at once, and not after 30 seconds."""
    for module in ("sqlite_run", "sqlite_schema"):
        monkeypatch.setattr(f"brokersync.store.{module}.PATIENCE", timedelta(milliseconds=50))


@pytest.fixture(scope="session")
def schemas(postgres_url: str) -> Iterator[Schemas]:
    made = Schemas(postgres_url)
    yield made
    asyncio.run(made.drop())


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Schemas | None:
    """Each of the databases in turn: `None` for files, or where schemas are had."""
    return request.getfixturevalue("schemas") if request.param == "postgres" else None


@pytest.fixture(scope="session")
def stores_in() -> type[Stores]:
    """`stores_in(folder, database)`, for what makes its own."""
    return Stores


@pytest.fixture
async def stores(database: Schemas | None, tmp_path: Path) -> AsyncIterator[Stores]:
    """What opens stores, once for each database."""
    made = Stores(tmp_path, database)
    yield made
    await made.close()


@pytest.fixture
async def store(stores: Stores) -> Any:
    """An open, empty store, once in each database."""
    return await stores.open()
