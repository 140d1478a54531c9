"""`brokersync connect` and `reconnect`: ask for a login, test it, keep it sealed."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

from cyclopts import Parameter

from brokersync.cli.common import Owned, finish, note, parse_day, print_json, say
from brokersync.cli.consent import Page
from brokersync.cli.exits import Exit, UsageError
from brokersync.errors import BrokerConfigError, BrokerError, Fault, StoreError

if TYPE_CHECKING:
    from brokersync.events import Event, EventSink
    from brokersync.manifest import Field, Manifest
    from brokersync.records import Connection
    from brokersync.secret import Secret
    from brokersync.service import BrokerSync


class _Facts(TypedDict):
    fields: Mapping[str, str | Secret]
    environment: str | None
    label: str | None
    since: datetime | None


def connect(
    broker: str,
    /,
    *,
    field: Annotated[tuple[str, ...], Parameter(help="NAME=VALUE of a field that is no secret.", negative="")] = (),
    fields_from: Annotated[
        Path | None,
        Parameter(
            help="A JSON object with the fields, secrets too; - reads standard input.", allow_leading_hyphen=True
        ),
    ] = None,
    environment: Annotated[str | None, Parameter(help="Which side of the broker to log in to.")] = None,
    label: Annotated[str | None, Parameter(help="Your own name for this login.")] = None,
    since: Annotated[str | None, Parameter(help="Read history from this day on; else from its beginning.")] = None,
    page: Page = Page(),
    common: Owned = Owned(),
) -> int:
    """Connect a login at a broker.

    Asks for each field of the broker that is not given, tests the login, and only then keeps it, sealed. Connecting the
    same login again renews its credentials and keeps its history.

    With --oauth you log in at the broker's own page, and brokersync is told the answer at an address of this machine.
    """
    return finish(_connect(broker, field, fields_from, environment, label, since, page, common), common)


async def _connect(
    broker: str,
    pairs: tuple[str, ...],
    fields_from: Path | None,
    environment: str | None,
    label: str | None,
    since: str | None,
    page: Page,
    common: Owned,
) -> int:
    from brokersync.governance_settings import GovernanceMode

    seen: list[Event] = []
    async with common.open(make=True, hears=_hearing(broker, seen)) as bs:
        manifest = bs.registry.manifest(broker)
        approved = common.settings().governance.mode is GovernanceMode.APPROVE
        _say_who_is_trusted(seen, manifest.key, approved=approved)
        oauth = page.used_for(manifest)
        start = parse_day(since, "--since") if since else None
        asked = manifest.consent_fields if oauth else manifest.login_fields
        fields = gather(asked, pairs, fields_from, steps=_steps(manifest))
        facts: _Facts = {"fields": fields, "environment": environment, "label": label, "since": start}
        if oauth:
            connection = await page.log_in(
                bs, broker, lambda uri: bs.begin_consent(broker, owner=common.owner, redirect_uri=uri, **facts), common
            )
        else:
            note(f"Testing the login at {manifest.display_name} ...")
            connection = await bs.connect(broker, owner=common.owner, **facts)
        accounts = await bs.accounts(connection.connection_id, common.owner)
        advice = await _advice(bs, connection)
    if common.json:
        from brokersync.converter import to_json

        print_json({"connection": to_json(connection), "accounts": to_json(accounts), "advice": advice})
        return Exit.DONE
    say(f"Connected {connection.connection_id}: {connection.label}")
    for account in accounts:
        say(f"  account {account.account_id} {account.environment} {account.currency or ''}".rstrip())
    for sentence in advice:
        note(f"Please note: {sentence}")
    note(f"Next: brokersync sync {connection.connection_id}")
    return Exit.DONE


def _hearing(name: str, seen: list[Event]) -> EventSink:
    """Keeps what happens before anything is asked for, and says why a login takes so long."""
    from brokersync.events import ScopeFrozen

    def hear(event: Event) -> None:
        seen.append(event)
        if isinstance(event, ScopeFrozen):
            note(f"{name} had too many requests just now. This goes on by itself at {event.until:%H:%M:%S} UTC.")

    return hear


def _say_who_is_trusted(seen: Sequence[Event], key: str, *, approved: bool) -> None:
    from brokersync.events import PluginSeen

    for event in seen:
        if isinstance(event, PluginSeen) and event.provider == key and event.state == "available":
            what = "was updated" if event.was else "is new here"
            why = "It was approved" if approved else "You installed it"
            note(f"{event.distribution} {event.version} {what}. {why}, so it may run, with your rights.")


def reconnect(
    connection: str,
    /,
    *,
    field: Annotated[tuple[str, ...], Parameter(help="NAME=VALUE of a field that is no secret.", negative="")] = (),
    fields_from: Annotated[
        Path | None,
        Parameter(help="A JSON object with what has changed; - reads standard input.", allow_leading_hyphen=True),
    ] = None,
    page: Page = Page(),
    common: Owned = Owned(),
) -> int:
    """Log in again at a connection whose password or token has changed or ended.

    Asks for each field; what is left empty stays as it is stored.

    The login is tested and must be the same one. Connection and history stay.
    """
    return finish(_reconnect(connection, field, fields_from, page, common), common)


async def _reconnect(
    connection_id: str, pairs: tuple[str, ...], fields_from: Path | None, page: Page, common: Owned
) -> int:
    async with common.open() as bs:
        known = await bs.connection(connection_id, common.owner)
        manifest = bs.registry.manifest(known.provider)
        if page.used_for(manifest) or await bs.has_consent(connection_id, owner=common.owner):
            connection = await page.log_in(
                bs,
                known.provider,
                lambda uri: bs.renew_consent(connection_id, owner=common.owner, redirect_uri=uri),
                common,
            )
        else:
            if sys.stdin.isatty() and fields_from is None:
                note(f"Logging in again at {manifest.display_name}. Leave a field empty to keep what is stored.")
            fields = gather(manifest.login_fields, pairs, fields_from, defaults=False)
            note(f"Testing the login at {manifest.display_name} ...")
            connection = await bs.reauthenticate(connection_id, fields, owner=common.owner)
    if common.json:
        from brokersync.converter import to_json

        print_json({"connection": to_json(connection)})
        return Exit.DONE
    say(f"Logged in again {connection.connection_id}: {connection.label}")
    note(f"Next: brokersync sync {connection.connection_id}")
    return Exit.DONE


async def _advice(bs: BrokerSync, connection: Connection) -> list[str]:
    """The login works and is kept, so advice that can not be had now keeps nobody from going on."""
    try:
        return list(await bs.diagnose(connection.connection_id, connection.owner))
    except StoreError:
        raise
    except BrokerError as error:
        return [f"Whether anything is set up wrong at the broker could not be looked at. {error}"]


def _steps(manifest: Manifest) -> list[str]:
    from brokersync.manifest import numbered

    return [f"What to do at {manifest.display_name} first:", *numbered(manifest.setup)] if manifest.setup else []


def gather(
    fields: Sequence[Field],
    pairs: tuple[str, ...],
    fields_from: Path | None,
    *,
    defaults: bool = True,
    steps: Sequence[str] = (),
) -> dict[str, str]:
    """What is given of these fields, by options, from a file, and at a terminal by asking for the rest."""
    given = _from_file(fields_from) if fields_from else {}
    declared = {field.name: field for field in fields}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign:
            raise UsageError(f"--field {pair!r} is not NAME=VALUE.", fault=Fault.USER)
        if name in declared and declared[name].secret:
            raise BrokerConfigError(
                f"The field {name} is a secret, and a command line can be seen by others.",
                remedy="Leave it out to be asked for it, or use --fields-from.",
                fault=Fault.USER,
            )
        given[name] = value
    if sys.stdin.isatty() and fields_from is None:
        if steps:
            note("\n".join(steps))
        for field in fields:
            if field.name not in given:
                given[field.name] = _ask(field, defaults=defaults)
    return {name: value for name, value in given.items() if value != ""}


def _ask(field: Field, *, defaults: bool) -> str:
    note(f"\n{field.label}{'' if field.required else ' (optional)'}: {field.help}")
    prompt = f"{field.name}{f' [{field.default}]' if defaults and field.default else ''}: "
    if field.secret:
        return getpass.getpass(prompt)
    sys.stderr.write(prompt)
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def _from_file(path: Path) -> dict[str, str]:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        data = json.loads(text)
    except (OSError, ValueError):
        # the parser's own words would show a piece of the file, which holds secrets
        raise BrokerConfigError(
            f"The fields in {path} can not be read.", remedy="It must hold one JSON object.", fault=Fault.USER
        ) from None
    if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
        raise BrokerConfigError(
            f"The fields in {path} are not one JSON object of texts.",
            remedy='Write {"name": "value"}.',
            fault=Fault.USER,
        )
    return data
