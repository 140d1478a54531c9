"""Which hosts a broker's plugin may talk to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from ipaddress import ip_address
from typing import NamedTuple, final

from brokersync.errors import BrokerConfigError, BrokerResponseError, Fault
from brokersync.manifest import Manifest

# Stricter than any URL parser, so that no two parsers can disagree about the host.
_URL = re.compile(r"(?a:(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?)(/[^\s\\?#]*)?", re.IGNORECASE)
_LONGEST_SHOWN = 80
_PORTS = {"https": 443, "http": 80}


class _Origin(NamedTuple):
    scheme: str
    host: str
    port: int


@final
class HostMap:
    """The base URLs of one broker: the manifest's, or what the operator or a sandbox put in their place.

    An override is https, or http to this machine. Raises `BrokerConfigError` for any other, and for a role that the
    manifest does not declare. No request of ours goes to a page, which is for browsers.
    """

    def __init__(self, manifest: Manifest, overrides: Mapping[str, str]) -> None:
        self._manifest = manifest
        self._roles = {*manifest.hosts, *manifest.host_patterns}
        self._bases = {role: url.rstrip("/") for role, url in manifest.hosts.items()}
        asked = [url for role, url in manifest.hosts.items() if role not in manifest.pages]
        self._named = {origin.host for url in asked if (origin := _origin(url))}
        self._set_by_operator = set()
        for role, url in overrides.items():
            origin = self._checked_override(role, url)
            if role not in manifest.pages:
                self._set_by_operator.add(origin)
            self._bases[role] = url.rstrip("/")

    def __getitem__(self, role: str) -> str:
        """See `Hosts`."""
        try:
            return self._bases[role]
        except KeyError:
            raise self._unknown(role) from None

    def accept(self, role: str, url: str) -> str:
        """See `Hosts`; the answer has no slash at its end. A user, a query or a port of its own is refused."""
        if role not in self._roles:
            raise self._unknown(role)
        parsed = _URL.fullmatch(url)
        origin = _origin(url) if parsed else None
        if origin is None or not self._allowed(origin, self._manifest.host_patterns.get(role, ())):
            shown = _shown(origin) if origin else "an address that is no plain https address"
            raise BrokerResponseError(
                f"{self._manifest.display_name} names {shown} for {role!r}, which its manifest does not allow.",
                provider=self._manifest.key,
                report_to=self._manifest.support,
            )
        return url.rstrip("/")

    def permits(self, url: str) -> bool:
        """Whether a request may go to this address, whatever its role, path and query."""
        origin = _origin(url)
        patterns = [pattern for some in self._manifest.host_patterns.values() for pattern in some]
        return origin is not None and self._allowed(origin, patterns)

    def role_of(self, url: str) -> tuple[str, str]:
        """The role that an address belongs to, and the base URL that it begins with.

        Of several the longest base counts; where a role has moved to another host, its path is what is known of it.
        """
        parts = [(base, role) for role, base in self._bases.items() if begins_with(url, base)]
        if parts:
            base, role = max(parts, key=lambda one: (len(one[0]), one[1]))
            return role, base
        origin, path = url.partition("//")[2].partition("/")[::2]
        moved = []
        for role, base in self._bases.items():
            own = base.partition("//")[2].partition("/")[2]
            if f"{path}/".startswith(f"{own}/") or not own:
                moved.append((role in self._manifest.host_patterns, len(own), role, own))
        if not moved:
            raise self._unknown(host_of(url))
        _, _, role, own = max(moved)
        return role, f"{url.partition('//')[0]}//{origin}" + (f"/{own}" if own else "")

    def roles(self) -> Mapping[str, str]:
        """The base URL of each role that has one."""
        return dict(self._bases)

    def _allowed(self, origin: _Origin, patterns: tuple[str, ...] | list[str]) -> bool:
        if origin in self._set_by_operator:
            return True
        if origin.scheme != "https" or origin.port != _PORTS["https"]:
            return False
        return origin.host in self._named or any(fnmatchcase(origin.host, pattern.lower()) for pattern in patterns)

    def _checked_override(self, role: str, url: str) -> _Origin:
        if role not in self._roles:
            raise self._unknown(role)
        origin = _origin(url) if _URL.fullmatch(url) else None
        if origin is None:
            raise self._mistaken(role, "is not a plain https address; it must not hold a user, a password or a query")
        if origin.scheme != "https" and not _is_loopback(origin.host):
            raise self._mistaken(role, "must be https; plain http is only for this machine")
        return origin

    def _unknown(self, role: str) -> BrokerConfigError:
        return BrokerConfigError(
            f"{self._manifest.display_name} has no host for {role!r}.",
            remedy=f"Its roles are: {', '.join(sorted(self._roles)) or 'none'}.",
            provider=self._manifest.key,
        )

    def _mistaken(self, role: str, why: str) -> BrokerConfigError:
        return BrokerConfigError(
            f"The host set for {role!r} of {self._manifest.display_name} {why}.",
            remedy=f"Correct hosts.{role} of the broker {self._manifest.key} in the configuration.",
            provider=self._manifest.key,
            fault=Fault.OPERATOR,
        )


def _shown(origin: _Origin) -> str:
    host = origin.host if len(origin.host) <= _LONGEST_SHOWN else origin.host[:_LONGEST_SHOWN] + "..."
    if origin.scheme != "https":
        return f"the host {host!r} without https"
    return f"the host {host!r}" + ("" if origin.port == _PORTS["https"] else f" with port {origin.port}")


def begins_with(url: str, base: str) -> bool:
    """Whether an address lies at or below a base URL."""
    return url.startswith(base) and url[len(base) : len(base) + 1] in ("", "/", "?", "#")


def host_of(url: str) -> str:
    """The host of an http address, to be shown; empty for anything else."""
    origin = _origin(url)
    return origin.host if origin else ""


def _origin(url: str) -> _Origin | None:
    parsed = _URL.match(url)
    if not parsed or url[parsed.end() : parsed.end() + 1] not in ("", "?", "#"):
        return None
    scheme, host = parsed[1].lower(), parsed[2].lower()
    port = int(parsed[3]) if parsed[3] else _PORTS[scheme]
    return _Origin(scheme, host, port)


def is_this_machine(url: str) -> bool:
    """Whether what is sent to this address, without encryption, stays on this machine."""
    origin = _origin(url)
    return origin is not None and origin.scheme == "http" and _is_loopback(origin.host)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
