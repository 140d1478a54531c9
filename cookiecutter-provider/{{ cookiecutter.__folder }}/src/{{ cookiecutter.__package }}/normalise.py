"""From the broker's rows to accounts and bookings: pure, and the same for every order of the rows."""

from __future__ import annotations

from decimal import Decimal

from brokersync.plugin import (
    AssetClass,
    BrokerAccount,
    BrokerTrade,
    Fee,
    FeeKind,
    FeesState,
    Instrument,
    QuarantinedRow,
    Side,
    TradeBooking,
)
from {{ cookiecutter.__package }}.payloads import (
    EXECUTION_ID,
    EXECUTION_TYPE,
    Account,
    Execution,
    Row,
    RowError,
    User,
    id_in,
)

PROVIDER = "{{ cookiecutter.key }}"

# FILL IN: the broker's words, all that it documents; a side that is not here puts its row in quarantine
_SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}
# FILL IN: what has no class here is booked as `other` and counted
_ASSET_CLASSES = {"STOCK": AssetClass.STOCK, "ETF": AssetClass.ETF}
# FILL IN: what one unit is worth when the price moves by 1; what the broker does not tell stays None, and is no guess
_MULTIPLIERS = {AssetClass.STOCK: Decimal(1), AssetClass.ETF: Decimal(1)}


def identity_of(user: User) -> str:
    """What a user is called. It is kept, and can never change: core refuses a new login of somebody else by it."""
    return f"user:{user.id}"


def account_of(row: Row, environment: str) -> BrokerAccount:
    """The account as core knows it. Raises `RowError`."""
    account = Account.of(row)
    return BrokerAccount(
        account_id=account.id,
        environment=environment,
        name=account.name,
        currency=account.currency,
        opened_at=account.opened_at,
    )


def outcome_of(row: Row, account_id: str, environment: str) -> TradeBooking | QuarantinedRow:
    """The booking of one execution, or the row in quarantine where booking it would be a guess."""
    try:
        return TradeBooking.of(_trade(Execution.of(row), account_id, environment), raw=row)
    except (ValueError, TypeError) as error:
        return quarantined(row, str(error), account_id, environment)


def quarantined(row: Row, reason: str, account_id: str | None, environment: str | None) -> QuarantinedRow:
    """A row that waits for a plugin that understands it, under the name that its booking would have."""
    return QuarantinedRow(reason=reason, raw=row, account_id=account_id, environment=environment, row_id=_name_in(row))


def unknown_type(row: Row) -> str | None:
    """A type of instrument that has no class here, to be counted."""
    name = row.get(EXECUTION_TYPE)
    return f"{EXECUTION_TYPE} {name}" if isinstance(name, str) and name not in _ASSET_CLASSES else None


def _trade(execution: Execution, account_id: str, environment: str) -> BrokerTrade:
    if execution.side not in _SIDES:
        raise RowError(f"the side {execution.side!r} is unknown")
    return BrokerTrade(
        provider=PROVIDER,
        environment=environment,
        account_id=account_id,
        trade_id=_name(execution.id),
        order_id=execution.order_id,
        instrument=_instrument(execution),
        side=_SIDES[execution.side],
        quantity=execution.quantity,
        price=execution.price,
        executed_at=execution.time,
        fees=_fees(execution),
        fees_state=FeesState.PENDING if execution.commission is None else FeesState.FINAL,
    )


def _instrument(execution: Execution) -> Instrument:
    asset_class = _ASSET_CLASSES.get(execution.type, AssetClass.OTHER)
    return Instrument(
        symbol=execution.symbol,
        asset_class=asset_class,
        currency=execution.currency,
        multiplier=_MULTIPLIERS.get(asset_class),
    )


def _fees(execution: Execution) -> tuple[Fee, ...]:
    # FILL IN: core wants a cost positive and a rebate negative, which is as this broker writes them
    if execution.commission is None:
        return ()
    return (Fee(kind=FeeKind.COMMISSION, amount=execution.commission, currency=execution.currency),)


def _name(execution_id: str) -> str:
    """What an execution is called. It is published and can never change, so take the broker's most stable id."""
    return f"execution:{execution_id}"


def _name_in(row: Row) -> str | None:
    """The same of a row of which nothing is sure."""
    try:
        return _name(id_in(row, EXECUTION_ID))
    except RowError:
        return None
