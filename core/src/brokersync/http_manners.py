"""The manners of every call to a broker: limit, try, freeze, renew, wait and try again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Protocol, TypeVar, final

from brokersync.config import RetrySettings
from brokersync.errors import (
    BrokerAuthError,
    BrokerConfigError,
    BrokerError,
    BrokerRateLimitError,
    BrokerRetryableError,
    BrokerTokenExpiredError,
    LimitScope,
)
from brokersync.events import Event, EventSink, LimitWaited, RequestSent, RetryScheduled, ScopeFrozen, ScopeThawed
from brokersync.http_classify import Failed
from brokersync.limits import LimitKind, RateLimit
from brokersync.provider import Clock
from brokersync.ratelimit import Left, LimitedCall, Limiter, Pass, Penalty, Refusal
from brokersync.ratelimit.refusal import WHOLE
from brokersync.retry import Patience, may_repeat

R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")

_TOO_MANY = 429
_MOST_OF_A_LOGIN = 100
# between a call's place and its first byte: a login may be renewed then
_SLACK = timedelta(minutes=1)


class Work(Protocol[R_co]):
    """One call, attempt by attempt; `url`, `status` and what is `left` are of the attempt made last."""

    operation: str
    scopes: Mapping[LimitScope, str]
    weight: int
    repeatable: bool
    lasts: timedelta
    url: str
    status: int | None
    left: Sequence[Left]

    async def log_in(self) -> None:
        """Have a login that is valid now; that may take calls of its own."""

    async def ready(self, previous: BrokerError | None) -> None:
        """Make the next attempt ready; an error here ends the call."""

    async def send(self, passed: Pass) -> R_co:
        """Make the attempt, and tell its pass when it leaves. Raises `Failed`."""

    async def renew(self) -> bool:
        """Get a new login for the next attempt; `False` when there is none to be had here."""


@final
class Manners:
    """What all calls of one connection have in common; see `Http` and the errors for what each failure leads to."""

    def __init__(
        self,
        *,
        provider: str,
        connection_id: str,
        limits: Sequence[RateLimit],
        limiter: Limiter,
        clock: Clock,
        events: EventSink,
        retry: RetrySettings,
        long_wait: timedelta,
        page_wait: timedelta,
        random: Callable[[], float],
        pressing: bool = False,
    ) -> None:
        self._provider, self._connection_id = provider, connection_id
        self._limits, self._limiter = limits, limiter
        self._clock, self._events = clock, events
        self._retry, self._random = retry, random
        self._long_wait, self._page_wait = long_wait, page_wait
        self._pressing = pressing
        self._page_began: float | None = None
        self._of_login: deque[tuple[str, int, str]] | None = None
        self._capped = any(one.kind is LimitKind.CONCURRENCY for one in limits)

    async def run(self, work: Work[R]) -> R:
        """The answer of the first attempt that succeeds. Raises the error of the last."""
        patience = Patience(self._retry, self._clock, self._random)
        previous: BrokerError | None = None
        renewed = False
        attempt = 0
        while True:
            if self._capped:
                await work.log_in()  # which may need the room that this call would take
            call = self._limited(work)
            passed = await self._limiter.acquire(
                call, longest=self._longest_wait, on_wait=partial(self._on_wait, work.operation, attempt + 1)
            )
            self._note(work)
            try:
                await work.ready(previous)
                attempt += 1
                sent_at = self._clock.monotonic()
                answer = await self._attempt(work, passed, attempt)
            except Failed as failure:
                failed = failure
            else:
                await passed.forgive()
                await self._thaw(call, sent_at)
                if self._page_began is None:
                    self._page_began = self._clock.monotonic()
                return answer
            finally:
                await passed.done()
                for left in work.left:
                    await self._limiter.correct(call, left)
            previous = failed.error
            await self._freeze(work, call, failed)
            if isinstance(previous, BrokerTokenExpiredError):
                if renewed:
                    raise _refused_again(previous)
                renewed = await work.renew()
                if not renewed:
                    raise previous
            else:
                await self._pause(work, failed, patience, attempt)

    def kept(self) -> None:
        """What came until now need not be asked for again, should the next call be put off."""
        self._page_began = None

    def begin_login(self) -> None:
        """What goes from now on is of a login whose name is not known yet."""
        self._of_login = deque(maxlen=_MOST_OF_A_LOGIN)

    async def logged_in(self, key: str) -> None:
        """It is known now: what went under another name counts under this one as well, which later calls go by."""
        went, self._of_login = self._of_login or (), None
        limits = [one for one in self._limits if one.scope is LimitScope.CREDENTIAL and _is_of_success(one)]
        for operation, weight, before in went:
            if before == key or not any(limit.applies_to(operation) for limit in limits):
                continue
            call = LimitedCall(
                provider=self._provider,
                limits=limits,
                operation=operation,
                scopes={LimitScope.CREDENTIAL: key},
                weight=weight,
                waiter="",
                pressing=True,
            )
            # where there is no room left the limit is used up anyway
            with suppress(BrokerRateLimitError, BrokerConfigError):
                passed = await self._limiter.acquire(call, longest=timedelta(0), on_wait=lambda *_: None)
                await passed.done()

    def _note(self, work: Work[object]) -> None:
        if self._of_login is not None:
            self._of_login.append((work.operation, work.weight, work.scopes.get(LimitScope.CREDENTIAL, "")))

    @property
    def _longest_wait(self) -> timedelta:
        """Who is put off begins the page anew, and would take of the limit again what it took for nothing."""
        return self._long_wait if self._page_began is None else max(self._page_wait, self._long_wait)

    @property
    def _goes_first(self) -> bool:
        """For a while, or a page of a thousand calls would hold up all others."""
        began = self._page_began
        return began is not None and self._clock.monotonic() - began < self._page_wait.total_seconds()

    def _limited(self, work: Work[object]) -> LimitedCall:
        return LimitedCall(
            provider=self._provider,
            limits=self._limits,
            operation=work.operation,
            scopes=work.scopes,
            weight=work.weight,
            waiter=self._connection_id,
            pressing=self._pressing,
            continues=self._goes_first,
            lasts=work.lasts + _SLACK,
        )

    def _on_wait(self, operation: str, attempt: int, scope: LimitScope, wait: timedelta, reason: str) -> None:
        self._emit(LimitWaited, operation=operation, scope=scope.value, attempt=attempt, wait=wait, reason=reason)

    async def _attempt(self, work: Work[R], passed: Pass, attempt: int) -> R:
        started = self._clock.monotonic()
        try:
            answer = await work.send(passed)
        except Failed as failed:
            failed.error.status = failed.error.status or work.status
            self._sent(work, attempt, started, failed.error)
            raise
        self._sent(work, attempt, started, None)
        return answer

    def _sent(self, work: Work[object], attempt: int, started: float, error: BrokerError | None) -> None:
        self._emit(
            RequestSent,
            operation=work.operation,
            url=work.url,
            attempt=attempt,
            status=work.status,
            duration=timedelta(seconds=self._clock.monotonic() - started),
            error=None if error is None else type(error).__name__,
        )

    async def _freeze(self, work: Work[object], call: LimitedCall, failed: Failed) -> None:
        """Silence the scope that the broker refuses, for everybody; without a time from it, for longer each time."""
        error, asked = failed.error, failed.asked
        scope: LimitScope | None = None
        if isinstance(error, BrokerRetryableError | BrokerAuthError):
            # of what the plugin knows and what this answer says, neither may be cut short
            asked = error.retry_after = max((one for one in (error.retry_after, asked) if one), default=None)
            scope = error.freeze
        if scope is None and work.status != _TOO_MANY:
            return
        asked = asked or max((one.resets_in for one in work.left if one.resets_in and not one.calls), default=None)
        refusal = Refusal(
            call=call,
            scope=scope,
            asked=asked,
            first=self._retry.first_wait,
            longest=self._retry.longest_wait,
            # a broker that says what it allows is met at that
            slows=isinstance(error, BrokerRateLimitError) and not any(one.quota and one.period for one in work.left),
            reason=f"{type(error).__name__} of {work.operation}",
        )
        penalty = await self._penalty(refusal)
        if isinstance(error, BrokerRetryableError | BrokerAuthError):
            error.retry_after, error.freeze = penalty.lasts, penalty.scope
        self._emit(
            ScopeFrozen,
            scope=penalty.scope.value,
            until=self._clock.now() + penalty.lasts,
            pace=penalty.pace,
            reason=refusal.reason,
            again=penalty.again,
        )

    async def _thaw(self, call: LimitedCall, sent_at: float) -> None:
        for thaw in await self._limiter.came_through(call, sent_at):
            if not thaw.told:
                self._emit(ScopeThawed, scope=thaw.scope.value, lasted=thaw.lasted)

    async def _penalty(self, refusal: Refusal) -> Penalty:
        """What is asked for so long is a penalty for what was done, and says nothing of the limits."""
        if refusal.asked is None or refusal.asked <= refusal.longest:
            return await self._limiter.penalise(refusal)
        scope = refusal.scope or refusal.guess
        key, until = refusal.call.scopes.get(scope, ""), self._clock.now() + refusal.asked
        news = await self._limiter.freeze(self._provider, scope, key, until, refusal.reason)
        return Penalty(scope, refusal.asked, WHOLE, again=not news)

    async def _pause(self, work: Work[object], failed: Failed, patience: Patience, attempt: int) -> None:
        """Sleep until the next attempt is due. Raises the error when there is to be none."""
        error = failed.error
        if not may_repeat(error, repeatable=work.repeatable, sent=failed.sent):
            raise error
        assert isinstance(error, BrokerRetryableError)
        error.sent = failed.sent or work.repeatable  # of what may be repeated an attempt before may have arrived
        wait = patience.after(error)
        if wait is None:
            raise error
        ticketed = isinstance(error, BrokerRateLimitError) and error.ticketed
        if wait > (max(self._page_wait, self._long_wait) if ticketed else self._longest_wait):
            error.retry_after = wait
            raise error
        self._emit(RetryScheduled, operation=work.operation, attempt=attempt, wait=wait, reason=type(error).__name__)
        await self._clock.sleep(wait.total_seconds())

    def _emit(self, kind: Callable[..., Event], **facts: object) -> None:
        self._events(kind(provider=self._provider, connection_id=self._connection_id, **facts))


def _refused_again(error: BrokerTokenExpiredError) -> BrokerAuthError:
    return BrokerAuthError(
        "The broker refuses an access token that was made just now.",
        remedy="The login may lack a permission, or was ended elsewhere: connect again.",
        certain=False,
        status=error.status,
        code=error.code,
        provider=error.provider,
        operation=error.operation,
    )


def _is_of_success(limit: RateLimit) -> bool:
    """Whether it counts calls that came through, and for a while."""
    return limit.kind is not LimitKind.CONCURRENCY and not limit.failures_only
