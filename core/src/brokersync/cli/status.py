"""`brokersync status`: connections, accounts, and how far their history is known."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from brokersync.cli.common import Owned, finish, note, print_json, say
from brokersync.cli.exits import Exit
from brokersync.cli.shared_limits import trouble_of
from brokersync.cli.spans import ZoneOf, days_text, zones
from brokersync.errors import BrokerConfigError

if TYPE_CHECKING:
    from brokersync.explaining import Outlook
    from brokersync.jobs import JobPlace
    from brokersync.service import BrokerSync
    from brokersync.types import BrokerTrade


def status(*, common: Owned = Owned()) -> int:
    """Show your connections, their accounts, and what is known of their history."""
    return finish(_status(common), common)


async def _status(common: Owned) -> int:
    async with common.open() as bs:
        found = await bs.outlook(common.owner)
        jobs = {one.job.connection_id: one for one in await bs.job_places(common.owner)}
        facts = {
            "owner": common.owner,
            "connections": [await _connection(bs, one, jobs) for one in found],
            "incidents": await _incidents(bs, {(one.connection.provider, one.connection.environment) for one in found}),
            "accounts": await bs.counts(common.owner),
            "coverage": await _coverage(bs, common.owner),
            "quarantined": list(await bs.quarantined(common.owner)),
            "unconfirmed": [_unconfirmed(one) for one in await bs.unconfirmed(common.owner)],
            "shared_limits": {"trouble": await trouble_of(common.settings().fleet)},
        }
    if common.json:
        print_json(facts)
    else:
        _show(facts, zones(bs.registry))
    return Exit.DONE


async def _connection(bs: BrokerSync, outlook: Outlook, jobs: Mapping[str, JobPlace]) -> dict[str, Any]:
    from brokersync.converter import to_json

    facts = to_json(outlook)
    last = await bs.last_report(outlook.connection.connection_id, outlook.connection.owner)
    place = jobs.get(outlook.connection.connection_id)
    return {
        **facts["connection"],
        "job": None if place is None else _job(to_json(place)),
        "last_report": last,
        "obstacles": facts["obstacles"],
        "sources": facts["sources"],
        "sessions": facts["sessions"],
    }


def _unconfirmed(trade: BrokerTrade) -> dict[str, Any]:
    names = ("provider", "environment", "account_id", "trade_id")
    return {name: getattr(trade, name) for name in names} | {"sources": list(trade.sources)}


def _job(place: Mapping[str, Any]) -> dict[str, Any]:
    return {"asked": place["job"]["asked"], **{name: place[name] for name in ("running", "position", "expected_at")}}


async def _incidents(bs: BrokerSync, mine: set[tuple[str, str]]) -> list[dict[str, Any]]:
    from brokersync.converter import to_json

    return [to_json(one) for one in await bs.incidents(open_only=True) if (one.provider, one.environment) in mine]


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

    if facts["shared_limits"]["trouble"]:
        say(facts["shared_limits"]["trouble"])
    if not facts["connections"] and not facts["accounts"]:
        sys.stdout.write("Nothing yet. Connect a broker with: brokersync connect BROKER\n")
        return
    if facts["connections"]:
        _show_connections(facts["connections"], zone_of)
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
    for one in facts["unconfirmed"]:
        say(
            f"{one['account_id']}: {one['trade_id']} is told by {' and '.join(one['sources'])} alone, and should have"
            " been told for good by now; the broker may have taken it back."
        )
    _show_history(facts, zone_of)


def _show_connections(connections: Sequence[Mapping[str, Any]], zone_of: ZoneOf) -> None:
    from brokersync.cli.tables import show_table

    show_table(
        ("connection", "label", "state", "last sync (UTC)", "next sync (UTC)"),
        [
            (
                one["connection_id"],
                one["label"],
                one["state"],
                _minute(one["last_synced_at"]) or "never",
                _minute(one["next_at"]) or ("as soon as it is run" if one["state"] == "active" else "not by itself"),
            )
            for one in connections
        ],
        whole=("connection", "state"),
        wide=("label",),
    )
    for one in connections:
        name = one["connection_id"]
        for obstacle in one["obstacles"]:
            say(f"  {name}: {obstacle}".replace("\n", "\n    "))
        if one["job"]:
            say(f"  {name}: {_place_text(one['job'])}")
        if one["sessions"]:
            from brokersync.converter import from_json
            from brokersync.session_places import SessionPlaces, places_text

            say(f"  {name}: {places_text(from_json(one['sessions'], SessionPlaces))}")
        if one["deadline"]:
            say(f"  {name}: {_deadline_text(datetime.fromisoformat(one['deadline']), one['state'])}")
    sys.stdout.write("\n")


def _deadline_text(deadline: datetime, state: str) -> str:
    if deadline > datetime.now(UTC):
        return f"history vanishes; read it before {deadline:%Y-%m-%d %H:%M} UTC"
    to_do = "; run: brokersync sync" if state == "active" else ""
    return f"history has been vanishing unread since {deadline:%Y-%m-%d %H:%M} UTC{to_do}"


def _place_text(job: Mapping[str, Any]) -> str:
    if job["running"]:
        return "a worker is syncing it"
    expected = _minute(job["expected_at"])
    if not job["position"]:
        return f"a worker takes it up at {expected} UTC"
    ahead = job["position"] - 1
    waits = f"waits for a worker, {ahead} before it" if ahead else "waits for a worker, next in line"
    return f"{waits}, expected at about {expected} UTC" if expected else waits


def _show_history(facts: Mapping[str, Any], zone_of: ZoneOf) -> None:
    """What is known of each account in each source, and what is read next."""
    from brokersync.cli.tables import show_table

    cells: dict[tuple[str, str, str, str], list[str]] = {}
    for one in facts["coverage"]:
        zone = zone_of(one["provider"], one["source"])
        key = (one["provider"], one["environment"], one["account_id"], one["source"])
        cells[key] = [_span(span, zone) for span in one["spans"]]
    for connection in facts["connections"]:
        for source in connection["sources"]:
            account = source["account"]
            key = (connection["provider"], account["environment"], account["account_id"], source["source"])
            cells.setdefault(key, []).extend(_expected(source, zone_of(connection["provider"], source["source"])))
    if not cells:
        return
    show_table(
        ("account", "source", "known history, and what is read next"),
        [(" ".join(key[:3]), key[3], "\n".join(lines)) for key, lines in cells.items()],
    )


def _expected(source: Mapping[str, Any], zone: str) -> Iterable[str]:
    if source["next_window"]:
        waits = f", not before {_minute(source['waits_until'])} UTC" if source["waits_until"] else ""
        yield f"next: {days_text(source['next_window'], zone)}{waits}"
    if source["failing_windows"]:
        from brokersync.converter import from_json
        from brokersync.explaining import failed_parts
        from brokersync.records import FailedWindow

        yield failed_parts([from_json(one, FailedWindow) for one in source["failing_windows"]])


def _minute(moment: str | None) -> str:
    return (moment or "")[:16].replace("T", " ")


def _span(span: Mapping[str, Any], zone: str) -> str:
    return f"{days_text(span['window'], zone)} {span['state']}"
