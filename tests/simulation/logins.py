"""The broker's side of logins: tokens that end, refresh tokens of one use, and what each renewal was good for."""

from __future__ import annotations

import contextvars
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import attrs

from .loop import Process, VirtualLoop
from .shape import Shape

# a token this near to its end may be renewed; the rest of two minutes and a half is for clocks that differ
_NEAR: Final = timedelta(seconds=150)

BY_THE_USER: contextvars.ContextVar[bool] = contextvars.ContextVar("by the user", default=False)


class RefusedError(Exception):
    """The login, token or refresh token is none that the broker knows, or no longer."""


@attrs.define(eq=False)
class Renewal:
    """One answer to a refresh or a login: when, to which process, and whether it got there."""

    at: datetime
    process: Process | None
    lost: bool = False
    by_the_user: bool = False


@attrs.define(eq=False)
class Pair:
    """An access token and the refresh token that came with it."""

    identity: str
    access: str
    refresh: str
    expires_at: datetime
    parent: Pair | None
    before: Pair | None
    made_by: Renewal
    used: bool = False
    dead: bool = False
    spent: bool = False
    refused: bool = False
    renewals: list[Renewal] = attrs.field(factory=list)
    children: list[Pair] = attrs.field(factory=list)


class Logins:
    """Users, their passwords and tokens.

    A refresh token is for one use, with a grace: the old one works until a token that came of it is first used. Then it
    is dead, and so is every other pair that came of it.
    """

    def __init__(self, shape: Shape, loop: VirtualLoop) -> None:
        self._shape, self._loop = shape, loop
        self._passwords: dict[str, str] = {}
        self._pairs: dict[str, Pair] = {}
        self._latest: dict[str, Pair] = {}
        self._made = 0
        self.revoked: set[str] = set()
        self.ended: set[str] = set()
        self.restored: dict[str, datetime] = {}
        self.needless: list[str] = []
        self.renewed = 0

    def password(self, identity: str) -> str:
        """What the user has to give at this moment; with refresh tokens it is a code for one login."""
        return self._passwords.setdefault(identity, self._new("word"))

    def revoke(self, identity: str) -> None:
        """The user, or the broker, ends every session and asks for a new login."""
        self.revoked.add(identity)
        self.ended.add(identity)
        self._passwords.pop(identity, None)
        for pair in self._pairs.values():
            if pair.identity == identity:
                pair.dead = pair.spent = True

    def restore(self, identity: str) -> None:
        """The user's new login has reached us."""
        self.revoked.discard(identity)
        self.restored[identity] = self._loop.now()

    def log_in(self, identity: str, password: str, process: Process | None, *, lost: bool, by_the_user: bool) -> Pair:
        if self._passwords.get(identity) != password:
            raise RefusedError(f"the password of {identity}")
        if self._shape.refresh != "none":
            del self._passwords[identity]
        renewal = Renewal(self._loop.now(), process, lost, by_the_user)
        if not by_the_user:
            self._count(self._may_be_known(identity, renewal), renewal)
        return self._issue(identity, None, renewal, self._new("refresh"))

    def refresh(self, token: str, process: Process | None, *, lost: bool) -> Pair:
        pair = self._pairs.get(token)
        renewal = Renewal(self._loop.now(), process, lost)
        if pair is None or pair.spent:
            if pair is not None and pair.identity not in self.revoked and not _may_renew(pair, renewal):
                self._tell_of_another(pair, renewal)
            raise RefusedError("the refresh token")
        if self._shape.refresh == "rotating":
            self._count([pair], renewal)
            return self._issue(pair.identity, pair, renewal, self._new("refresh"))
        self._count(self._may_be_known(pair.identity, renewal), renewal)
        return self._issue(pair.identity, pair, renewal, token)

    def check(self, access: str | None) -> str:
        """Whose token it is; its first use ends the grace of the one before. Raises `RefusedError`."""
        pair = self._pairs.get(access or "")
        if pair is None or pair.dead or pair.expires_at <= self._loop.now():
            raise RefusedError("the access token")
        if not pair.used:
            pair.used = True
            if pair.parent is not None and self._shape.refresh == "rotating":
                pair.parent.spent = True
                for sibling in pair.parent.children:
                    if sibling is not pair:
                        sibling.dead = sibling.spent = True
        return pair.identity

    def refuse(self, access: str | None) -> None:
        """Answer 401 this once, though the token is good."""
        pair = self._pairs.get(access or "")
        if pair is not None:
            pair.refused = True

    def _may_be_known(self, identity: str, renewal: Renewal) -> list[Pair]:
        """The pairs of which whoever renews may know one as the last.

        That is the last, and those before it as long as nobody may have kept it, or it was made while the one who
        renews stood still; and a user's login of any time that was put in the place of a newer one by a process that
        stood still.
        """
        found: list[Pair] = []
        pair, is_stored = self._latest.get(identity), False
        while pair is not None:
            made = pair.made_by
            if not is_stored or (made.by_the_user and _stood_still(made, since=made.at)):
                found.append(pair)
            kept = not made.by_the_user and (pair.used or not _excused(made))
            is_stored = is_stored or (kept and not _stood_still(renewal, since=made.at))
            pair = pair.before
        return found

    def _issue(self, identity: str, parent: Pair | None, made_by: Renewal, refresh: str) -> Pair:
        expires_at = self._loop.now() + self._shape.token_lasts
        before = self._latest.get(identity)
        pair = Pair(identity, self._new("access"), refresh, expires_at, parent, before, made_by)
        if parent is not None:
            parent.children.append(pair)
        self._pairs[pair.access] = self._latest[identity] = pair
        self._pairs.setdefault(refresh, pair)
        return pair

    def _count(self, pairs: Sequence[Pair], renewal: Renewal) -> None:
        """One renewal per expiry, and one more for each answer that a process can not have kept."""
        self.renewed += 1
        due = [pair for pair in pairs if pair.refused or pair.dead or pair.expires_at - renewal.at <= _NEAR]
        if not due:
            early = min(pair.expires_at for pair in pairs) - renewal.at
            self.needless.append(f"{pairs[0].identity}: renewed at {renewal.at:%d %H:%M:%S}, {early} too early")
        elif not any(_may_renew(pair, renewal) for pair in due):
            self._tell_of_another(due[0], renewal)
        for pair in due:
            pair.renewals.append(renewal)

    def _tell_of_another(self, pair: Pair, renewal: Renewal) -> None:
        self.needless.append(f"{pair.identity}: renewed at {renewal.at:%d %H:%M:%S} though it had been")

    def _new(self, kind: str) -> str:
        self._made += 1
        return f"{kind}-{self._made}"


def _may_renew(pair: Pair, renewal: Renewal) -> bool:
    """Whether nobody has renewed it, or the one who did can not have kept the answer."""
    if not pair.renewals or _excused(pair.renewals[-1]):
        return True
    return _stood_still(renewal, since=pair.renewals[-1].at)


def _stood_still(renewal: Renewal, *, since: datetime) -> bool:
    """Whether it may have been decided before then: whoever stands still sends afterwards, when another took over."""
    return renewal.process is not None and renewal.process.stopped_since(since - _NEAR)


def _excused(before: Renewal) -> bool:
    process = before.process
    return before.lost or process is None or not process.alive or process.stopped_since(before.at)
