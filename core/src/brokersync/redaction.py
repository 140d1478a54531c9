"""Keeping secrets out of what is shown."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable
from typing import Final, final
from urllib.parse import quote, quote_plus, unquote_plus, urlsplit

MASK: Final = "***"

_SHORTEST_IN_BASE64 = 4
_PATH_PARAMETER = re.compile(r";([^=/;]*)=[^/;]*")
_ESCAPE = re.compile(r"%[0-9A-F]{2}")


@final
class Redactor:
    """Replaces secret values in text, also where they are quoted, escaped or in base64; overlapping ones entirely."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if secret.strip("*") for form in _forms(secret)}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        # A lookahead finds a form at every position, so that overlapping ones are all seen.
        self._pattern = re.compile(f"(?=({'|'.join(map(re.escape, longest_first))}))") if forms else None

    def __call__(self, text: str) -> str:
        """The text without any of the secrets."""
        if self._pattern is None:
            return text
        while spans := self._spans(text):  # a mask may stand where it completes another secret
            for start, end in reversed(spans):
                text = text[:start] + MASK + text[end:]
        return text

    def _spans(self, text: str) -> list[tuple[int, int]]:
        if self._pattern is None:
            return []
        spans: list[tuple[int, int]] = []
        for found in self._pattern.finditer(text):
            start, end = found.span(1)
            if spans and start < spans[-1][1]:
                spans[-1] = spans[-1][0], max(spans[-1][1], end)
            else:
                spans.append((start, end))
        return spans


def redact_text(text: str, secrets: Iterable[str]) -> str:
    """The text without any of the secrets, in whatever form they stand there; see `Redactor`."""
    return Redactor(secrets)(text)


def shows(text: str, secret: str) -> bool:
    """Whether the secret stands in a text, in whatever form; see `Redactor`."""
    return any(form in text for form in _forms(secret))


def redact_url(url: str, secret_values: Iterable[str] = (), *, params: Iterable[str] = ()) -> str:
    """The address as it may be shown: of a query only the names, nothing of user, password and fragment.

    `params` names what will be added to the query.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "(not an address)"
    shown_host = f"[{host}]" if ":" in host else host
    authority = shown_host if port is None else f"{shown_host}:{port}"
    path = _PATH_PARAMETER.sub(rf";\1={MASK}", parts.path)
    address = f"{parts.scheme}://{authority}{path}" if parts.scheme or authority else path
    names = [_name(pair) for pair in parts.query.split("&") if pair] + [f"{name}={MASK}" for name in params]
    shown = address + ("?" + "&".join(names) if names else "")
    plain = unquote_plus(shown)
    standing = [value for value in secret_values if value in shown or value in plain]
    return redact_text(shown, standing) if standing else shown  # for every request, so what is not there costs little


def _name(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    return f"{name}={MASK}" if equals else MASK  # without a name the word may be the secret itself


def _forms(secret: str) -> Iterable[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    quoted = {quote(raw, safe=""), quote(raw), quote_plus(raw), quote_plus(raw, safe="/")}
    yield secret
    yield from quoted
    yield from (_ESCAPE.sub(lambda escape: escape[0].lower(), form) for form in quoted)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield html.escape(secret)
    yield html.escape(secret, quote=False)
    yield from _base64_forms(raw)


def _base64_forms(secret: bytes) -> Iterable[str]:
    """The secret inside base64 of anything, such as `user:password`: at each of the three alignments.

    The characters it shares with its neighbours are known only where it ends the text.
    """
    for before in range(3):
        whole = base64.b64encode(bytes(before) + secret).decode()
        first, last = -(-8 * before // 6), 8 * (before + len(secret)) // 6
        for form in (whole[first:], whole[first:].rstrip("="), whole[first:last]):
            if len(form.rstrip("=")) >= _SHORTEST_IN_BASE64:
                yield form
                yield form.replace("+", "-").replace("/", "_")
