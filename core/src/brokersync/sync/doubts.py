"""What a page says of itself that can not be right: the problems that a report tells."""

from __future__ import annotations

from datetime import datetime, timedelta

from brokersync.errors import BrokerPluginError, BrokerResponseError
from brokersync.manifest import Manifest
from brokersync.types import TradePage

# a time that states no zone may be read half a day too late
_CLOCKS_DIFFER = timedelta(days=1)


def rows_missing(page: TradePage, manifest: Manifest) -> BrokerPluginError:
    """Rows of which the plugin does not say what became of them."""
    return BrokerPluginError(
        f"The plugin read {page.rows} rows of {manifest.display_name} and says of {page.disposed} what became of them.",
        remedy="Report it to the plugin's authors: each row is a booking, in quarantine, or skipped.",
        provider=manifest.key,
        operation="get_trades",
        report_to=manifest.support,
    )


def named_alike(manifest: Manifest) -> BrokerPluginError:
    """Rows of different times under one id made from their content."""
    return BrokerPluginError(
        f"The plugin names rows of {manifest.display_name} alike that were traded at different times.",
        remedy="Report it to the plugin's authors: an id made from a row's content holds the time of the trade.",
        provider=manifest.key,
        operation="get_trades",
        report_to=manifest.support,
    )


def is_to_come(made: datetime, now: datetime) -> bool:
    """Whether nothing can have been made then: it would stand above all that the broker tells later."""
    return made > now + _CLOCKS_DIFFER


def not_made_yet(made: datetime, manifest: Manifest) -> BrokerResponseError:
    """A time of making that is still to come."""
    return BrokerResponseError(
        f"What was read of {manifest.display_name} says that it was made on {made:%Y-%m-%d}, which is still to come.",
        remedy="Its rows count as if it did not say when. Look at this machine's clock, or at the file.",
        provider=manifest.key,
        operation="get_trades",
    )
