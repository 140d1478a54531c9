"""Whether a request is one that the published description allows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .table import OPERATIONS, names

_NUMBER = re.compile(r"\d{1,19}")
_IDS = re.compile(r"\d{1,19}(,\d{1,19})*")
_OPEN = {"/auth/accesstokenrequest"}


def violations(
    method: str, path: str, query: Mapping[str, str], body: str, headers: Mapping[str, str]
) -> Iterator[str]:
    """What is wrong with a request, none of it its content."""
    operation = OPERATIONS.get((method, path.lower()))
    if operation is None:
        yield f"{method} {path} is not published"
        return
    if path.lower() not in _OPEN and not headers.get("Authorization", "").startswith("Bearer "):
        yield f"{path} without a bearer token"
    if query.keys() != operation.query.keys():
        yield f"{path} takes {sorted(operation.query)} and was given {sorted(query)}"
    if "ids" in query and not _IDS.fullmatch(query["ids"]):
        yield f"{path} takes whole numbers as ids"
    if operation.body is None:
        if body:
            yield f"{path} takes no body"
        return
    if not headers.get("Content-Type", "").startswith("application/json"):
        yield f"{path} takes JSON"
    yield from _of_shape(operation.body, json.loads(body))


def _of_shape(shape: str, given: Mapping[str, Any]) -> Iterator[str]:
    known = {one.name: one for one in names(shape)}
    yield from (f"{shape} has no {name}" for name in given.keys() - known.keys())
    for one in known.values():
        if one.name not in given:
            if one.required:
                yield f"{shape} needs {one.name}"
        elif not any(_is(kind, given[one.name]) for kind in one.kind.split("|")):
            yield f"{shape}.{one.name} is no {one.kind}"


def _is(kind: str, value: Any) -> bool:
    return {
        "str": isinstance(value, str),
        "bool": isinstance(value, bool),
        "i64": isinstance(value, int) and not isinstance(value, bool),
    }[kind]
