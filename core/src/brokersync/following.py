"""Following the feed: a reader's changes as they are committed."""

from __future__ import annotations

from collections.abc import AsyncIterator

from brokersync.arguments import checked
from brokersync.connections import Connections
from brokersync.errors import StoreError
from brokersync.records import Change


class Following(Connections):
    """Waits for what is new in the feed."""

    @checked
    async def follow(self, owner: str, since: int = 0) -> AsyncIterator[Change]:
        """The owner's changes behind position `since`, then each new one as it is committed, until this is closed.

        None is left out and none comes twice: keep the last `position`, in the transaction that makes use of it, and
        begin there again. Commits of this process are seen at once, those of others within `feed_poll`.
        """
        shared = self._shared
        while not shared.news.over:
            news = shared.news.next()
            try:
                found = await self.changes(owner, since)
            except StoreError:
                if shared.news.over:
                    return
                raise
            for change in found:
                yield change
                since = change.position
            if not found and not shared.news.over:
                await shared.news.wait(news, shared.clock.sleep(shared.settings.feed_poll.total_seconds()))
