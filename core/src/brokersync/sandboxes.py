"""What a simulated broker looks like to core: an HTTP application of its own, with logins and faults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from aiohttp.web import Application

CONTROL_PATH = "/_sandbox"


@attrs.frozen(kw_only=True)
class SandboxSettings:
    """How a simulated broker behaves: the same seed and clock give the same history and the same ids.

    `days` of history end at `now()`; `trades_per_day` is the mean per account. `think` is how long it takes for
    answers that take long at the real broker. Without `keeps_limits` it refuses nobody for asking too often.
    """

    now: Callable[[], datetime]
    seed: int = 7
    logins: int = 2
    accounts_per_login: int = 2
    days: int = 400
    trades_per_day: float = 2.0
    think: timedelta = timedelta(seconds=1)
    keeps_limits: bool = True


@attrs.frozen(kw_only=True)
class SandboxLogin:
    """A login that works: the user's fields of the manifest, and the accounts behind it with their trades' number.

    `trades` counts, per account id, the executions that a full import ends with, cancelled ones left out. Where users
    log in at the broker's own page, `page` is what this one gives there: posted to the page's address as a form, it is
    answered by a redirect that holds the broker's answer.
    """

    environment: str
    fields: Mapping[str, str]
    trades: Mapping[str, int]
    page: Mapping[str, str] = attrs.field(factory=dict)


class SimulatedBroker(Protocol):
    """A broker's protocol on loopback.

    `faults` names the faults it can show, `demo_faults` those of them that a sync overcomes by itself within seconds.
    `POST /_sandbox/faults` with `{"fault": NAME, "times": N, "after": M}` makes
    the requests after the next `M` show it `N` times; `GET /_sandbox/ledger` tells what its own books say:
    {"accounts": {ACCOUNT: [{"trade_id", "side", "quantity", "price",
    "executed_at", ...}]}} with the trades that a full import ends
    with now, `trade_id` as the plugin publishes it, numbers as decimal text. Where it tells `order_id`, `currency`,
    `multiplier`, `net_cash` and `fees` by kind, the contract suite compares them, too. Where the manifest has fields of
    the operator's, the values that work there stand in a mapping `operator_fields`.
    """

    faults: tuple[str, ...]
    demo_faults: tuple[str, ...]
    logins: tuple[SandboxLogin, ...]

    def application(self) -> Application:
        """A new application over this broker's state."""

    def hosts(self, base_url: str) -> Mapping[str, str]:
        """The manifest's roles at this base URL."""
