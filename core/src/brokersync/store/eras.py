"""Eras: what is written to an owner's history without a lease, such as a file, ends where any of it is erased.

An era is shared by all who write during it, lasts until the next erasing, and is kept as a row among the leases.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from brokersync.errors import ErasedError
from brokersync.records import Era
from brokersync.store.rows import sortable
from brokersync.store.sql import Fetch, Put, Script, execute, fetch_one

_COLUMNS = ("name", "owner", "holder", "fence", "expires_at")
# no file takes so long; what nobody has begun in since may be pruned
_LASTS: Final = timedelta(days=30)


def begin_in_era(owner: str, provider: str, mark: str, now: datetime, *, known: bool) -> Script[Era]:
    """The era that the owner's history at a broker is in; `mark` names it where it is a new one."""
    name, until = _name(owner, provider), sortable(now + _LASTS)
    yield from _pass_gate(owner, until)
    if known and not (yield Fetch("SELECT 1 FROM accounts WHERE owner = ? AND provider = ?", (owner, provider))):
        raise ErasedError(provider)
    row = None
    while row is None:  # an old one may be pruned between the two
        yield Put("leases", _COLUMNS, [(name, owner, mark, 0, until)], key=("name",))
        row = yield from fetch_one("UPDATE leases SET expires_at = ? WHERE name = ? RETURNING holder", until, name)
    return Era(owner=owner, provider=provider, mark=row[0])


def check_era(era: Era | None) -> Script[None]:
    """Raises `ErasedError` unless the era lasts still, and keeps it until the transaction ends."""
    if era is None:
        return
    row = yield from fetch_one("SELECT holder FROM leases WHERE name = ? {for_share}", _name(era.owner, era.provider))
    if row is None or row[0] != era.mark:
        raise ErasedError(era.provider)


def shut_gate(owner: str) -> Script[None]:
    """No era of the owner begins until the transaction ends, at whatever broker: there is no row yet to be locked."""
    row = None
    while row is None:  # another one who erases may have removed it between the two
        yield Put("leases", _COLUMNS, [(_name(owner), owner, "", 0, "")], key=("name",))
        row = yield from fetch_one("DELETE FROM leases WHERE name = ? RETURNING name", _name(owner))


def end_era(owner: str, provider: str) -> Script[None]:
    """Once the gate is shut."""
    yield from execute("DELETE FROM leases WHERE name = ?", _name(owner, provider))


def _pass_gate(owner: str, until: str) -> Script[None]:
    row = None
    while row is None:
        yield Put("leases", _COLUMNS, [(_name(owner), owner, "", 0, until)], key=("name",))
        row = yield from fetch_one("SELECT name FROM leases WHERE name = ? {for_share}", _name(owner))


def _name(owner: str, provider: str = "") -> str:
    return f"era|{provider}|{owner}"
