"""What a server's headers say is left of its limits: `RateLimit` of the IETF's drafts, and `X-RateLimit-*`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from brokersync.ratelimit.left import Left

_NUMBER = re.compile(r"\d{1,9}")
_INSTANT = re.compile(r"\d{1,13}(\.\d+)?")
_MEMBER = re.compile(r'(?:"([^"]*)"|([\w.-]+))((?:\s*;\s*[\w-]+=[^;,]*)*)')
_PREFIXES = ("ratelimit-", "x-ratelimit-", "x-rate-limit-")
# what is larger is no span but an instant since 1970, in seconds or in milliseconds
_SECONDS_SINCE_1970 = 10**9
_MILLIS_SINCE_1970 = 10**12
_LONGEST = timedelta(days=366)


def left_in(headers: Mapping[str, str], now: datetime) -> list[Left]:
    """All that the headers, with names in lower case, say is left; nonsense says nothing."""
    if not any("rate" in name for name in headers):
        return []
    return [*_members(headers), *_triples(headers, now)]


def _members(headers: Mapping[str, str]) -> Iterator[Left]:
    """One header: `limit=100, remaining=50, reset=5`, or for each policy `"name";r=50;t=30`."""
    text = headers.get("ratelimit", "")
    pairs = dict(re.findall(r"(limit|remaining|reset)=(\d{1,9})", text))
    if "remaining" in pairs:
        yield _left(pairs["remaining"], pairs.get("reset"), pairs.get("limit"), None)
    policies = dict(_policies(headers.get("ratelimit-policy", "")))
    for name, parameters in _policies(text):
        if "r" in parameters:
            policy = policies.get(name, {})
            yield _left(parameters["r"], parameters.get("t"), policy.get("q"), policy.get("w"))


def _triples(headers: Mapping[str, str], now: datetime) -> Iterator[Left]:
    """A header for each: `...-Limit`, `...-Remaining`, `...-Reset`."""
    for prefix in _PREFIXES:
        remaining = headers.get(f"{prefix}remaining", "").strip()
        if _NUMBER.fullmatch(remaining):
            quota = _NUMBER.match(headers.get(f"{prefix}limit", "").strip())
            resets_in = _resets_in(headers.get(f"{prefix}reset", "").strip(), now)
            yield Left(int(remaining), resets_in, int(quota[0]) if quota else None)


def _policies(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    for quoted, token, parameters in _MEMBER.findall(text):
        if parameters:
            yield quoted or token, dict(re.findall(r"([\w-]+)=(\d{1,9})(?!\d)", parameters))


def _left(remaining: str, reset: str | None, quota: str | None, period: str | None) -> Left:
    return Left(
        int(remaining),
        None if reset is None else min(timedelta(seconds=int(reset)), _LONGEST),
        None if quota is None else int(quota),
        None if period is None else timedelta(seconds=int(period)),
    )


def _resets_in(text: str, now: datetime) -> timedelta | None:
    if not _INSTANT.fullmatch(text):
        return None
    seconds = float(text)
    if seconds >= _MILLIS_SINCE_1970:
        seconds /= 1000
    if seconds < _SECONDS_SINCE_1970:
        return min(timedelta(seconds=seconds), _LONGEST)
    return min(timedelta(seconds=max(seconds - now.timestamp(), 0)), _LONGEST)
