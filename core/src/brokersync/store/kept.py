"""What the store holds of one booking, while a page is laid over it."""

from __future__ import annotations

import attrs

from brokersync.dispositions import Disposition
from brokersync.types import TradeBooking

_DIGEST = 16


@attrs.define
class Kept:
    """A booking of the page's source as it is kept, or is about to be; `fresh` says that the page changed it.

    `as_of` is when the broker made what it was read from, and `stamp` the same of the page: of two contents that with
    the later one stands. `told` holds the digests of the contents that do not. `risen` says that the page makes it the
    latest word of several sources, though its own says what it said before.
    """

    number: int
    set_id: int
    version: int
    digest: bytes
    as_of: str | None
    stamp: str | None
    told: bytes = b""
    heard: bool = False
    risen: bool = False
    fresh: bool = False
    content: str = ""
    booking: TradeBooking | None = None

    @property
    def later(self) -> bool:
        return self.as_of is not None and (self.stamp is None or self.stamp < self.as_of)

    def fate(self, digest: bytes) -> Disposition | None:
        """What becomes of this content where nothing follows from it; `None` for news."""
        if digest == self.digest:
            return None if self.risen else Disposition.SAME
        return Disposition.OUTDATED if self.later and self._was_told(digest) else None

    def take(self, digest: bytes, content: str, booking: TradeBooking) -> Disposition | None:
        """Hear a content that is new here; it stands unless what is kept was made later."""
        self.version += 1
        self.risen = False
        if self.later:
            self.heard = True
            self.told += digest
            return Disposition.OUTDATED
        if self.digest not in (b"", digest) and self.stamp is not None and not self._was_told(self.digest):
            self.told += self.digest
        self.digest, self.content, self.booking, self.fresh = digest, content, booking, True
        return None

    def _was_told(self, digest: bytes) -> bool:
        return digest in (self.told[at : at + _DIGEST] for at in range(0, len(self.told), _DIGEST))
