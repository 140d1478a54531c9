"""A grant as a store keeps it."""

from __future__ import annotations

from datetime import datetime

import attrs


@attrs.frozen(kw_only=True)
class SealedGrant:
    """A grant as it is kept; `credentials` and `auth` are sealed. `generation` grows with each replacement.

    `expires_at` and `grant_expires_at` are those of the login. `renewing_since` is set while a renewal is under way,
    and stays when its outcome was never learned, `refused_since` while the refresh token is refused then. `tried_at` is
    when its end was last looked after, `fixed_end` one that a renewal did not move, `warned_of` one that was told.
    `sealed_with` is the owner's wrapped data key; a grant that names it is written only while it is still that.
    """

    owner: str
    provider: str
    environment: str
    identity: str
    generation: int
    auth: bytes
    credentials: bytes
    expires_at: datetime | None = None
    grant_expires_at: datetime | None = None
    renewing_since: datetime | None = None
    refused_since: datetime | None = None
    tried_at: datetime | None = None
    fixed_end: datetime | None = None
    warned_of: datetime | None = None
    sealed_with: bytes | None = None

    @property
    def row(self) -> str:
        """What the sealed values are bound to."""
        return f"{self.provider}|{self.environment}|{self.identity}"


class KeyReplacedError(Exception):
    """The owner's data key was replaced or destroyed after a grant was sealed with it: seal it again."""
