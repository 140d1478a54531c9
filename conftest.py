"""What the whole workspace's tests share: how large the slow suites are, what they did, a store in each database."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_SIZES = pytest.StashKey[dict[str, str]]()


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


def pytest_sessionfinish(session: pytest.Session) -> None:
    # a worker of xdist prints nothing
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["sizes"] = session.config.stash[_SIZES]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[_SIZES].update(getattr(node, "workeroutput", {}).get("sizes", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    sizes = config.stash[_SIZES]
    if sizes:
        terminalreporter.section("sizes of the slow suites")
        for line in sizes.values():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a server that may hold schemas of ours: `DATABASE_URL`, else one that runs as long as the tests."""
    from brokersync.testing.postgres_server import NoPostgresError, scratch_postgres

    if given := os.environ.get("DATABASE_URL"):
        yield given
        return
    try:
        server = scratch_postgres()
        with server as running:
            yield running.url
    except NoPostgresError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


class Stores:
    """Opens stores in one place: a file, or a schema. `new` is another place."""

    def __init__(self, folder: Path, url: str | None) -> None:
        self._folder, self._url = folder, url
        self._name = f"test_{secrets.token_hex(6)}"
        self._number = 0
        self._made: list[Any] = []

    @property
    def place(self) -> str:
        """What `BrokerSync.open` takes."""
        name = f"{self._name}_{self._number}"
        if self._url is None:
            return str(self._folder / f"{name}.db")
        return f"{self._url}{'&' if '?' in self._url else '?'}schema={name}"

    def new(self) -> Stores:
        self._number += 1
        return self

    async def open(self) -> Any:
        """Another store at the place, as another process has it."""
        from brokersync.store import PostgresStore, SqliteStore

        made = SqliteStore(Path(self.place)) if self._url is None else PostgresStore(self.place)
        self._made.append(made)
        await made.open()
        return made

    async def close(self) -> None:
        for store in self._made:
            await store.close()
        if self._url is not None:
            await drop_schemas(self._url, self._name)


async def drop_schemas(url: str, beginning: str) -> None:
    """Every schema of a test, of a server that may be somebody's own."""
    import asyncpg

    db = await asyncpg.connect(url)
    for row in await db.fetch("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, $1)", beginning):
        await db.execute(f"DROP SCHEMA {row[0]} CASCADE")
    await db.close()


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str | None:
    """Each of the databases in turn: `None` for files, or the URL of a server."""
    return request.getfixturevalue("postgres_url") if request.param == "postgres" else None


@pytest.fixture(scope="session")
def stores_in() -> type[Stores]:
    """`stores_in(folder, database)`, for what makes its own."""
    return Stores


@pytest.fixture
async def stores(database: str | None, tmp_path: Path) -> AsyncIterator[Stores]:
    """What opens stores, once for each database."""
    made = Stores(tmp_path, database)
    yield made
    await made.close()


@pytest.fixture
async def store(stores: Stores) -> Any:
    """An open, empty store, once in each database."""
    return await stores.open()
