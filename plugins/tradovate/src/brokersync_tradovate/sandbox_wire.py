"""What the simulated broker writes on the wire: exact JSON, times and answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TypeAlias

import attrs
from aiohttp import web

Json: TypeAlias = "bool | int | str | Decimal | Mapping[str, Json] | Sequence[Json] | None"
Row: TypeAlias = "dict[str, Json]"


@attrs.frozen
class Answer:
    status: int = 200
    text: str = ""
    content_type: str = "application/json"


class RefusedError(Exception):
    """An answer that ends the handling of a request."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


NOT_FOUND = Answer(404)
MALFORMED = Answer(400, "Bad Request", "text/plain")


def response_of(given: Answer) -> web.Response:
    return web.Response(status=given.status, text=given.text, content_type=given.content_type)


def answer(value: Json) -> Answer:
    return Answer(text=dump(value))


def error_text(text: str) -> Answer:
    """A business error, which this broker sends with status 200."""
    return answer({"errorText": text})


def dump(value: Json) -> str:
    """JSON in which a `Decimal` is a number with just its own digits."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(key)}:{dump(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(dump(item) for item in value) + "]"
    return json.dumps(value)


def load_object(text: str) -> Row:
    """The JSON object in the text, an empty text being an empty one. Raises `RefusedError` for anything else."""
    try:
        value = json.loads(text, parse_float=Decimal) if text.strip() else {}
    except ValueError:
        raise RefusedError(MALFORMED) from None
    if not isinstance(value, dict):
        raise RefusedError(MALFORMED)
    return value


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def calendar_day(day: date) -> Row:
    return {"year": day.year, "month": day.month, "day": day.day}
