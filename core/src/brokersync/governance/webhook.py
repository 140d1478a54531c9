"""Notices over HTTP, signed as Standard Webhooks says, so that receivers find a library that verifies them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import datetime
from typing import TYPE_CHECKING, Final

import attrs

from brokersync.errors import BrokerConfigError
from brokersync.governance.notices import Notice
from brokersync.governance_settings import GovernanceSettings
from brokersync.hosts import host_of, is_this_machine

if TYPE_CHECKING:
    import aiohttp

_SECONDS: Final = 10
_SHORTEST_KEY: Final = 24
_PREFIX: Final = "whsec_"
_LIKE_THIS: Final = 'Make one with: echo "whsec_$(openssl rand -base64 32)"'


class NotDeliveredError(Exception):
    """The receiver did not take a notice; the text says why and names no address."""


def sign(key: bytes, notice_id: str, seconds: int, body: bytes) -> str:
    """The signature of one attempt, as the header `webhook-signature` holds it."""
    mac = hmac.new(key, f"{notice_id}.{seconds}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(mac.digest()).decode()}"


@attrs.frozen(repr=False)
class Webhook:
    """Where notices go. With several keys each attempt is signed with all of them, so that a key can be replaced."""

    url: str
    _keys: tuple[bytes, ...]

    @classmethod
    def of(cls, settings: GovernanceSettings) -> Webhook | None:
        """The one that is configured. Raises `BrokerConfigError` for one that would not be safe."""
        if settings.webhook is None:
            return None
        url = settings.webhook
        if not host_of(url) or not (url.startswith("https://") or is_this_machine(url)):
            raise BrokerConfigError(
                "governance.webhook is no https address.", remedy="Plain http is for this machine only."
            )
        if settings.webhook_secret is None:
            raise BrokerConfigError(
                "governance.webhook has no secret to sign with.",
                remedy=f"Set BROKERSYNC_WEBHOOK_SECRET or governance.webhook_secret. {_LIKE_THIS}",
            )
        return cls(url, tuple(_key(one) for one in settings.webhook_secret.replace(",", " ").split()))

    @property
    def host(self) -> str:
        """Which may be shown."""
        return host_of(self.url)

    async def send(self, notice: Notice, session: aiohttp.ClientSession, now: datetime) -> None:
        """One attempt. Raises `NotDeliveredError`."""
        import aiohttp  # whoever has a session has paid for it

        body, seconds = notice.body(), int(now.timestamp())
        headers = {
            "content-type": "application/json",
            "webhook-id": notice.notice_id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": " ".join(sign(key, notice.notice_id, seconds, body) for key in self._keys),
        }
        try:
            async with session.post(
                self.url,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=_SECONDS),
            ) as answer:
                status = answer.status
        except TimeoutError:
            raise NotDeliveredError(f"{self.host} did not answer within {_SECONDS} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NotDeliveredError(f"{self.host} can not be reached: {type(error).__name__}") from None
        if not 200 <= status < 300:
            raise NotDeliveredError(f"{self.host} answered HTTP {status}")


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or len(key) < _SHORTEST_KEY:
        raise BrokerConfigError(
            f"governance.webhook_secret is not {_PREFIX} and at least {_SHORTEST_KEY} bytes in base64.",
            remedy=_LIKE_THIS,
        )
    return key
