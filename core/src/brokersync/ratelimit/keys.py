"""The names under which a fleet's limits stand in Redis; no credential is in any of them."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from functools import lru_cache

from brokersync.errors import LimitScope
from brokersync.limits import RateLimit

_MICRO = timedelta(microseconds=1)
_KNOWN = 4096


@lru_cache(maxsize=_KNOWN)
def queue_key(provider: str) -> str:
    """Who was sent away to come back later."""
    return f"{_head(provider)}queue"


@lru_cache(maxsize=_KNOWN)
def began_key(provider: str) -> str:
    """Since when the server counts."""
    return f"{_head(provider)}began"


@lru_cache(maxsize=_KNOWN)
def freeze_key(provider: str, scope: LimitScope, key: str) -> str:
    """Until when nobody makes a call of this scope."""
    return f"{freeze_prefix(provider)}{scope.value}:{digest(key)}"


@lru_cache(maxsize=_KNOWN)
def penalty_key(provider: str, scope: LimitScope, key: str) -> str:
    """For how long a scope was frozen last that the broker named no time for."""
    return f"{_head(provider)}penalty:{scope.value}:{digest(key)}"


@lru_cache(maxsize=_KNOWN)
def silence_key(provider: str, scope: LimitScope, key: str) -> str:
    """Since when a scope is refused of which nobody has seen yet that it is let go again."""
    return f"{_head(provider)}silence:{scope.value}:{digest(key)}"


def alive_key(provider: str) -> str:
    """What is written to see whether that can be done."""
    return f"{_head(provider)}alive"


def freeze_prefix(provider: str) -> str:
    """What all freezes of a broker begin with."""
    return f"{_head(provider)}freeze:"


@lru_cache(maxsize=_KNOWN)
def meter_keys(provider: str, limit: RateLimit, key: str) -> tuple[str, ...]:
    """What one limit counts for one account, address or credential."""
    meter = f"{meter_prefix(provider, limit)}{digest(key)}"
    return tuple(f"{meter}:{part}" for part in ("log", "promises", "state"))


def meter_prefix(provider: str, limit: RateLimit) -> str:
    """What all counts of one limit begin with."""
    # one that weighs calls in another way is another limit; one whose amount has changed, or that a broker's headers
    # lowered for some processes, goes on with the same counts
    weighed = sorted(f"{name}={weight}" for name, weight in limit.weights.items())
    facts = [limit.kind.value, str(limit.period // _MICRO)]
    if limit.failures_only:
        facts.append("failures")
    counted = digest(*facts, *sorted(limit.operations), *weighed)
    return f"{_head(provider)}{limit.scope.value}:{counted}:"


@lru_cache(maxsize=_KNOWN)
def digest(*words: str) -> str:
    """What stands in a key for what may be told to nobody: an account's number, a login."""
    return hashlib.blake2b("\0".join(words).encode(), digest_size=9).hexdigest()


def _head(provider: str) -> str:
    # the braces put all keys of a broker into one slot of a cluster
    return f"brokersync:{{{provider}}}:"
