"""Signs each attempt at a request anew: a signature is good once, and only for a while."""

from __future__ import annotations

import hmac
import json
import secrets
from datetime import timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode, urlsplit

from brokersync.plugin import (
    AuthResult,
    BrokerConfigError,
    BrokerError,
    BrokerResponseError,
    HttpResponse,
    ProviderContext,
    RequestDraft,
)

SECRET = "api_secret"
_MILLISECOND = timedelta(milliseconds=1)
# what is further away is no time
_FARTHEST = timedelta(days=1)


# FILL IN: what the broker's signature is made of, in which order, and the headers that it stands in
class Signer:
    """HMAC-SHA256 over time, nonce, method, path, query and body, by the broker's clock.

    This broker signs the parameters in their order by name, whatever the order in which they come. One that signs the
    address as it was sent is given `draft.target`, which is that byte for byte.

    How far that is ahead of this machine's is learned from a refusal, and holds for every login.
    """

    def __init__(self, context: ProviderContext) -> None:
        self._clock = context.clock
        self._ahead = timedelta(0)

    def prepare(self, draft: RequestDraft, previous: BrokerError | None) -> None:
        """Adds key, time, nonce and signature to an attempt."""
        auth = draft.auth
        if auth is None or auth.access_token is None or SECRET not in auth.secrets:
            raise BrokerConfigError("There is no key to sign with.", remedy="Connect again.")
        at = str(int((self._clock.now() + self._ahead).timestamp() * 1000))
        nonce = secrets.token_hex(16)
        draft.headers |= {
            "X-Key": auth.access_token.reveal(),
            "X-Timestamp": at,
            "X-Nonce": nonce,
            "X-Signature": _signature(auth, at, nonce, draft),
        }

    def check_clock(self, response: HttpResponse) -> None:
        """Notes the broker's time where it refuses ours; core then makes another attempt."""
        told = _object(response).get("serverTime")
        if isinstance(told, int):
            ahead = told - int(self._clock.now().timestamp() * 1000)
            if abs(ahead) < _FARTHEST / _MILLISECOND:
                self._ahead = ahead * _MILLISECOND


def _signature(auth: AuthResult, at: str, nonce: str, draft: RequestDraft) -> str:
    parts = (
        at,
        nonce,
        draft.method.upper(),
        urlsplit(draft.url).path,
        urlencode(sorted(draft.params.items())),
        sha256(_body(draft)).hexdigest(),
    )
    secret = auth.secrets[SECRET].reveal().encode()
    return hmac.new(secret, "\n".join(parts).encode(), sha256).hexdigest()


def _body(draft: RequestDraft) -> bytes:
    """The body as core sends it: JSON as `json.dumps` writes it, or a form."""
    if draft.json is not None:
        return json.dumps(draft.json).encode()
    return urlencode(draft.form).encode() if draft.form else b""


def _object(response: HttpResponse) -> dict[str, Any]:
    try:
        body: Any = response.json()
    except BrokerResponseError:
        return {}
    return body if isinstance(body, dict) else {}
