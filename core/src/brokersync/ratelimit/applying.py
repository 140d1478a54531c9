"""Which limits a call counts for, and what is said when it can not go."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from brokersync.errors import BrokerConfigError, BrokerRateLimitError, LimitScope
from brokersync.limits import RateLimit


def applying(provider: str, limits: Sequence[RateLimit], operation: str, weight: int) -> list[RateLimit]:
    """The limits of an operation. Raises `BrokerConfigError` for a weight that one can never let through."""
    applied = [limit for limit in limits if limit.applies_to(operation)]
    for limit in applied:
        if weight > limit.amount:
            raise BrokerConfigError(
                f"A call of {operation} weighs {weight}, more than the limit of {limit.amount} allows.",
                remedy="Raise the limit in the configuration, or report it to the plugin's authors.",
                provider=provider,
                operation=operation,
            )
    return applied


def too_long(
    provider: str, operation: str, wait: timedelta, reasons: Sequence[str], scope: LimitScope | None = None
) -> BrokerRateLimitError:
    """The refusal of a call that would have to wait for longer than its caller will."""
    why = f" ({'; '.join(reasons)})" if reasons else ""
    error = BrokerRateLimitError(
        f"The limits of {provider} let {operation} go in {wait.total_seconds():.1f} seconds{why}.",
        retry_after=wait,
        provider=provider,
        operation=operation,
    )
    error.scope = scope
    return error
