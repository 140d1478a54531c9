"""The rows in quarantine that a corrected plugin understands."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from brokersync.manifest import Manifest
from brokersync.provider import RawRow
from brokersync.records import AccountKey
from brokersync.renewed_pages import Renormalise, all_pages
from brokersync.store import QuarantinedRaw, Store
from brokersync.store.quarantine import names_of_content, number_in_quarantine, raw_of, whole_name
from brokersync.store.rows import compact
from brokersync.sync.occurrences import numbered
from brokersync.types import IdQuality, TradeBooking

# so many of the equal rows before one in quarantine may have been read meanwhile
_MOST_BETWEEN = 1000


class Releaser:
    """Takes rows of one source out of quarantine by `commit`, and counts them in `counts`."""

    def __init__(self, store: Store, owner: str, commit: Callable[..., Awaitable[None]], counts: Counter[str]) -> None:
        self._store, self._owner, self._commit, self._counts = store, owner, commit, counts
        self._read: dict[str, bytes] = {}

    def read(self, booking: TradeBooking) -> None:
        """Note that a kept row of the source was understood."""
        self._read[whole_name(booking)] = text_digest(raw_of(booking) or {})

    async def run(
        self, manifest: Manifest, renormalise: Renormalise, source: str, accounts: Sequence[AccountKey]
    ) -> None:
        """Try those of one source, the equal ones at once, so that it is known which became what."""
        mine = {(key.environment, key.account_id) for key in accounts}
        equal: defaultdict[tuple[str | None, str | None, bytes], list[QuarantinedRaw]] = defaultdict(list)
        for row in await self._store.quarantined_raw(self._owner, manifest.key, source):
            equal[row.environment, row.account_id, text_digest(row.raw)].append(row)
        for (environment, account_id, _), rows in equal.items():
            if account_id is not None and not any((key.environment, account_id) in mine for key in accounts):
                continue
            told = RawRow(raw=rows[0].raw, account_id=account_id, environment=environment)
            pages = await asyncio.to_thread(all_pages, manifest, renormalise, source, [told])
            bookings = [booking for page in pages for booking in page.bookings]
            self._counts["rows"] += len(rows)
            if not bookings or not all((one.environment, one.account_id) in mine for one in bookings):
                self._counts["unchanged"] += len(rows)
            else:
                await self._release_equal(manifest, source, rows, bookings)

    async def _release_equal(
        self, manifest: Manifest, source: str, rows: Sequence[QuarantinedRaw], bookings: Sequence[TradeBooking]
    ) -> None:
        """Each row gets the number that it has among its equals, of which others may have been read meanwhile."""
        made_up = any(one.id_quality is IdQuality.SYNTHETIC for one in bookings)
        names = [name for one in bookings for name in (one.booking_id, *names_of_content(one))]
        named: list[TradeBooking] = []
        understood: list[bytes] = []
        for row in rows:
            place = (row.environment, row.account_id)
            most = len(rows) + _MOST_BETWEEN
            number = number_in_quarantine(row.digest, row.raw, place, most, names) if made_up else 1
            mine = [numbered(one, number) if one.id_quality is IdQuality.SYNTHETIC else one for one in bookings]
            if await self._are_taken(manifest, source, mine):
                if not self._is_kept(place, bookings, number, text_digest(row.raw)):
                    self._counts["left"] += 1
                    continue
                mine = []
            named += mine
            understood.append(row.digest)
        if understood:
            # and no other row: those that do not tell where they belong are counted apart
            await self._commit(manifest, source, bookings=tuple(named), understood=understood, as_of=rows[0].as_of)
            self._counts["understood"] += len(understood)

    def _is_kept(
        self, place: tuple[str | None, str | None], bookings: Sequence[TradeBooking], number: int, text: bytes
    ) -> bool:
        """Whether the very row has its name already, which an older version refused.

        Not known of one that did not tell its account, since it was counted apart from its equals; nor where another
        that looks different has one of the names before.
        """
        return None not in place and all(
            self._read.get(whole_name(numbered(one, each) if one.id_quality is IdQuality.SYNTHETIC else one)) == text
            for one in bookings
            for each in range(1, number + 1)
        )

    async def _are_taken(self, manifest: Manifest, source: str, bookings: Sequence[TradeBooking]) -> bool:
        """Whether another row has a name that was made of a content: it may be this very one, told in other words.

        Only a reading that has both can tell.
        """
        for one in bookings:
            if one.id_quality is IdQuality.SYNTHETIC:
                key = AccountKey(
                    owner=self._owner, provider=manifest.key, environment=one.environment, account_id=one.account_id
                )
                if await self._store.has_booking(key, source, one.booking_id):
                    return True
        return False


def text_digest(raw: Mapping[str, Any]) -> bytes:
    """By which rows are known that look the same."""
    return blake2b(compact(raw).encode(), digest_size=16).digest()
