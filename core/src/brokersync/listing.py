"""How a broker that is installed is listed."""

from __future__ import annotations

from enum import StrEnum

import attrs


class ProviderState(StrEnum):
    """`available` means that nothing speaks against it so far; files and code are checked when it is loaded.

    `held` waits for the operator, and none of its code is run.
    """

    AVAILABLE = "available"
    HELD = "held"
    REFUSED = "refused"


@attrs.frozen(kw_only=True)
class ProviderListing:
    """A broker key of one installed distribution, and whether it can be used.

    `key` is empty for a distribution that can not be read at all.
    """

    key: str
    distribution: str
    version: str
    state: ProviderState
    reason: str = ""
