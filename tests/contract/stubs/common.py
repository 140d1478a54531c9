"""What the stubs share: one login, one form of row, one way to ask."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import attrs

from brokersync.plugin import (
    AssetClass,
    AuthResult,
    BookingEffect,
    BrokerAccount,
    BrokerCredentials,
    BrokerTokenExpiredError,
    BrokerTrade,
    CoveredSpan,
    Fee,
    FeeKind,
    FeesState,
    Finality,
    IdQuality,
    Instrument,
    ProviderContext,
    ProviderSpec,
    QuarantinedRow,
    Secret,
    Side,
    TimeWindow,
    TradeBooking,
)

_SIDES = {"B": Side.BUY, "S": Side.SELL}
_EFFECTS = {
    "fill": BookingEffect.NEW,
    "fee": BookingEffect.AMEND,
    "replace": BookingEffect.REPLACE,
    "cancel": BookingEffect.CANCEL,
}


def head(key: str, name: str, extra: str = "") -> str:
    """The part of a manifest that is the same for all stubs that log in."""
    return f"""
key = "{key}"
display_name = "{name}"
contract = 1
environments = ["live"]
auth = ["password"]
licence = "Apache-2.0"
docs = "https://stub.example/docs"
support = "https://stub.example/help"
{extra}
[hosts]
api = "https://{key}.example"

[[user_fields]]
name = "user"
label = "User name"
help = "As on the broker's site."

[[user_fields]]
name = "password"
label = "Password"
help = "Sealed at rest."
secret = true
"""


@attrs.frozen(kw_only=True)
class StubCredentials(BrokerCredentials):
    user: str
    password: Secret


class StubProvider:
    """Login and accounts; a stub adds `get_trades`."""

    def __init__(self, context: ProviderContext) -> None:
        self.context = context

    async def authenticate(self, credentials: StubCredentials) -> AuthResult:
        form = {"user": credentials.user, "password": credentials.password.reveal()}
        answer = await self.context.http.request("login", "POST", self.context.hosts["api"] + "/login", form=form)
        facts = answer.json()
        return AuthResult(identity=facts["login"], access_token=Secret(facts["token"]))

    async def refresh_token(self, auth: AuthResult) -> AuthResult:
        raise BrokerTokenExpiredError("The broker's tokens are not renewed: only a new login gives another one.")

    async def get_accounts(self, auth: AuthResult) -> Sequence[BrokerAccount]:
        answer = await self.context.http.request("accounts", "GET", self.context.hosts["api"] + "/accounts", auth=auth)
        return tuple(
            BrokerAccount(account_id=one["id"], environment="live", opened_at=datetime.fromisoformat(one["opened"]))
            for one in answer.json()
        )

    async def aclose(self) -> None:
        pass

    async def ask(self, auth: AuthResult, what: str, **params: str) -> Mapping[str, Any]:
        """The broker's answer to one of its questions about trades."""
        url = f"{self.context.hosts['api']}/{what}"
        facts: Mapping[str, Any] = (await self.context.http.request(what, "GET", url, params=params, auth=auth)).json()
        return facts

    def first_seen(self, listed: Iterable[str], known: Iterable[BrokerAccount]) -> tuple[BrokerAccount, ...]:
        """The accounts that an answer names and core did not."""
        new = set(listed) - {account.account_id for account in known}
        return tuple(BrokerAccount(account_id=one, environment="live") for one in sorted(new))


def spec(provider: type[StubProvider]) -> ProviderSpec:
    return ProviderSpec(credentials=StubCredentials, create=provider)


def span(window: TimeWindow) -> dict[str, str]:
    """A window as the broker wants it written."""
    return {"start": window.start.isoformat(), "end": window.end.isoformat()}


def covered(
    accounts: Iterable[BrokerAccount], window: TimeWindow, finality: Finality = Finality.FINAL
) -> tuple[CoveredSpan, ...]:
    return tuple(
        CoveredSpan(account_id=one.account_id, environment=one.environment, window=window, finality=finality)
        for one in accounts
    )


def understood(provider: str, rows: Collection[Mapping[str, Any]], *, named: bool = True) -> dict[str, Any]:
    """The bookings and the quarantined rows of a page. Without `named` the broker gives its rows no ids."""
    bookings, strange = [], []
    for row in rows:
        if row["side"] not in _SIDES:
            reason = f"the side {row['side']!r} is unknown"
            strange.append(QuarantinedRow(reason=reason, raw=row, account_id=row["account"], environment="live"))
        else:
            bookings.append(_booking(provider, row) if named else _nameless(provider, row))
    return {"bookings": tuple(bookings), "quarantined": tuple(strange), "rows": len(rows)}


def _booking(provider: str, row: Mapping[str, Any]) -> TradeBooking:
    effect = _EFFECTS[row["kind"]]
    execution = row.get("ref", row["of"])
    return TradeBooking(
        booking_id=row["id"],
        environment="live",
        account_id=row["account"],
        effect=effect,
        refs=(execution,),
        order=(row["row"],),
        trade=None if effect is BookingEffect.CANCEL else _trade(provider, row, execution),
        raw=row,
    )


def _nameless(provider: str, row: Mapping[str, Any]) -> TradeBooking:
    """A row under its content; the fee is left out, for it may come later."""
    content = "|".join(row[name] for name in ("executed", "symbol", "side", "quantity", "price"))
    trade = attrs.evolve(_trade(provider, row, content), id_quality=IdQuality.SYNTHETIC)
    return TradeBooking.of(trade, raw=row)


def _trade(provider: str, row: Mapping[str, Any], trade_id: str) -> BrokerTrade:
    fee = row["fee"]
    return BrokerTrade(
        provider=provider,
        environment="live",
        account_id=row["account"],
        trade_id=trade_id,
        instrument=Instrument(
            symbol=row["symbol"], asset_class=AssetClass.STOCK, currency="USD", multiplier=Decimal(1)
        ),
        side=_SIDES[row["side"]],
        quantity=Decimal(row["quantity"]),
        price=Decimal(row["price"]),
        executed_at=datetime.fromisoformat(row["executed"]),
        fees=() if fee is None else (Fee(kind=FeeKind.COMMISSION, amount=Decimal(fee), currency="USD"),),
        fees_state=FeesState.PENDING if fee is None else FeesState.FINAL,
    )
