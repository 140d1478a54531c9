"""What a renewal's answer says of tokens, and what core keeps of it."""

from __future__ import annotations

import base64
from collections.abc import Collection

import attrs

from brokersync.secret import Secret
from brokersync.testing.answers import take_apart
from brokersync.testing.contract.stage import Stage
from brokersync.testing.fault_server import Sent
from brokersync.testing.faults import Answered
from brokersync.types import AuthResult


def is_given_by_user(authorization: str, fields: Collection[str]) -> bool:
    """Whether what a request is let in by is what the user gave, which no new login replaces: in HTTP Basic, too."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            name, _, password = base64.b64decode(token, validate=True).decode().partition(":")
        except ValueError:
            return False
        token = password or name  # a key alone is sent as the name
    return token in fields


def names_another(body: bytes, auth: AuthResult, fresh: AuthResult) -> bool:
    """Whether a renewal's answer names a refresh token that nobody was given."""
    given = {one.reveal() for one in (fresh.access_token, auth.refresh_token, *fresh.secrets.values()) if one}
    told = take_apart(body)
    return any(
        "refresh" in name.lower() and isinstance(value, str) and value not in given
        for one in (() if told is None else told.objects)
        for name, value in one.items()
    )


def names_in_last_answer(stage: Stage, token: Secret | None) -> frozenset[str]:
    """What the last answer calls this token, in whichever of its objects."""
    answer = stage.server.exchanges[-1].answered
    told = None if answer is None or token is None else take_apart(answer.body)
    if told is None or token is None:
        return frozenset()
    return frozenset(name for one in told.objects for name, value in one.items() if value == token.reveal())


@attrs.define
class Without:
    """Answers without what is called so; `left_out` counts what was taken out of them."""

    names: frozenset[str]
    left_out: int = 0

    def __call__(self, _: Sent, given: Answered) -> Answered:
        told = take_apart(given.body)
        for one in () if told is None else told.objects:
            for name in self.names & {*one}:
                del one[name]
                self.left_out += 1
        return given if told is None or not self.left_out else attrs.evolve(given, body=told.dump())
