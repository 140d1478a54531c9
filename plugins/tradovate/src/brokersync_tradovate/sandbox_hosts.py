"""The hosts of the simulated broker: by a prefix of the path on loopback, by their names where a test resolves them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs


@attrs.frozen
class Host:
    """What answers at a host, and for which organisation; without one it serves everybody."""

    role: str
    organisation: str | None = None

    @property
    def environment(self) -> str:
        return self.role.removeprefix("reporting-") if self.role != "oauth" else "live"

    @property
    def reporting(self) -> bool:
        return self.role.startswith("reporting-")


# of whom live and demo accounts stand with the broker itself, and of whom with a firm
_FIRM: Final = "Invented Funding"
_ROLES: Final = {"live": "live", "demo": "demo", "reportingLive": "reporting-live", "reportingDemo": "reporting-demo"}
_NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    "": {
        "live": "live.tradovateapi.com",
        "demo": "demo.tradovateapi.com",
        "reportingLive": "rpt-live.tradovateapi.com",
        "reportingDemo": "rpt-demo.tradovateapi.com",
    },
    _FIRM: {
        "live": "live.tradovateapi.com",
        "demo": "demo-firm.tradovateapi.com",
        "reportingLive": "rpt-live.tradovateapi.com",
        "reportingDemo": "rpt-demo-firm.tradovateapi.com",
    },
}
_OTHERS: Final = {"mdLive": "md.tradovateapi.com", "mdDemo": "md-demo.tradovateapi.com"}
PREFIXES: Final = {**{role: Host(role) for role in _ROLES.values()}, "oauth": Host("oauth")}
_BY_NAME: Final = {
    name: Host(_ROLES[key], organisation) for organisation, names in _NAMES.items() for key, name in names.items()
}


def prefixed_hosts(base_url: str) -> dict[str, str]:
    """The manifest's roles below one address."""
    base = base_url.rstrip("/")
    trading = {role: f"{base}/{role}/v1" for role in _ROLES.values()}
    return {**trading, "consent": f"{base}/consent/oauth", "oauth": f"{base}/oauth/auth"}


def named_host(name: str) -> Host | None:
    """The host that a request asked for by name; both organisations log in at the same live host."""
    return _BY_NAME.get(name.partition(":")[0].lower())


def api_hosts(organisation: str) -> dict[str, str]:
    """What a login tells its user's client."""
    return {**_names_for(organisation), **_OTHERS}


def moved_to(host: Host, organisation: str) -> str | None:
    """The name of the host that serves the organisation in place of this one."""
    key = next((key for key, role in _ROLES.items() if role == host.role), None)
    if key is None or host.organisation is None:
        return None
    proper = _names_for(organisation)[key]
    return None if proper == _names_for(host.organisation)[key] else proper


def _names_for(organisation: str) -> Mapping[str, str]:
    return _NAMES.get(organisation, _NAMES[""])
