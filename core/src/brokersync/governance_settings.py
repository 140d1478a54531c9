"""What the operator says of which plugins may run, and who is told."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, Self

import attrs


class GovernanceMode(Enum):
    """`trust`: what is installed may run. `approve`: a broker is held until somebody has approved it."""

    TRUST = "trust"
    APPROVE = "approve"


class Pin(Enum):
    """What an approval holds a broker to: the files that were approved, or their distribution in any version."""

    FILES = "files"
    DISTRIBUTION = "distribution"


def _plain(_: object, field: attrs.Attribute[Any], value: str | None) -> None:
    if value is not None and not value.strip():
        raise ValueError(f"{field.name} is empty")


@attrs.frozen(kw_only=True)
class GovernanceSettings:
    """Which brokers may run, by key. `deny` goes before `allow`, and both before any approval.

    With `safe` only the plugins of the catalogue run. Approvals are kept in the file `approvals`. Notices go to
    `webhook`, signed with `webhook_secret`.
    """

    mode: GovernanceMode = GovernanceMode.TRUST
    pin: Pin = Pin.FILES
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    safe: bool = False
    approvals: str | None = attrs.field(default=None, validator=_plain)
    webhook: str | None = attrs.field(default=None, repr=False, validator=_plain)  # its path may be a secret
    webhook_secret: str | None = attrs.field(default=None, repr=False, validator=_plain)

    def approvals_file(self, folder: Path) -> Path:
        """Where approvals are kept; in `folder` where nothing is said."""
        return Path(self.approvals).expanduser() if self.approvals else folder / "approvals.json"

    def meant(self, broker_of: Callable[[str], str | None]) -> Self:
        """With the keys of brokers in place of those of their labels: who denies a name denies who is behind it."""
        allow, deny = ([broker_of(name) or name for name in names] for names in (self.allow or (), self.deny))
        return attrs.evolve(self, deny=tuple(deny), allow=None if self.allow is None else tuple(allow))
