"""`brokersync status`: connections, accounts, and how far their history is known."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from brokersync.cli.common import Common, finish, note, print_json
from brokersync.cli.exits import Exit
from brokersync.cli.spans import ZoneOf, days_text, zones
from brokersync.errors import BrokerConfigError

if TYPE_CHECKING:
    from brokersync.records import Connection
    from brokersync.service import BrokerSync


def status(*, common: Common = Common()) -> int:
    """Show your connections, their accounts, and what is known of their history."""
    return finish(_status(common), common)


async def _status(common: Common) -> int:
    async with common.open() as bs:
        connections = await bs.connections(common.owner)
        facts = {
            "owner": common.owner,
            "connections": [await _connection(bs, one) for one in connections],
            "incidents": await _incidents(bs, {one.provider for one in connections}),
            "accounts": await bs.counts(common.owner),
            "coverage": await _coverage(bs, common.owner),
            "quarantined": list(await bs.quarantined(common.owner)),
        }
    if common.json:
        print_json(facts)
    else:
        _show(facts, zones(bs.registry))
    return Exit.DONE


async def _connection(bs: BrokerSync, connection: Connection) -> dict[str, Any]:
    from brokersync.converter import to_json

    last = await bs.last_report(connection.connection_id, connection.owner)
    return {**to_json(connection), "last_report": last}


async def _incidents(bs: BrokerSync, providers: set[str]) -> list[dict[str, Any]]:
    from brokersync.converter import to_json

    return [to_json(one) for one in await bs.incidents(open_only=True) if one.provider in providers]


async def _coverage(bs: BrokerSync, owner: str) -> list[dict[str, Any]]:
    from brokersync.converter import to_json

    found = []
    for provider in sorted({account["provider"] for account in await bs.counts(owner)}):
        try:
            sources = [source.name for source in bs.registry.manifest(provider).sources]
        except BrokerConfigError as error:
            note(f"{provider}: {error.message} {error.remedy}")
            continue
        for source in sources:
            for (environment, account_id), spans in (await bs.coverage(owner, provider, source)).items():
                found.append(
                    {
                        "provider": provider,
                        "environment": environment,
                        "account_id": account_id,
                        "source": source,
                        "spans": to_json(spans),
                    }
                )
    return found


def _show(facts: Mapping[str, Any], zone_of: ZoneOf) -> None:
    from brokersync.cli.tables import show_table

    if not facts["connections"] and not facts["accounts"]:
        sys.stdout.write("Nothing yet. Connect a broker with: brokersync connect BROKER\n")
        return
    show_table(
        ("connection", "label", "state", "last sync (UTC)"),
        [
            (
                one["connection_id"],
                one["label"],
                one["state"],
                (one["last_synced_at"] or "never")[:19].replace("T", " "),
            )
            for one in facts["connections"]
        ],
    )
    for one in facts["connections"]:
        if one["reason"]:
            sys.stdout.write(f"  {one['connection_id']}: {one['reason']} {one['remedy'] or ''}".rstrip() + "\n")
    for one in facts["incidents"]:
        since, probe = (f"{one[name][:16].replace('T', ' ')} UTC" for name in ("opened_at", "probe_at"))
        sys.stdout.write(f"  {one['provider']} does not answer since {since}; it is asked again at {probe}.\n")
    sys.stdout.write("\n")
    show_table(
        ("account", "trades", "cancelled", "waiting", "quarantined"),
        [
            (
                f"{one['provider']} {one['environment']} {one['account_id']}",
                *(str(one[name]) for name in ("active", "cancelled", "waiting", "quarantined")),
            )
            for one in facts["accounts"]
        ],
        right=("trades", "cancelled", "waiting", "quarantined"),
    )
    sys.stdout.write("\n")
    show_table(
        ("account", "source", "known history"),
        [
            (
                f"{one['provider']} {one['environment']} {one['account_id']}",
                one["source"],
                "\n".join(_span(span, zone_of(one["provider"], one["source"])) for span in one["spans"]),
            )
            for one in facts["coverage"]
        ],
    )


def _span(span: Mapping[str, Any], zone: str) -> str:
    return f"{days_text(span['window'], zone)} {span['state']}"
