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
class Asked:
    """A request on its way: who sent it, whether a user stands behind it, and whether its answer gets lost.

    It is lost, too, when nobody waits for it any more.
    """

    what: str
    access: str | None
    process: Process | None
    by_the_user: bool
    lost: bool = False


@attrs.define(eq=False)
class Renewal:
    """One answer to a refresh or a login: when, and to whom.

    `settled_at` is when a user's login had come to its end; until then it may be stored, or may already be.
    """

    at: datetime
    asked: Asked
    settled_at: datetime | None = None

    @property
    def process(self) -> Process | None:
        return self.asked.process

    @property
    def by_the_user(self) -> bool:
        return self.asked.by_the_user


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
        """The user's new login has reached us; one that was ended on its way helps nobody."""
        if not self._latest[identity].dead:
            self.revoked.discard(identity)
            self.restored[identity] = self._loop.now()

    def settle(self, identity: str, process: Process | None) -> None:
        """A user's login is over: it is stored, or never will be."""
        pair = self._latest.get(identity)
        while pair is not None:
            made = pair.made_by
            if made.by_the_user and made.process is process and made.settled_at is None:
                made.settled_at = self._loop.now()
            pair = pair.before

    def log_in(self, identity: str, password: str, asked: Asked) -> Pair:
        if self._passwords.get(identity) != password:
            raise RefusedError(f"the password of {identity}")
        if self._shape.refresh != "none":
            del self._passwords[identity]
        renewal = Renewal(self._loop.now(), asked)
        if not asked.by_the_user:
            self._count(self._may_be_known(identity, renewal), renewal)
        return self._issue(identity, None, renewal, self._new("refresh"))

    def refresh(self, token: str, asked: Asked) -> Pair:
        pair = self._pairs.get(token)
        renewal = Renewal(self._loop.now(), asked)
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

        That is the last, those before it as long as nobody may have kept it or it was made while the one who renews
        stood still, and a user's login that may have been put in the place of a newer one.
        """
        found: list[Pair] = []
        pair, kept = self._latest.get(identity), None
        while pair is not None:
            made = pair.made_by
            if kept is None or _may_replace(made, kept):
                found.append(pair)
            is_kept = not made.by_the_user and (pair.used or not _excused(made))
            if kept is None and is_kept and not _stood_still(renewal, since=made.at):
                kept = made
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


def _may_replace(login: Renewal, kept: Renewal) -> bool:
    """Whether a user's login may have been stored after another renewal had read what was there, or its answer."""
    if not login.by_the_user:
        return False
    if login.settled_at is None or login.settled_at >= kept.at - _NEAR:
        return True
    return _stood_still(kept, since=login.settled_at)


def _excused(before: Renewal) -> bool:
    process = before.process
    return before.asked.lost or process is None or not process.alive or process.stopped_since(before.at)
