"""Values to the text that a store keeps, and back."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from brokersync.converter import from_json, to_json
from brokersync.records import OpenRequest, PageCommit, Span


def compact(value: Any) -> str:
    return json.dumps(to_json(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def sortable(moment: datetime) -> str:
    """UTC with six digits of a second, so that text sorts as time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def optional_text(moment: datetime | None) -> str | None:
    return None if moment is None else sortable(moment)


def made_at(page: PageCommit) -> str | None:
    """When the broker made a page; a service that does not say so has made its answer now."""
    return optional_text(page.as_of) or (None if page.connection_id is None else sortable(page.at))


def optional_moment(text: str | None) -> datetime | None:
    return None if text is None else from_json(text, datetime)


def request_text(request: OpenRequest) -> str:
    """A place that is no good without its counts is out of sight of a release that knows none: it begins anew."""
    told = to_json(request)
    counts = told.pop("counts")
    if counts:
        told["counted"] = {"cursor": told["cursor"], "resume_at": told["resume_at"], "counts": counts}
        told |= {"cursor": None, "resume_at": None}
    return compact(told)


def load_request(text: str) -> OpenRequest:
    told = json.loads(text)
    return from_json(told | told.pop("counted", {}), OpenRequest)


def load_span(starts: str, ends: str, state: str) -> Span:
    return from_json({"window": {"start": starts, "end": ends}, "state": state}, Span)


def pack_raw(raw: Mapping[str, Any]) -> bytes:
    return zlib.compress(compact(raw).encode(), 3)


def unpack_raw(data: bytes) -> Any:
    return json.loads(zlib.decompress(data))
