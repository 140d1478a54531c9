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
# FILL IN: the headers that key, time, nonce and signature stand in
KEY_HEADER, TIME_HEADER, NONCE_HEADER, SIGNATURE_HEADER = "X-Key", "X-Timestamp", "X-Nonce", "X-Signature"
_MILLISECOND = timedelta(milliseconds=1)
# what is further away is no time
_FARTHEST = timedelta(days=1)


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
            KEY_HEADER: auth.access_token.reveal(),
            TIME_HEADER: at,
            NONCE_HEADER: nonce,
            SIGNATURE_HEADER: _signature(auth, at, nonce, draft),
        }

    # FILL IN: where the broker tells its time when it refuses ours; one that never tells it has no such method
    def check_clock(self, response: HttpResponse) -> None:
        """Notes the broker's time where it refuses ours; core then makes another attempt."""
        told = _object(response).get("serverTime")
        if isinstance(told, int):
            ahead = told - int(self._clock.now().timestamp() * 1000)
            if abs(ahead) < _FARTHEST / _MILLISECOND:
                self._ahead = ahead * _MILLISECOND


# FILL IN: what the broker's signature is made of, and in which order
def _signature(auth: AuthResult, at: str, nonce: str, draft: RequestDraft) -> str:
    parts = (
        at,
        nonce,
        draft.method.upper(),
        urlsplit(draft.url).path,
        urlencode(sorted(draft.params.items())),
        sha256(_body(draft)).hexdigest(),
    )
    # one that is in no form of the broker's is signed with as it is: refusing it is the broker's part
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
