"""`brokersync explain`: why a trade is there, or missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from brokersync.cli.common import Owned, finish, parse_day, print_json
from brokersync.cli.exits import Exit, UsageError

if TYPE_CHECKING:
    from brokersync.service import BrokerSync


def explain(
    *,
    account: Annotated[
        str | None, Parameter(help="The account, by the broker's id or name of it; that of the trade of --trade-id.")
    ] = None,
    symbol: Annotated[str | None, Parameter(help="What was traded.")] = None,
    day: Annotated[str | None, Parameter(help="The day of the execution, as YYYY-MM-DD.")] = None,
    trade_id: Annotated[str | None, Parameter(help="Instead of symbol and day: the trade's id.")] = None,
    provider: Annotated[str | None, Parameter(help="Only this broker's account.")] = None,
    environment: Annotated[str | None, Parameter(help="Only the account of this environment.")] = None,
    raw: Annotated[bool, Parameter(help="Show the broker's own rows, too.", negative="")] = False,
    common: Owned = Owned(),
) -> int:
    """Say why a trade is there, or missing: what was read of its day, which rows were found, and which rule decided."""
    return finish(_explain(account, symbol, day, trade_id, provider, environment, raw, common), common)


async def _explain(
    account: str | None,
    symbol: str | None,
    day: str | None,
    trade_id: str | None,
    provider: str | None,
    environment: str | None,
    raw: bool,
    common: Owned,
) -> int:
    from brokersync.converter import to_json

    if (trade_id is None) is (symbol is None and day is None) or (trade_id is None and None in (symbol, day)):
        raise UsageError(
            "The question names no trade." if trade_id is None else "The question names a trade and a day.",
            remedy="Give either --trade-id, or --symbol and --day.",
        )
    if account is None and trade_id is None:
        raise UsageError("The question names no account.", remedy="Give --account, or --trade-id alone.")
    async with common.open() as bs:
        if account is None and trade_id is not None:
            account, provider, environment = await _place_of(bs, common.owner, trade_id, provider, environment)
        assert account is not None
        found = await bs.explain(
            common.owner,
            account=account,
            symbol=symbol,
            day=None if day is None else parse_day(day, "--day").date(),
            trade_id=trade_id,
            provider=provider,
            environment=environment,
        )
    if common.json:
        print_json(to_json(found))
    else:
        from brokersync.cli.explain_text import show

        show(found, raw=raw)
    return Exit.DONE


async def _place_of(
    bs: BrokerSync, owner: str, trade_id: str, provider: str | None, environment: str | None
) -> tuple[str, str, str]:
    """The account, broker and environment of the one stored trade of this id."""
    from brokersync.store import TradeFilter

    places = {
        (trade.account_id, trade.provider, trade.environment)
        async for trade in bs.trades(owner, TradeFilter(provider=provider, cancelled=True))
        if trade.trade_id == trade_id and environment in (None, trade.environment)
    }
    if not places:
        raise UsageError(
            f"No trade that is stored has the id {trade_id!r}.",
            remedy="Say with --account where it should be, and with --symbol and --day what it is.",
        )
    if len(places) > 1:
        named = "; ".join(f"--provider {one[1]} --environment {one[2]} --account {one[0]}" for one in sorted(places))
        raise UsageError(f"The id {trade_id!r} is that of {len(places)} trades.", remedy=f"Say which: {named}.")
    return places.pop()
