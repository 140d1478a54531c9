"""`brokersync migrate`: the tables of the store, made or brought up to date, or printed as SQL."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from brokersync.cli.common import Common, finish, note, print_json
from brokersync.cli.exits import Exit
from brokersync.errors import BrokerConfigError

if TYPE_CHECKING:
    from brokersync.store import PostgresStore, Store


def migrate(
    *,
    sql: Annotated[bool, Parameter(help="Print the SQL for a store in Postgres and run nothing.", negative="")] = False,
    role: Annotated[str | None, Parameter(help="A role of Postgres that is given the rights to use the store.")] = None,
    common: Common = Common(),
) -> int:
    """Make the store's tables, or bring those of an older release up to date.

    A store is opened so by every command that may. A role in Postgres without the right to make tables needs this once
    for each release that changes them.
    """
    return finish(_migrate(common, sql=sql, role=role), common)


async def _migrate(common: Common, *, sql: bool, role: str | None) -> int:
    from brokersync.store.place import store_at

    store, _ = store_at(common.place(common.settings()))
    if sql:
        _print_sql(_in_postgres(store, "--sql"), role, common)
        return Exit.DONE
    postgres = _in_postgres(store, "--role") if role is not None else None
    await store.open()
    try:
        if postgres is not None and role is not None:
            await postgres.grant_rights(role)
        layout = await store.layout()
    finally:
        await store.close()
    if common.json:
        print_json({"layout": layout, "role": role})
    else:
        note(f"The store is up to date (layout {layout}).")
        if role is not None:
            note(f"The role {role} may use it.")
    return Exit.DONE


def _print_sql(store: PostgresStore, role: str | None, common: Common) -> None:
    from brokersync.store.postgres_schema import layout_sql

    text = layout_sql(store.schema, role)
    if common.json:
        print_json({"sql": text})
    else:
        sys.stdout.write(text)


def _in_postgres(store: Store, option: str) -> PostgresStore:
    from brokersync.store import PostgresStore

    if not isinstance(store, PostgresStore):
        raise BrokerConfigError(
            f"{option} is for a store in Postgres.",
            remedy="Name one: --store postgresql://user@host/database; a file needs nothing but `brokersync migrate`.",
        )
    return store
