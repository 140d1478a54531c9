"""Where a fleet's Redis is: one server, or a cluster of which the URL names one."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit, urlunsplit

LIKE_THIS: Final = (
    "redis://user:password@host:6379/0, rediss:// for TLS, redis+cluster:// or rediss+cluster:// for a cluster, "
    "or unix:///path/to/socket"
)
_CLUSTER: Final = "+cluster"


def is_redis_url(text: str) -> bool:
    """Whether it is understood."""
    try:
        url = urlsplit(text)
        host, _port = url.hostname, url.port
    except ValueError:
        return False
    if url.scheme == "unix":
        return bool(url.path)
    databases = "0" if is_cluster(text) else "[0-9]*"  # a cluster has only the first
    scheme = url.scheme.removesuffix(_CLUSTER)
    return scheme in ("redis", "rediss") and bool(host) and re.fullmatch(f"(/({databases})?)?", url.path) is not None


def is_cluster(url: str) -> bool:
    """Whether the server it names is one of a cluster."""
    return urlsplit(url).scheme.endswith(_CLUSTER)


def server_url(url: str) -> str:
    """The URL of the one server that it names, as clients of a server understand it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(scheme=parts.scheme.removesuffix(_CLUSTER)))
