"""What a user gives to log in with an API key."""

from __future__ import annotations

from hashlib import sha256

import attrs

from brokersync.plugin import BrokerCredentials, Secret


@attrs.frozen(kw_only=True)
class TradovateCredentials(BrokerCredentials):
    """The fields that `provider.toml` asks the user for, under the same names."""

    username: str
    password: Secret
    cid: str
    sec: Secret
    app_id: str = "brokersync"
    app_version: str = "0.1"
    device_id: str | None = None

    @property
    def device(self) -> str:
        """The device id that is sent: the user's, else one that stays the same for this user and API key.

        Tradovate challenges a login from a device it has not seen, so the id must not change from login to login.
        """
        return self.device_id or sha256(f"{self.username}\n{self.cid}".encode()).hexdigest()
