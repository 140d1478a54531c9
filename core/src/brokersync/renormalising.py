"""A corrected plugin over the raw rows that are kept: what it changes, without asking the broker again."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from brokersync.converter import to_json
from brokersync.errors import BrokerConfigError
from brokersync.holding import begin_in_era
from brokersync.manifest import Manifest
from brokersync.new_names import NewNames, moved_together
from brokersync.provider import RawRow
from brokersync.records import AccountKey, ChangeCause, Era, PageCommit
from brokersync.releasing import Releaser, text_digest
from brokersync.renewed_pages import Pages, Renormalise, broken
from brokersync.shared import Shared
from brokersync.store import KeptRow, Renewed, RenewedPage, Store, TradeDifference
from brokersync.store.quarantine import raw_of
from brokersync.sync.commit import page_rules
from brokersync.sync.occurrences import Occurrences
from brokersync.types import BrokerTrade, QuarantinedRow, TradeBooking

OnDifference = Callable[[TradeDifference], None]
_COUNTED = (
    "rows", "unchanged", "renewed", "understood", "refused", "left", "without_raw", "added", "modified", "removed",
)  # fmt: skip


@attrs.frozen(kw_only=True)
class RenormaliseReport:
    """What a plugin made of the rows that are kept.

    `rows` counts them, `unchanged` those that are read as before, and `renewed` those that are not. `understood` came
    out of quarantine, and `refused` are not understood any more: they are in quarantine too, and stay what they were.
    `left` stay as they are since the plugin said nothing of them, or gave them an id that another row has;
    `without_raw` have no raw row any more. `added`, `modified` and `removed` count trades, `fields` the trades that
    changed in each. `unable` are the brokers whose plugin can not do this.
    """

    owner: str
    dry_run: bool
    rows: int = 0
    unchanged: int = 0
    renewed: int = 0
    understood: int = 0
    refused: int = 0
    left: int = 0
    without_raw: int = 0
    added: int = 0
    modified: int = 0
    removed: int = 0
    fields: Mapping[str, int] = attrs.field(factory=dict)
    unable: tuple[str, ...] = ()


def changed_fields(one: TradeDifference) -> dict[str, tuple[Any, Any]]:
    """The fields in which a trade differs, each before and after; those of its instrument by `instrument.NAME`."""
    before, after = _flat(one.before), _flat(one.after)
    names = dict.fromkeys((*before, *after))
    return {
        name: (before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name) and name not in ("revision", "sources", "raw")
    }


def _flat(trade: BrokerTrade | None) -> dict[str, Any]:
    if trade is None:
        return {}
    data: dict[str, Any] = to_json(trade)
    instrument = data.pop("instrument")
    return data | {f"instrument.{name}": value for name, value in instrument.items()}


async def chosen_accounts(
    store: Store, owner: str, connections: Sequence[str] | None, account: str | None
) -> tuple[AccountKey, ...]:
    """The owner's accounts: all, or those that these connections see, or that of this id or name.

    Raises `BrokerConfigError` for a connection or an account that the owner does not have.
    """
    names = await store.account_names(owner)
    keys = sorted(names, key=lambda key: (key.provider, key.environment, key.account_id))
    if connections is not None:
        mine = {one.connection_id: one for one in await store.connections(owner)}
        seen = set()
        for name in connections:
            if name not in mine:
                raise BrokerConfigError(
                    f"{owner!r} has no connection {name!r}.", remedy=f"Known are: {', '.join(mine) or 'none'}."
                )
            seen |= {(mine[name].provider, one.environment, one.account_id) for one in await store.accounts(name)}
        keys = [key for key in keys if (key.provider, key.environment, key.account_id) in seen]
    if account is not None:
        keys = [key for key in keys if account in (key.account_id, names[key])]
        if not keys:
            raise BrokerConfigError(
                f"{owner!r} has no such account {account!r}.",
                remedy=f"Known are: {', '.join(sorted({key.account_id for key in names})) or 'none'}.",
            )
    return tuple(keys)


class Renormaliser:
    """Runs the plugins' `renormalise` over one owner's accounts, into `store`."""

    def __init__(self, shared: Shared, store: Store, owner: str, on_difference: OnDifference) -> None:
        self._shared, self._store, self._owner, self._on_difference = shared, store, owner, on_difference
        self._counts: Counter[str] = Counter()
        self._fields: Counter[str] = Counter()
        self._era: Era | None = None

    async def run(self, accounts: Sequence[AccountKey], *, dry_run: bool) -> RenormaliseReport:
        """Renew what is kept of these accounts.

        Raises `BrokerConfigError` when no plugin of theirs can do this, and `ErasedError` where they are erased.
        """
        unable = []
        for provider in sorted({key.provider for key in accounts}):
            loaded = self._shared.registry.load(provider)
            if loaded.spec.renormalise is None:
                unable.append(provider)
                continue
            mine = [key for key in accounts if key.provider == provider]
            self._era = None if dry_run else await begin_in_era(self._shared, self._owner, provider, known=True)
            for source in loaded.manifest.sources:
                releaser = Releaser(self._store, self._owner, self.commit, self._counts)
                for key in mine:
                    await _Work(self, loaded.manifest, loaded.spec.renormalise, source.name, key, releaser).run()
                await releaser.run(loaded.manifest, loaded.spec.renormalise, source.name, mine)
        if unable and len(unable) == len({key.provider for key in accounts}):
            raise BrokerConfigError(
                f"The plugin for {' and '.join(unable)} can not read kept rows again.",
                remedy="Read the broker again instead: brokersync sync --again-from DAY",
                provider=unable[0],
            )
        return RenormaliseReport(
            owner=self._owner,
            dry_run=dry_run,
            fields=dict(self._fields),
            unable=tuple(unable),
            **{name: self._counts[name] for name in _COUNTED},
        )

    async def commit(
        self,
        manifest: Manifest,
        source: str,
        *,
        renewed: Sequence[Renewed] = (),
        bookings: tuple[TradeBooking, ...] = (),
        quarantined: tuple[QuarantinedRow, ...] = (),
        understood: Sequence[bytes] = (),
        as_of: datetime | None = None,
    ) -> None:
        """One page of it, in one transaction."""
        page = PageCommit(
            owner=self._owner,
            provider=manifest.key,
            source=source,
            at=self._shared.clock.now(),
            cause=ChangeCause.PLUGIN,
            as_of=as_of,
            bookings=bookings,
            quarantined=quarantined,
            era=self._era,
        )
        done = await self._store.renew(page, page_rules(manifest), renewed, understood)
        self._count(done)

    def count(self, **numbers: int) -> None:
        """Add to the report."""
        self._counts.update(numbers)

    def _count(self, done: RenewedPage) -> None:
        self.count(renewed=done.renewed, unchanged=done.unchanged, left=done.left)
        outcome = done.outcome
        self.count(added=outcome.added, modified=outcome.modified, removed=outcome.removed)
        for one in done.differences:
            self._fields.update(changed_fields(one).keys() if one.before and one.after else ())
            self._on_difference(one)


class _Work:
    """One account in one source."""

    def __init__(
        self,
        parent: Renormaliser,
        manifest: Manifest,
        renormalise: Renormalise,
        source: str,
        key: AccountKey,
        releaser: Releaser,
    ) -> None:
        self._releaser = releaser
        self._parent, self._manifest, self._renormalise = parent, manifest, renormalise
        self._source, self._key = source, key
        self._given: defaultdict[bytes, deque[KeptRow]] = defaultdict(deque)
        self._names, self._occurrences = NewNames(()), Occurrences()

    async def run(self) -> None:
        rows, without = await self._parent._store.kept_rows(self._key, self._source)  # noqa: SLF001  its own parent
        self._parent.count(rows=len(rows), without_raw=len(without))
        self._names = NewNames([*(row.booking_id for row in rows), *without])
        await self._note_names(rows)
        pages, moves = self._pages(rows), list[Renewed]()
        while (page := await asyncio.to_thread(pages.next)) is not None:
            renewed = [self._renewed(booking) for booking in page.bookings]
            refused = tuple(self._occurrences.number_row(row) for row in page.quarantined if self._take(row.raw))
            self._parent.count(refused=len(refused))
            moves += (one for one in renewed if one.moves)
            stays = [one for one in renewed if not one.moves]
            if stays or refused:
                await self._parent.commit(self._manifest, self._source, renewed=stays, quarantined=refused)
        for together in moved_together(moves):
            await self._parent.commit(self._manifest, self._source, renewed=together)
        self._parent.count(left=sum(len(rest) for rest in self._given.values()))

    def _pages(self, rows: Sequence[KeptRow]) -> Pages:
        self._given.clear()
        return Pages(self._manifest, lambda: self._renormalise(self._source, self._raw_rows(rows)))

    async def _note_names(self, rows: Sequence[KeptRow]) -> None:
        pages = self._pages(rows)
        while (page := await asyncio.to_thread(pages.next)) is not None:
            for booking in page.bookings:
                if (row := self._take(raw_of(booking) or {})) is not None:
                    self._names.note(row.booking_id, booking)
            for refused in page.quarantined:
                self._take(refused.raw)

    def _raw_rows(self, rows: Iterable[KeptRow]) -> Iterator[RawRow]:
        for row in rows:
            raw = row.raw
            self._given[text_digest(raw)].append(row)
            yield RawRow(
                raw=raw,
                account_id=self._key.account_id,
                environment=self._key.environment,
                row_id=row.booking_id,
            )

    def _take(self, raw: Mapping[str, Any]) -> KeptRow | None:
        waiting = self._given.get(text_digest(raw))
        return waiting.popleft() if waiting else None

    def _renewed(self, booking: TradeBooking) -> Renewed:
        row = self._take(raw_of(booking) or {})
        fits = (booking.environment, booking.account_id) == (self._key.environment, self._key.account_id)
        if row is None or not fits:
            raise broken(self._manifest, "a booking is of none of the rows that were handed to it")
        named = self._names.of(row.booking_id, booking)
        if named is None:
            raise broken(self._manifest, "it read the same rows in another way when it was asked again")
        self._releaser.read(named)
        return Renewed(row=row, booking=named)
