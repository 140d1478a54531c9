"""A secret to log in to a replay with: nobody's, and of the shape that a plugin asks of one before it signs with it."""

from __future__ import annotations

import re
from base64 import b32decode, b32encode, b64decode, b64encode
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Final

_HEX: Final = re.compile(r"(?:[0-9a-f]{8,}|[0-9A-F]{8,})|(?:[0-9a-fA-F]{4,}-){2,}[0-9a-fA-F]{4,}")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
_BASE32: Final = re.compile(r"[A-Z2-7]{16,}={0,6}")
# as long as what one group of signs holds, so that it repeats itself and does not look drawn by chance
_BLOCK_OF_64, _BLOCK_OF_32 = b"not", b"false"


def made_secret(name: str, secret: str, pattern: str | None = None) -> str:
    """Readable where that will do; hexadecimal digits, UUIDs, base64 and base32 stay such, of as many bytes.

    One that has to have another form, by the `pattern` of its field, is made of nines and letters z.
    """
    for one in _made(name, secret):
        if one != secret and (pattern is None or re.fullmatch(pattern, one)):
            return one
    return re.sub(r"[A-Z]", "Z", re.sub(r"[a-z]", "z", re.sub(r"[0-9]", "9", secret)))


def _made(name: str, secret: str) -> Iterator[str]:
    if _HEX.fullmatch(secret):
        yield _filled(secret, "90" if secret.isdigit() else "f00d")
    elif _BASE32.fullmatch(secret) and len(secret) % 8 == 0 and any(map(str.isdigit, secret)):
        yield b32encode(_bytes(_BLOCK_OF_32, len(b32decode(secret)))).decode()
    elif _is_base64(secret):
        urlsafe = "-" in secret or "_" in secret
        plain = b64encode(_bytes(_BLOCK_OF_64, len(_decoded(secret)))).decode()
        made = plain.replace("+", "-").replace("/", "_") if urlsafe else plain
        yield made if secret.endswith("=") or len(secret) % 4 == 0 else made.rstrip("=")
    yield f"not-the-real-{name.replace('_', '-')}"


def _is_base64(secret: str) -> bool:
    """A password of letters alone could be one as well, and is not."""
    mixed = [any(map(test, secret)) for test in (str.islower, str.isupper, str.isdigit)]
    if not _BASE64.fullmatch(secret) or not (all(mixed) or secret.endswith("=")) or len(secret.rstrip("=")) % 4 == 1:
        return False
    return not secret.endswith("=") or len(secret) % 4 == 0


def _decoded(secret: str) -> bytes:
    text = secret.rstrip("=")
    return b64decode(text + "=" * (-len(text) % 4), altchars=b"-_" if "-" in text or "_" in text else None)


def _bytes(block: bytes, count: int) -> bytes:
    return bytes(islice(cycle(block), count))


def _filled(secret: str, digits: str) -> str:
    """Its digits replaced, and what stands between them kept."""
    drawn = cycle(digits.upper() if secret.isupper() else digits)
    return "".join(one if one == "-" else next(drawn) for one in secret)
