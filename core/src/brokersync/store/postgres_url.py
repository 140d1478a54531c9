"""Where a store in Postgres is: its URL, which is a secret, and what may be shown of it."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import attrs

from brokersync.errors import BrokerConfigError
from brokersync.secret import Secret

_SCHEMES: Final = ("postgresql", "postgres")
# a scheme, which is longer than the letter of a drive; or a parameter of libpq
_NO_FILE: Final = re.compile(r"[a-z][a-z0-9+.-]+:|.*://|.*\b(host|hostaddr|dbname|user|password)\s*=", re.IGNORECASE)


@attrs.frozen
class PostgresUrl:
    """A URL as libpq knows it, but for `schema`, which is ours. `shown` names server and database alone."""

    dsn: Secret
    shown: str
    schema: str | None

    @classmethod
    def parse(cls, url: str | Secret) -> PostgresUrl:
        """Raises `BrokerConfigError`, which never shows the URL."""
        try:
            parts = urlsplit(url.reveal() if isinstance(url, Secret) else url)
            options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
            host, port = parts.hostname or options.get("host") or "the local server", parts.port
        except ValueError:
            raise _not_understood() from None
        if parts.scheme not in _SCHEMES:
            raise _not_understood()
        schema = options.pop("schema", None)
        dsn = urlunsplit(parts._replace(query=urlencode(options)))
        name = parts.path.strip("/") or options.get("dbname") or "its default database"
        return cls(dsn=Secret(dsn), shown=f"{name} on {host}{f':{port}' if port else ''}", schema=schema)


def is_url(place: object) -> bool:
    """Whether a store's place is a URL rather than a file; of another kind than Postgres it is refused when parsed.

    So is what can only be a mistyped one, or libpq's `host=... password=...`: as a file's name it would be shown.
    """
    return isinstance(place, str) and _NO_FILE.match(place) is not None


def _not_understood() -> BrokerConfigError:
    return BrokerConfigError(
        "The URL of the store is not understood.",
        remedy="Write it like postgresql://user@host:5432/database?schema=brokersync, or name a file.",
    )
