"""What of a request is kept: the words of the plugin's own code, what answers told before, and times."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote

from brokersync.testing.recording.bodies import Number, rewritten
from brokersync.testing.recording.kinds import Kinds, is_date_of_now, is_moment, words_of
from brokersync.testing.recording.recording import ANYTHING
from brokersync.testing.recording.substitutes import Substitutes, tokens_of

# different each time, whatever it looks like
_MADE_UP: Final = frozenset(
    {"nonce", "signature", "sig", "sign", "timestamp", "ts", "recvwindow"}
    | {"password", "secret", "token", "passphrase", "authorization", "cookie"}
)
# of the way and not of the request
_NOISE: Final = frozenset(
    {"accept", "accept-encoding", "connection", "content-length", "content-type", "host", "user-agent"}
)


class AskedWith:
    """Requests as they are recorded: whatever is neither known to be harmless nor replaced stands as `ANYTHING`.

    `fields` are what the login was made with, `told` the words and numbers of answers that are kept.
    """

    def __init__(
        self,
        substitutes: Substitutes,
        kinds: Kinds,
        secrets: Sequence[str],
        fields: Iterable[str],
        told: Collection[str],
    ) -> None:
        self._substitutes, self._secrets = substitutes, secrets
        self._words = kinds.vocabulary
        self._tokens = frozenset(token for text in self._words for token in tokens_of(text)) | frozenset(told)
        self._fields = frozenset(fields)

    def path(self, path: str) -> str:
        """A path, segment by segment."""
        return "/".join(quote(self.value("", unquote(segment)), safe="*:,;=@+") for segment in path.split("/"))

    def pairs(self, query: str) -> Iterator[tuple[str, str]]:
        """The names and values of a query."""
        for name, value in parse_qsl(query, keep_blank_values=True):
            yield name, self.value(name, value)

    def address(self, rest: str) -> str:
        """What follows the base URL in a link that an answer holds."""
        path, mark, query = rest.partition("?")
        shown = "&".join(f"{name}={quote(value, safe='*')}" for name, value in self.pairs(query))
        return self.path(path) + (f"?{shown}" if mark else "")

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Those that say something to this broker."""
        return {name: self.value(name, value) for name, value in headers.items() if name.lower() not in _NOISE}

    def body(self, body: str, body_type: str) -> str:
        """A body of JSON or a form."""
        if not body:
            return ""
        if body_type == "application/json":
            return json.dumps(self._inside("", json.loads(body, parse_float=Number, parse_int=Number)))
        return rewritten(body, lambda place, value: self.value(place.name, value), (), body_type) or ANYTHING

    def value(self, name: str, value: str) -> str:
        """A value of that name as it is recorded."""
        if any(secret in value for secret in self._secrets) or words_of(name) & _MADE_UP:
            return ANYTHING
        tokens = tokens_of(value)
        learned = [token for token in tokens if self._substitutes.knows(token)]
        if value in self._fields and learned:
            return self._substitutes.of(value)
        if not tokens or is_moment(value) or (not learned and is_date_of_now(value)):
            return value
        if value in self._words and not any(token.isdigit() for token in learned):
            return value
        if all(token in self._tokens or self._substitutes.knows(token) for token in tokens):
            return self._substitutes.replaced(value, self._is_told)
        return ANYTHING

    def _is_told(self, token: str) -> bool:
        return token.isdigit() or token not in self._tokens

    def _inside(self, name: str, value: Any) -> Any:
        if isinstance(value, dict):
            named = str(value.get("name", ""))
            return {key: self._inside(named if key == "value" and named else key, one) for key, one in value.items()}
        if isinstance(value, list):
            return [self._inside(name, one) for one in value]
        if not isinstance(value, str):
            return value
        kept = self.value(name, value)
        return int(kept) if isinstance(value, Number) and kept.lstrip("-").isdigit() else kept
