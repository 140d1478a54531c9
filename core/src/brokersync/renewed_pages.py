"""The pages that a plugin makes of the rows that are kept, with what it may do wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from brokersync.errors import BrokerError, BrokerPluginError
from brokersync.manifest import Manifest
from brokersync.provider import RawRow
from brokersync.typed import wrong_type
from brokersync.types import TradePage

Renormalise = Callable[[str, Iterable[RawRow]], Iterable[TradePage]]


class Pages:
    """A plugin's pages, made on a thread; whatever it raises besides `BrokerError` is its fault."""

    def __init__(self, manifest: Manifest, start: Callable[[], Iterable[TradePage]]) -> None:
        self._manifest, self._start = manifest, start
        self._pages: Iterator[TradePage] | None = None

    def next(self) -> TradePage | None:
        """The next one. Raises `BrokerPluginError`, and what the plugin says is wrong."""
        try:
            if self._pages is None:
                self._pages = iter(self._start())
            page: object = next(self._pages, None)
        except (BrokerError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise broken(self._manifest, wrong_type(error) or f"it raised {type(error).__name__}") from error
        if page is not None and not isinstance(page, TradePage):
            raise broken(self._manifest, "it gave something else than a TradePage")
        return page


def all_pages(manifest: Manifest, renormalise: Renormalise, source: str, rows: Sequence[RawRow]) -> list[TradePage]:
    """What the plugin makes of these rows."""
    pages = Pages(manifest, lambda: renormalise(source, rows))
    return list(iter(pages.next, None))


def broken(manifest: Manifest, what: str) -> BrokerPluginError:
    """What is raised of a plugin that does not do as it has promised."""
    return BrokerPluginError(
        f"The plugin for {manifest.display_name} broke the contract in renormalise: {what}.",
        remedy="Report it to the plugin's authors.",
        provider=manifest.key,
        operation="renormalise",
        report_to=manifest.support,
    )
