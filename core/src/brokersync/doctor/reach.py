"""Whether the declared hosts of brokers answer, and what time they have."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from brokersync.clock import CLOCKS_DIFFER
from brokersync.config import Settings
from brokersync.doctor.storing import skewed
from brokersync.errors import BrokerConfigError
from brokersync.findings import Finding, Severity
from brokersync.hosts import HostMap, host_of
from brokersync.http_sessions import open_session
from brokersync.provider import Clock
from brokersync.registry import ProviderRegistry

if TYPE_CHECKING:
    import aiohttp

_SECONDS: Final = 10


async def reach_findings(
    registry: ProviderRegistry, settings: Settings, brokers: Sequence[str], clock: Clock
) -> list[Finding]:
    """One request for the headers of each host, without any login; whatever it answers, it can be reached."""
    urls: dict[str, tuple[str, str]] = {}
    for key in brokers or registry.keys():
        try:
            manifest = registry.manifest(key)
            hosts = HostMap(manifest, settings.broker(manifest.key).hosts)
            for role in (*manifest.hosts, *settings.broker(manifest.key).hosts):
                urls[host_of(hosts[role])] = (manifest.key, hosts[role])
        except BrokerConfigError:
            continue  # told by the check of plugins or of the configuration
    async with open_session(keeps=False) as session:
        answers = await asyncio.gather(*(_asked(session, *one, clock) for one in urls.values()))
    return [one for one in answers if one is not None]


async def _asked(session: aiohttp.ClientSession, provider: str, url: str, clock: Clock) -> Finding | None:
    import aiohttp

    host = host_of(url)
    try:
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        async with session.head(url, allow_redirects=False, timeout=timeout) as answer:
            date = answer.headers.get("Date", "")
    except TimeoutError:
        return _of(provider, f"{host} did not answer within {_SECONDS} s.")
    except (aiohttp.ClientError, OSError) as error:
        return _of(provider, f"{host} can not be reached: {type(error).__name__}.")
    try:
        ahead = clock.now() - parsedate_to_datetime(date)
    except (ValueError, TypeError):
        return None
    return skewed(host, ahead.total_seconds()) if abs(ahead) > max(CLOCKS_DIFFER, timedelta(seconds=5)) else None


def _of(provider: str, message: str) -> Finding:
    remedy = "Check the network, proxies and firewalls of this machine, then whether the broker is up."
    return Finding(area="hosts", provider=provider, severity=Severity.FAULT, message=message, remedy=remedy)
