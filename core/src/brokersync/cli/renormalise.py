"""`brokersync renormalise`: what a corrected plugin makes of the rows that are kept."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from brokersync.cli.common import Owned, finish, print_json
from brokersync.cli.exits import Exit

if TYPE_CHECKING:
    from brokersync.renormalising import RenormaliseReport
    from brokersync.store import TradeDifference

_SHOWN = 50


def renormalise(
    *,
    connection: Annotated[tuple[str, ...], Parameter(help="Only accounts of this connection.", negative="")] = (),
    account: Annotated[str | None, Parameter(help="Only this account, by the broker's id or name of it.")] = None,
    dry_run: Annotated[bool, Parameter(help="Show what would change, and keep nothing.", negative="")] = False,
    common: Owned = Owned(),
) -> int:
    """Read the kept raw rows again with the plugins that are installed now, without asking a broker.

    For after an update of a plugin that read something wrong. Repeating it is safe at any time.
    """
    return finish(_renormalise(connection, account, dry_run, common), common)


async def _renormalise(connections: tuple[str, ...], account: str | None, dry_run: bool, common: Owned) -> int:
    changes: list[dict[str, Any]] = []
    async with common.open() as bs:
        report = await bs.renormalise(
            common.owner,
            connections=connections or None,
            account=account,
            dry_run=dry_run,
            on_difference=lambda one: changes.append(_change(one)),
        )
    if common.json:
        from brokersync.converter import to_json

        print_json({"report": to_json(report), "changes": changes})
    else:
        _show(report, changes)
    return Exit.DONE


def _change(one: TradeDifference) -> dict[str, Any]:
    from brokersync.renormalising import changed_fields

    trade = one.after or one.before
    assert trade is not None
    kind = "added" if one.before is None else "removed" if one.after is None else "modified"
    fields = changed_fields(one) if one.before and one.after else {}
    return {
        "kind": kind,
        "provider": trade.provider,
        "environment": trade.environment,
        "account_id": trade.account_id,
        "trade_id": trade.trade_id,
        "symbol": trade.instrument.symbol,
        "fields": {name: {"before": before, "after": after} for name, (before, after) in fields.items()},
    }


def _show(report: RenormaliseReport, changes: list[dict[str, Any]]) -> None:
    out = sys.stdout
    verb = "would change" if report.dry_run else "changed"
    out.write(f"{report.rows} kept rows read again: {report.renewed} {verb}, {report.unchanged} as before\n")
    out.write(f"trades: {report.added} added, {report.modified} modified, {report.removed} removed\n")
    for count, words in (
        (report.understood, "rows are understood now and leave the quarantine"),
        (report.refused, "rows are not understood any more: they are in quarantine too, and their trades stay"),
        (report.left, "rows stay as they are, since the plugin gives nothing for them that can take their place"),
        (report.without_raw, "bookings have no raw row any more and stay as they are"),
    ):
        if count:
            out.write(f"  {count} {words}\n")
    for name in report.unable:
        out.write(f"  the plugin for {name} can not read kept rows again\n")
    if changes:
        out.write("\n")
        _show_changes(changes)
        for name, count in sorted(report.fields.items(), key=lambda item: (-item[1], item[0])):
            out.write(f"{name}: {count} {'trade' if count == 1 else 'trades'}\n")


def _show_changes(changes: list[dict[str, Any]]) -> None:
    from brokersync.cli.tables import show_table

    rows = []
    for one in changes[:_SHOWN]:
        fields = one["fields"] or {one["kind"]: {"before": "", "after": ""}}
        for number, (name, values) in enumerate(fields.items()):
            told = ("", "") if number else (one["trade_id"], " ".join(one["symbol"].split()))
            rows.append((*told, name, _text(values["before"]), _text(values["after"])))
    show_table(("trade", "symbol", "field", "before", "after"), rows, whole=("symbol",))
    if len(changes) > _SHOWN:
        sys.stdout.write(f"... and {len(changes) - _SHOWN} more trades; --json shows all\n")
    sys.stdout.write("\n")


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value) or "none"
    if isinstance(value, dict):
        return " ".join(str(item) for item in value.values())
    return value if isinstance(value, str) else json.dumps(value)
