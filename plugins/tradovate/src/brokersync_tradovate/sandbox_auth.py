"""Logins of the simulated broker: tokens that expire, at most two sessions a user, and penalties for hasty clients."""

from __future__ import annotations

import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import attrs

from brokersync_tradovate.sandbox_logins import User
from brokersync_tradovate.sandbox_wire import Answer, Json, RefusedError, Row, answer, dump, error_text, stamp

TOKEN_LIFE = timedelta(minutes=80)
_SESSIONS_PER_USER = 2
_REMEMBERED = 60
_FAILED_LOGINS_AN_HOUR = 5
_RENEWALS_AN_HOUR = 15
_ACCESS_DENIED = Answer(401, "Access is denied", "text/plain")
_EXPIRED_TOKEN = Answer(401, "Expired Access Token", "text/plain")
_CLOSED_SESSION = Answer(408, "Request Timeout", "text/plain")


@attrs.define(eq=False)
class _Session:
    user: User
    tokens: dict[str, datetime] = attrs.Factory(dict)
    closed: bool = False
    dead: bool = False

    def lives(self, now: datetime) -> bool:
        return not self.closed and not self.dead and max(self.tokens.values()) > now


class Sessions:
    """Who is logged in. A login beyond the second closes the user's oldest session, whose tokens then answer 408."""

    def __init__(self, users: Sequence[User], now: Callable[[], datetime]) -> None:
        self.logins: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()
        self._users = {user.name: user for user in users}
        self._now = now
        self._by_token: dict[str, _Session] = {}
        self._open: dict[str, list[_Session]] = {}
        self._failures = _Window(_FAILED_LOGINS_AN_HOUR, now)
        self._renewals = _Window(_RENEWALS_AN_HOUR, now)

    def log_in(self, body: Mapping[str, object], remote: str) -> Answer:
        """The answer of accesstokenrequest; after five failures in an hour from one address it asks for a captcha."""
        if self._failures.is_full(remote):
            return penalty(captcha=True)
        user = self._users.get(str(body.get("name")))
        if user is None or body.get("password") != user.password:
            self._failures.note(remote)
            return error_text("Incorrect username or password. Please try again.")
        if body.get("cid") != user.cid or body.get("sec") != user.sec:
            self._failures.note(remote)
            return error_text("The app is not registered")
        return self._told(self.open(user))

    def open(self, user: User) -> str:
        """The token of a session that begins, for which the oldest of more than two ends."""
        self.logins[user.name] += 1
        session = _Session(user)
        alive = [other for other in self._open.get(user.name, ()) if other.lives(self._now())]
        for oldest in alive[: len(alive) - _SESSIONS_PER_USER + 1]:
            oldest.closed = True
            self.closed[user.name] += 1
        self._open[user.name] = [*alive[-_SESSIONS_PER_USER + 1 :], session]
        return self._new_token(session)

    def prolong(self, token: str) -> str:
        """Another token of the session, also of one whose time is over. Raises `RefusedError` for a closed one."""
        session = self._by_token[token]
        if session.closed:
            raise RefusedError(_CLOSED_SESSION)
        session.dead = False
        return self._new_token(session)

    def renew(self, token: str | None, remote: str) -> Answer:
        """The answer of renewaccesstoken; more than fifteen an hour from one address are penalised."""
        session = self._session(token)
        if self._renewals.is_full(remote):
            return penalty(seconds=15)
        self._renewals.note(remote)
        return self._told(self._new_token(session))

    def user(self, token: str | None) -> User:
        """Raises `RefusedError` as the broker answers: 401 without a valid token, 408 for a closed session."""
        return self._session(token).user

    def expire(self, token: str) -> None:
        """Ends the token's session as if its time had come."""
        if token in self._by_token:
            self._by_token[token].dead = True

    def close(self, token: str) -> None:
        """Ends the token's session as if another login had."""
        if token in self._by_token:
            self._by_token[token].closed = True

    def _session(self, token: str | None) -> _Session:
        session = self._by_token.get(token or "")
        if session is None or token is None:
            raise RefusedError(_ACCESS_DENIED)
        if session.closed:
            raise RefusedError(_CLOSED_SESSION)
        if session.dead or session.tokens[token] <= self._now():
            raise RefusedError(_EXPIRED_TOKEN)
        return session

    def _new_token(self, session: _Session) -> str:
        token = secrets.token_urlsafe(96)
        session.tokens[token] = self._now() + TOKEN_LIFE
        self._by_token[token] = session
        return token

    def _told(self, token: str) -> Answer:
        session = self._by_token[token]
        user = session.user
        row: Row = {
            "accessToken": token,
            "mdAccessToken": secrets.token_urlsafe(96),
            "expirationTime": stamp(session.tokens[token]),
            "passwordExpirationTime": stamp(self._now() + timedelta(days=365)),
            "userStatus": "Active",
            "userId": user.id,
            "name": user.name,
            "hasLive": user.environment == "live",
            "hasFunded": user.environment == "live",
            "hasMarketData": False,
            "outdatedTaC": False,
        }
        if user.organisation:
            row["orgName"] = user.organisation
        return answer(row)


class _Window:
    """A sliding hour, per address."""

    def __init__(self, limit: int, now: Callable[[], datetime]) -> None:
        self._limit = limit
        self._now = now
        self._times: dict[str, deque[datetime]] = {}

    def note(self, remote: str) -> None:
        self._times.setdefault(remote, deque()).append(self._now())

    def is_full(self, remote: str) -> bool:
        times = self._times.get(remote, deque())
        while times and times[0] <= self._now() - timedelta(hours=1):
            times.popleft()
        return len(times) >= self._limit


@attrs.frozen
class _Ticket:
    text: str
    seconds: int
    issued: datetime
    issued_monotonic: float


def penalty(ticket: str | None = None, seconds: int = 0, *, captcha: bool = False) -> Answer:
    return answer({"p-ticket": ticket or secrets.token_urlsafe(24), "p-time": seconds, "p-captcha": captcha})


class Penalties:
    """Penalty tickets. The wait is over when either the broker's clock or this machine's says so, because a client
    under test waits by one of them only."""

    def __init__(self, now: Callable[[], datetime], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._monotonic = monotonic
        self._tickets: dict[str, _Ticket] = {}

    def ticket(self, key: str, seconds: int = 1) -> Answer:
        """Penalises the request that `key` stands for."""
        ticket = _Ticket(secrets.token_urlsafe(24), seconds, self._now(), self._monotonic())
        self._tickets[key] = ticket
        return penalty(ticket.text, seconds)

    def check(self, key: str, body: Mapping[str, object]) -> Answer | None:
        """A new penalty for a penalised request that comes too early or, having a body, without its ticket.

        A minute after its time it is forgotten; how long the broker remembers is not documented.
        """
        ticket = self._tickets.get(key)
        if ticket is None:
            return None
        waited = max((self._now() - ticket.issued).total_seconds(), self._monotonic() - ticket.issued_monotonic)
        shown = body.get("p-ticket", None if body else ticket.text)
        if waited < ticket.seconds + _REMEMBERED and (waited < ticket.seconds or shown != ticket.text):
            return self.ticket(key, ticket.seconds)
        del self._tickets[key]
        return None


def penalty_key(remote: str, path: str, body: Mapping[str, Json]) -> str:
    """What makes two requests the same but for the ticket."""
    return f"{remote} {path} {dump({name: body[name] for name in sorted(body) if name != 'p-ticket'})}"
