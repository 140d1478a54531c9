from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from brokersync.cli.exits import Exit
from brokersync.store.schema import SCHEMA_VERSION
from brokersync.testing.postgres_server import ScratchPostgres

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "postgres.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def server(own_postgres: Any) -> Iterator[ScratchPostgres]:
    with own_postgres() as running:
        yield running


@pytest.fixture
def database(server: ScratchPostgres) -> Iterator[str]:
    """An empty database with a role that may make no tables."""
    name = f"made_{secrets.token_hex(4)}"
    psql(server, f"CREATE DATABASE {name}", f"CREATE ROLE worker_{name} LOGIN")
    yield name
    psql(server, f"DROP DATABASE {name} WITH (FORCE)", f"DROP ROLE worker_{name}")


def psql(server: ScratchPostgres, *statements: str, name: str = "postgres") -> str:
    commands = [word for one in statements for word in ("-c", one)]
    return server.run("psql", "-At", "-v", "ON_ERROR_STOP=1", url(server, name), *commands)


def url(server: ScratchPostgres, name: str, role: str = "postgres") -> str:
    return f"postgresql://{role}@/{name}?host={server.folder}"


def test_a_role_without_rights_is_sent_to_migrate_which_helps(
    brokersync: Callable[..., Any], server: ScratchPostgres, database: str
) -> None:
    worker = f"worker_{database}"
    refused = brokersync("status", "--store", url(server, database, worker))
    assert refused.code == Exit.STORE
    assert "brokersync migrate" in refused.err
    done = brokersync("migrate", "--store", url(server, database), "--role", worker, "--json")
    assert (done.code, done.document) == (Exit.DONE, {"layout": SCHEMA_VERSION, "role": worker})
    assert brokersync("status", "--store", url(server, database, worker)).code == Exit.DONE
    again = brokersync("migrate", "--store", url(server, database))
    assert (again.code, again.out) == (Exit.DONE, "")
    assert f"layout {SCHEMA_VERSION}" in again.err


def test_the_printed_sql_does_the_same_in_the_hands_of_somebody_else(
    brokersync: Callable[..., Any], server: ScratchPostgres, database: str
) -> None:
    worker = f"worker_{database}"
    nowhere = "postgresql://nobody:hidden@127.0.0.1:1/x?schema=journal"
    printed = brokersync("migrate", "--store", nowhere, "--sql", "--role", worker)
    assert printed.code == Exit.DONE
    assert "hidden" not in printed.out + printed.err
    for _ in range(2):
        psql(server, printed.out, name=database)
    place = url(server, database, worker) + "&schema=journal"
    assert brokersync("status", "--store", place).code == Exit.DONE


def test_a_file_is_migrated_as_it_is_opened_and_has_no_roles(brokersync: Callable[..., Any], tmp_path: Path) -> None:
    done = brokersync("migrate", "--json")
    assert done.document == {"layout": SCHEMA_VERSION, "role": None}
    for option in (("--sql",), ("--role", "worker")):
        refused = brokersync("migrate", *option)
        assert refused.code == Exit.CONFIG
        assert "postgresql://" in refused.err


def test_the_urls_password_is_shown_nowhere(brokersync: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKERSYNC_STORE", "postgresql://me:hidden@127.0.0.1:1/journal")
    refused = brokersync("status")
    assert refused.code == Exit.STORE
    assert "journal on 127.0.0.1:1" in refused.err
    assert "hidden" not in refused.err
    assert "hidden" not in brokersync("status", "--json").out


def test_the_guides_code_works_as_written(server: ScratchPostgres, database: str, tmp_path: Path) -> None:
    (tmp_path / "guide.py").write_text(GUIDE.split("```python\n")[1].split("```")[0])
    done = subprocess.run(
        [sys.executable, "guide.py"],
        cwd=tmp_path,
        env={"DATABASE_URL": url(server, database), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 connections\n", "")


def test_printed_sql_of_an_older_release_leaves_a_newer_layout_as_it_is(
    brokersync: Callable[..., Any], server: ScratchPostgres, database: str
) -> None:
    place = url(server, database)
    printed = brokersync("migrate", "--sql", "--store", place).out
    psql(server, printed, "UPDATE brokersync.store_layout SET version = 99, compatible_from = 98", name=database)
    psql(server, printed, name=database)
    kept = psql(server, "SELECT version, compatible_from FROM brokersync.store_layout", name=database)
    assert kept.strip() == "99|98"


def test_rights_that_could_not_be_given_are_not_said_to_be_there(
    brokersync: Callable[..., Any], server: ScratchPostgres, database: str
) -> None:
    worker = f"worker_{database}"
    unknown = brokersync("migrate", "--store", url(server, database), "--role", "nobody_at_all")
    assert unknown.code == Exit.STORE
    assert "nobody_at_all" in unknown.err
    assert "CREATE ROLE" in unknown.err
    assert brokersync("migrate", "--store", url(server, database), "--role", worker).code == Exit.DONE
    psql(server, f"CREATE ROLE other_{database} LOGIN")
    refused = brokersync("migrate", "--store", url(server, database, worker), "--role", f"other_{database}")
    psql(server, f"DROP ROLE other_{database}")
    assert refused.code == Exit.STORE
    assert "may use it" not in refused.err
    assert "owns" in refused.err
