"""The model broker's plugin: as any other, but that its calls end inside the simulation."""

from __future__ import annotations

import contextvars
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import TypeVar

import attrs

from brokersync.manifest import SourceScope
from brokersync.plugin import (
    AuthResult,
    BookingEffect,
    BrokerAccount,
    BrokerAuthError,
    BrokerCredentials,
    BrokerCursorError,
    BrokerDataUnavailableError,
    BrokerRateLimitError,
    BrokerTokenExpiredError,
    BrokerTrade,
    BrokerUnavailableError,
    CoveredSpan,
    DataUnavailableReason,
    Fee,
    FeeKind,
    FeesMode,
    FeesState,
    Finality,
    IdQuality,
    Instrument,
    ProviderContext,
    ProviderSpec,
    Secret,
    Side,
    TimeWindow,
    TradeBooking,
    TradePage,
    TradeRequest,
    hookimpl,
)

from .books import Row, Seen
from .broker import Broker, DownError, ExpiredError, ForgottenError, LimitedError, TooMuchError
from .logins import Pair, RefusedError
from .shape import KEY, STOCK

T = TypeVar("T")

_EFFECTS: Mapping[str, BookingEffect] = {
    "fill": BookingEffect.NEW,
    "fee": BookingEffect.AMEND,
    "replace": BookingEffect.REPLACE,
    "cancel": BookingEffect.CANCEL,
}


@attrs.define(eq=False)
class Reading:
    """What one run of a connection was given, by source, and how many rows that were with all that were repeated."""

    rows: set[tuple[str, Seen]] = attrs.field(factory=set)
    count: int = 0


READING: contextvars.ContextVar[Reading] = contextvars.ContextVar("reading")


@attrs.frozen(kw_only=True)
class ModelCredentials(BrokerCredentials):
    user: str
    password: Secret


class ModelPlugin:
    """What `ProviderRegistry.register` takes."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    @hookimpl
    def brokersync_provider(self, broker: str) -> ProviderSpec | None:
        if broker != KEY:
            return None
        return ProviderSpec(credentials=ModelCredentials, create=lambda context: ModelProvider(context, self._broker))


class ModelProvider:
    def __init__(self, context: ProviderContext, broker: Broker) -> None:
        self._context, self._broker, self._shape = context, broker, broker.shape
        self._environment = context.environment
        self._pages: Mapping[str, Callable[..., AsyncGenerator[TradePage, None]]] = {
            "daily": self._session,
            "history": self._history,
            "reports": self._reports,
            "stream": self._stream,
        }

    async def authenticate(self, credentials: ModelCredentials) -> AuthResult:
        user, password = credentials.user, credentials.password.reveal()
        try:
            pair = await self._directly(lambda: self._broker.log_in(user, password), f"log in {user}")
        except RefusedError:
            raise BrokerAuthError("The broker does not accept this login.") from None
        return self._auth(pair, pair.refresh)

    async def refresh_token(self, auth: AuthResult) -> AuthResult:
        token = auth.refresh_token
        if token is None:
            raise BrokerTokenExpiredError("Only a new login gives another token.")
        try:
            pair = await self._directly(lambda: self._broker.refresh(token.reveal()), f"refresh {auth.identity}")
        except RefusedError:
            raise BrokerAuthError("The broker does not know this refresh token.") from None
        # a lasting refresh token is told once, at the login
        return self._auth(pair, pair.refresh if self._shape.refresh == "rotating" else None)

    async def get_accounts(self, auth: AuthResult) -> Sequence[BrokerAccount]:
        names = await self._asked("accounts", auth, partial(self._broker.list_accounts, environment=self._environment))
        return self._named(names)

    def get_trades(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        return self._pages[request.source](auth, request)

    async def aclose(self) -> None:
        pass

    def _auth(self, pair: Pair, refresh: str | None) -> AuthResult:
        return AuthResult(
            identity=pair.identity,
            access_token=Secret(pair.access),
            refresh_token=Secret(refresh) if refresh and self._shape.refresh != "none" else None,
            expires_at=pair.expires_at,
        )

    def _named(self, names: Iterable[str]) -> tuple[BrokerAccount, ...]:
        opened = self._broker.opened
        return tuple(
            BrokerAccount(
                account_id=name,
                environment=self._environment,
                opened_at=opened[name] if name.endswith("o") else None,
            )
            for name in names
        )

    # the sources

    async def _session(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        if request.cursor is not None:
            raise BrokerCursorError("A session's list is whole.")
        asked_at = self._context.clock.now()
        if request.window.end <= asked_at:
            raise BrokerDataUnavailableError("That session is over.", reason=DataUnavailableReason.EXPIRED)
        names, rows = await self._asked("session", auth, partial(self._broker.session, environment=self._environment))
        accounts = self._named(names)
        proved = [TimeWindow(request.window.start, asked_at)] if request.window.start < asked_at else []
        yield self._page(
            request.source,
            rows,
            accounts=accounts,
            covered=tuple(span for part in proved for span in _covered(accounts, part, Finality.PROVISIONAL)),
        )

    async def _history(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        (account,) = request.accounts
        token = request.cursor
        while True:
            here, window = token, request.window
            rows, token = await self._asked(
                f"history of {account.account_id} {window.start:%d %H:%M} to {window.end:%d %H:%M} at {here}",
                auth,
                partial(
                    self._broker.history, account=account.account_id, start=window.start, end=window.end, token=here
                ),
            )
            covered = () if token else self._kept(request.accounts, window)
            yield self._page(request.source, rows, cursor=token, covered=covered)
            if token is None:
                return

    async def _reports(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        window = request.window
        if request.cursor is None:
            account = request.accounts[0].account_id if self._shape.scope is SourceScope.ACCOUNT else None
            name, ready = await self._asked(
                f"order a report of {account or 'all'} {window.start:%d %H:%M} to {window.end:%d %H:%M}",
                auth,
                partial(
                    self._broker.order,
                    environment=self._environment,
                    account=account,
                    start=window.start,
                    end=window.end,
                ),
            )
            yield TradePage(cursor=f"{name}@0", resume_at=ready)
            return
        name, place = request.cursor.split("@")
        first, more = int(place), True
        while more:
            answer = await self._asked(
                f"{name} at {first}",
                auth,
                partial(self._broker.report, name=name, first=first),
            )
            if isinstance(answer, datetime):
                yield TradePage(cursor=request.cursor, resume_at=answer)
                return
            names, rows, more = answer
            first += len(rows)
            yield self._page(
                request.source,
                rows,
                accounts=() if more else self._named(names),
                cursor=f"{name}@{first}" if more else None,
                covered=() if more else self._kept(self._named(names), window),
            )

    async def _stream(self, auth: AuthResult, request: TradeRequest) -> AsyncGenerator[TradePage, None]:
        last, more = int(request.cursor or request.bookmark or 0), True
        while more:
            names, rows, more = await self._asked(
                f"since {last}",
                auth,
                partial(self._broker.since, environment=self._environment, number=last),
            )
            last = rows[-1].row.number if rows else last
            known = {one.account_id for one in request.accounts}
            yield self._page(
                request.source,
                rows,
                accounts=self._named(name for name in names if name not in known),
                cursor=str(last) if more else None,
                bookmark=str(last),
                covered=() if more else _covered(request.accounts, request.window),
            )

    def _kept(self, accounts: Iterable[BrokerAccount], window: TimeWindow) -> tuple[CoveredSpan, ...]:
        """An answer proves nothing of the days that the broker keeps no longer."""
        start = max(window.start, self._broker.kept_from())
        return _covered(accounts, TimeWindow(start, window.end)) if start < window.end else ()

    # how it asks

    async def _asked(self, what: str, auth: AuthResult, answer: Callable[[str], T]) -> T:
        async def call(login: AuthResult | None) -> T:
            token = login.access_token.reveal() if login is not None and login.access_token else ""
            return await self._mapped(self._broker.ask(what, lambda: answer(token), access=token))

        return await self._context.guard(what.split()[0], call, auth=auth)

    async def _directly(self, answer: Callable[[], T], what: str) -> T:
        """A request that must not be sent twice: what it did is not known when its answer is lost."""
        try:
            return await self._mapped(self._broker.ask(what, answer, deadly=True), RefusedError)
        except TimeoutError:
            raise BrokerUnavailableError("Whether the broker made a token is not known.") from None

    async def _mapped(self, asking: Awaitable[T], *as_they_are: type[Exception]) -> T:
        try:
            return await asking
        except as_they_are:
            raise
        except RefusedError:
            raise BrokerTokenExpiredError("The broker does not take this token.") from None
        except TooMuchError:
            raise BrokerUnavailableError("Too much to put together in time.") from None
        except DownError:
            raise BrokerUnavailableError("The broker is down.") from None
        except LimitedError as error:
            raise BrokerRateLimitError("Too many requests.", retry_after=error.wait) from None
        except ForgottenError:
            raise BrokerCursorError("The broker does not know this place.") from None
        except ExpiredError:
            raise BrokerDataUnavailableError("Kept no longer.", reason=DataUnavailableReason.EXPIRED) from None

    def _page(self, source: str, rows: Sequence[Seen], **facts: object) -> TradePage:
        reading = READING.get()
        reading.rows.update((source, one) for one in rows)
        reading.count += len(rows)
        return TradePage(bookings=tuple(self._booking(source, one) for one in rows), **facts)  # type: ignore[arg-type]  # each checks itself

    # how it reads

    def _booking(self, source: str, seen: Seen) -> TradeBooking:
        row, shape = seen.row, self._shape
        if not shape.named:
            trade = attrs.evolve(self._trade(seen, _content(row)), id_quality=IdQuality.SYNTHETIC, raw=_as_sent(row))
            return TradeBooking.of(trade)
        other = shape.renames and source == "daily"
        trade = self._trade(seen, f"s-{row.execution}" if other else row.execution)
        refs = [row.execution]
        if row.target is not None:
            refs.append(f"r{row.target}")
        bare = row.kind == "cancel"
        return TradeBooking(
            booking_id=f"s-{row.name}" if other else row.name,
            environment=self._environment,
            account_id=row.account,
            effect=_EFFECTS[row.kind],
            aliases=(row.name,) if other else (),
            refs=tuple(refs),
            order=(row.number,) if shape.ordered else (),
            fees_mode=FeesMode.PART if shape.parts else FeesMode.TOTAL,
            trade=None if bare else trade,
            fees=trade.fees if bare and shape.parts else (),
            raw=_as_sent(row),
        )

    def _trade(self, seen: Seen, trade_id: str) -> BrokerTrade:
        row = seen.row
        return BrokerTrade(
            provider=KEY,
            environment=self._environment,
            account_id=row.account,
            trade_id=trade_id,
            instrument=Instrument(symbol=row.symbol, asset_class=STOCK, currency="USD", multiplier=Decimal(1)),
            side=Side(row.side),
            quantity=row.quantity,
            price=row.price,
            executed_at=row.executed_at,
            fees=(Fee(kind=FeeKind.COMMISSION, amount=row.fee, currency="USD"),) if seen.with_fee else (),
            fees_state=FeesState.FINAL if seen.with_fee else FeesState.PENDING,
        )


def _content(row: Row) -> str:
    return f"{row.executed_at.isoformat()}|{row.symbol}|{row.side}|{row.quantity}|{row.price}"


def _as_sent(row: Row) -> Mapping[str, str]:
    return {"kind": row.kind, "at": row.executed_at.isoformat(), "price": str(row.price)}


def _covered(
    accounts: Iterable[BrokerAccount], window: TimeWindow, finality: Finality = Finality.FINAL
) -> tuple[CoveredSpan, ...]:
    return tuple(
        CoveredSpan(account_id=one.account_id, environment=one.environment, window=window, finality=finality)
        for one in accounts
    )
