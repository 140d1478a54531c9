"""`brokersync explain`: why a trade is there, or missing."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from brokersync.cli.common import Owned, finish, parse_day, print_json
from brokersync.cli.exits import Exit, UsageError


def explain(
    *,
    account: Annotated[str, Parameter(help="The account, by the broker's id or name of it.")],
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
    account: str,
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
    async with common.open() as bs:
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
