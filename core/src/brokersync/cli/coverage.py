"""`brokersync coverage`: which history is complete, which is not, and why."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import attrs
from cyclopts import Parameter

from brokersync.cli.common import Owned, check_accounts, finish, note, print_json
from brokersync.cli.exits import Exit
from brokersync.errors import BrokerConfigError

if TYPE_CHECKING:
    from brokersync.manifest import Manifest
    from brokersync.records import FailedWindow
    from brokersync.service import BrokerSync
    from brokersync.sync.history import SourceHistory, Stretch
    from brokersync.types import BrokerAccount


@attrs.frozen(kw_only=True)
class AccountHistory:
    """One account and what each of its sources knows.

    History begins with the first that is known, or earlier where it is known that it `begins` before. Of an account
    that no connection reads something can be known `until` then; of others, as far as its sources are asked. `failing`
    are the windows of each source that could not be read. `trades` counts all that are there, from files too.
    """

    environment: str
    account_id: str
    manifest: Manifest
    trades: int
    sources: tuple[SourceHistory, ...]
    failing: Mapping[str, tuple[FailedWindow, ...]]
    connected: bool
    begins: datetime | None
    until: datetime | None

    @property
    def name(self) -> str:
        return f"{self.manifest.key} {self.environment} {self.account_id}"

    def stretches(self) -> tuple[Stretch, ...]:
        """The best that is known of each stretch, and what nobody has read."""
        from brokersync.sync.history import with_holes

        return with_holes(self.sources, begins=self.begins, until=self.until)

    def stretches_of(self, source: SourceHistory) -> tuple[Stretch, ...]:
        """The same by one of its sources, from the first that this one knows."""
        from brokersync.sync.history import with_holes

        return with_holes([source], until=self.until)


def coverage(
    *,
    account: Annotated[tuple[str, ...], Parameter(help="Only this account.", negative="")] = (),
    by_source: Annotated[bool, Parameter(help="A bar for each source, too.", negative="")] = False,
    common: Owned = Owned(),
) -> int:
    """Show for each account which history is complete, which is not, and what to do about it."""
    return finish(_coverage(account, by_source, common), common)


async def _coverage(wanted: Sequence[str], by_source: bool, common: Owned) -> int:
    from brokersync.clock import SystemClock

    now = SystemClock().now()
    async with common.open() as bs:
        found = await _histories(bs, common.owner, wanted, now)
    if common.json:
        from brokersync.cli.coverage_json import document

        print_json({"owner": common.owner, "accounts": [document(one) for one in found]})
    elif found:
        from brokersync.cli.coverage_text import show

        show(found, now, sync_every=common.settings().sync_every, by_source=by_source)
    else:
        sys.stdout.write("Nothing yet. Connect a broker with: brokersync connect BROKER\n")
    return Exit.DONE


async def _histories(bs: BrokerSync, owner: str, wanted: Sequence[str], now: datetime) -> list[AccountHistory]:
    accounts = await bs.counts(owner)
    check_accounts(owner, wanted, accounts)
    connected = await _connected(bs, owner)
    found = []
    for one in accounts:
        if wanted and one["account_id"] not in wanted:
            continue
        try:
            manifest = bs.registry.manifest(one["provider"])
        except BrokerConfigError as error:
            note(f"{one['provider']} {one['account_id']}: {error.message} {error.remedy}")
            continue
        found.append(await _history(bs, owner, manifest, one, connected, now))
    return found


@attrs.frozen(kw_only=True)
class _Reader:
    """What reads an account: since when, which of its sources, and what of them keeps failing.

    `sources` are all where that is not known.
    """

    account: BrokerAccount
    since: datetime | None
    made_at: datetime
    sources: frozenset[str] | None
    failing: Mapping[str, tuple[FailedWindow, ...]]

    def beside(self, other: _Reader) -> _Reader:
        """Both of two: the one that reads furthest back counts, and every source that one of them reads."""
        names = {*self.failing, *other.failing}
        return attrs.evolve(
            self,
            since=None if self.since is None or other.since is None else min(self.since, other.since),
            made_at=min(self.made_at, other.made_at),
            sources=None if self.sources is None or other.sources is None else self.sources | other.sources,
            failing={name: self.failing.get(name) or other.failing.get(name, ()) for name in names},
        )


_Connected = Mapping[tuple[str, str, str], _Reader]


async def _connected(bs: BrokerSync, owner: str) -> _Connected:
    """The accounts that a connection reads, and what reads them."""
    found: dict[tuple[str, str, str], _Reader] = {}
    for one in await bs.outlook(owner):
        connection = one.connection
        for account in await bs.accounts(connection.connection_id, owner):
            key = (connection.provider, account.environment, account.account_id)
            its_own = [told for told in one.sources if told.account == account]
            reader = _Reader(
                account=account,
                since=connection.since,
                made_at=connection.created_at,
                sources=frozenset(source.source for source in one.sources) or None,
                failing={told.source: told.failing_windows for told in its_own},
            )
            found[key] = found[key].beside(reader) if key in found else reader
    return found


async def _history(
    bs: BrokerSync, owner: str, manifest: Manifest, one: Mapping[str, Any], connected: _Connected, now: datetime
) -> AccountHistory:
    from brokersync.sync.history import readable_until, source_histories

    key = (one["environment"], one["account_id"])
    spans = {
        source.name: (await bs.coverage(owner, manifest.key, source.name)).get(key, ()) for source in manifest.sources
    }
    reader = connected.get((manifest.key, *key))
    account, since = (reader.account, reader.since) if reader else (None, None)
    begins = [moment for moment in (since, account.opened_at if account else None) if moment]
    return AccountHistory(
        environment=key[0],
        account_id=key[1],
        manifest=manifest,
        trades=one["active"],
        sources=source_histories(
            manifest,
            account,
            spans,
            now=now,
            since=since,
            connected_at=reader.made_at if reader else None,
            readable=reader.sources if reader else None,
        ),
        failing=reader.failing if reader else {},
        connected=reader is not None,
        begins=max(begins, default=None),
        until=None if account else readable_until(manifest, now),
    )


def telling(sources: Iterable[SourceHistory]) -> list[SourceHistory]:
    """The sources that say anything at all."""
    return [one for one in sources if one.spans or one.unread]
