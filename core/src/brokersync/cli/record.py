"""`brokersync record`: a session with a broker as fixtures with nothing private in them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Annotated, Any

import attrs
from cyclopts import Parameter

from brokersync.cli.common import Owned, finish, note, print_json, say, show_error
from brokersync.cli.connect import gather
from brokersync.cli.consent import Page
from brokersync.cli.exits import Exit, UsageError
from brokersync.errors import BrokerConfigError, Fault

if TYPE_CHECKING:
    from brokersync.testing.recording.recorder import Made, Taken

_SHOWN = 8
_LONGEST_DAYS = 365
_EXAMPLES = 6
_OF_SECRETS = (
    " Secrets were as well: base64, base32, hexadecimal digits and UUIDs by others of as many bytes, what has to have a"
    " `pattern` by one that fits, the rest by not-the-real-NAME. So leave it to the broker to refuse a secret."
)


def record(
    key: Annotated[str, Parameter(help="The broker to record.")],
    /,
    *,
    to: Annotated[
        Path | None, Parameter(help="The new folder of the recording; else recordings/KEY-DATE where you are.")
    ] = None,
    field: Annotated[tuple[str, ...], Parameter(help="NAME=VALUE of a field that is no secret.", negative="")] = (),
    fields_from: Annotated[
        Path | None,
        Parameter(
            help="A JSON object with the fields, secrets too; - reads standard input.", allow_leading_hyphen=True
        ),
    ] = None,
    environment: Annotated[str | None, Parameter(help="Which side of the broker to log in to.")] = None,
    days: Annotated[int, Parameter(help="How many days to read of each source, at most.")] = 20,
    connection: Annotated[
        str | None, Parameter(help="A stored connection whose kept fields are used for a login of its own.")
    ] = None,
    page: Page = Page(),
    common: Owned = Owned(),
) -> int:
    """Record a session with a broker as fixtures for its plugin's tests, with nothing private in them.

    Logs in with real credentials, or at the broker's own page, lists the accounts and reads some days of each source.
    Ids and private texts are replaced by others of the same shape, the same everywhere; amounts are multiplied by one
    secret number; secrets are taken out; times, quantities and what `[recording]` in the plugin's provider.toml calls
    harmless stay. With --connection the tokens of the connection are neither sent nor renewed.

    Nothing is written unless the plugin reads the recording as it read the broker, and nothing in it looks private any
    more. Look at it all the same before you publish it: times stay, and who knows the market can tell the prices.
    """
    if not 1 <= days <= _LONGEST_DAYS:
        return show_error(UsageError(f"--days {days} is out of reach.", remedy=f"Give 1 to {_LONGEST_DAYS}."), common)
    if connection is not None and (page.oauth or field or fields_from or environment):
        message = "--connection says already how to log in, and where."
        return show_error(
            UsageError(message, remedy="Leave out --oauth, --field, --fields-from and --environment."), common
        )
    login = _Login(field, fields_from, environment, connection, page)
    return finish(_record(key, to, login, timedelta(days=days), common), common)


@attrs.frozen
class _Login:
    """How to log in, as it was said."""

    pairs: tuple[str, ...]
    fields_from: Path | None
    environment: str | None
    connection: str | None
    page: Page


async def _record(key: str, to: Path | None, login: _Login, span: timedelta, common: Owned) -> int:
    from brokersync.clock import SystemClock
    from brokersync.registry import ProviderRegistry
    from brokersync.testing.verifying.run import check_tools

    check_tools()
    from brokersync.testing.recording.consenting import AtThePage
    from brokersync.testing.recording.kept import kept_login
    from brokersync.testing.recording.recorder import make_recording, take_session
    from brokersync.testing.recording.recording import write

    settings = common.settings()
    loaded = ProviderRegistry.installed(settings).load(key)
    manifest, clock = loaded.manifest, SystemClock()
    folder = to or Path("recordings") / f"{manifest.key}-{clock.now():%Y-%m-%d}"
    if folder.exists():
        raise BrokerConfigError(f"{folder} is there already.", remedy="Name another folder with --to.")
    if loaded.spec.create is None:
        raise BrokerConfigError(
            f"{manifest.display_name} is read from files only.", remedy="Give statements in the plugin's own suite."
        )
    take = partial(take_session, loaded, settings=settings, clock=clock, span=span, tell=note)
    environment = login.environment or manifest.environments[0]
    if login.connection is not None:
        store, keys = common.store_and_keys(settings)
        who = {"connection_id": login.connection, "owner": common.owner}
        async with kept_login(store, keys, manifest, clock, **who) as kept:
            taken = await take(environment=kept.environment, fields=kept.fields)
    elif login.page.used_for(manifest):
        fields = gather(manifest.consent_fields, login.pairs, login.fields_from)
        async with login.page.asking(settings, manifest.key) as (uri, ask):
            taken = await take(environment=environment, fields=fields, page=AtThePage(uri, ask))
    else:
        fields = gather(manifest.login_fields, login.pairs, login.fields_from)
        taken = await take(environment=environment, fields=fields)
    note("Making it anonymous, and reading it again ...")
    made = await make_recording(taken, loaded, SystemRandom())
    _refuse_leaks(made)
    _refuse_differences(made)
    write(made.recording, folder)
    if common.json:
        print_json(_facts(made, taken, folder))
        return Exit.PARTLY if taken.failed else Exit.DONE
    _tell(made, taken, folder)
    return Exit.PARTLY if taken.failed else Exit.DONE


def _refuse_leaks(made: Made) -> None:
    if leaks := sorted({*map(str, made.sanitised.leaks)}):
        more = f"; and {len(leaks) - _EXAMPLES} more" if len(leaks) > _EXAMPLES else ""
        raise BrokerConfigError(
            f"Nothing was written, since something private would be: {'; '.join(leaks[:_EXAMPLES])}{more}.",
            remedy="Take the field out of `harmless` under [recording] in the plugin's provider.toml, or report it.",
            fault=Fault.PLUGIN,
        )


def _refuse_differences(made: Made) -> None:
    from brokersync.testing.recording.kinds import Kind
    from brokersync.testing.recording.recorder import LOGIN_FAILS

    if made.differences:
        replaced = made.sanitised.summary[Kind.PRIVATE] + made.sanitised.summary[Kind.ID]
        names = ", ".join(name for name, _ in replaced.most_common() if not name.startswith("header "))
        signs = any(one.startswith(LOGIN_FAILS) for one in made.differences)
        raise BrokerConfigError(
            "Nothing was written, since the plugin does not read the recording as it read the broker:"
            f" {'; '.join(made.differences[:_EXAMPLES])}.",
            remedy="Name the fields that are not private and that the plugin goes by in `harmless` under [recording] in"
            f" its provider.toml, and amounts that were taken for ids in `amounts`. Replaced were: {names}."
            + (_OF_SECRETS if signs else ""),
            fault=Fault.PLUGIN,
        )


def _facts(made: Made, taken: Taken, folder: Path) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "requests": len(made.recording.exchanges),
        "readings": [
            {"source": one.source, "accounts": len(one.accounts), "rows": one.rows, "quarantined": one.quarantined}
            for one in made.recording.readings
        ],
        "failed": dict(taken.failed),
        "fields": {kind.value: dict(counts) for kind, counts in made.sanitised.summary.items()},
        "dropped": list(made.sanitised.dropped),
    }


def _tell(made: Made, taken: Taken, folder: Path) -> None:
    from brokersync.cli.tables import show_table

    show_table(
        ("what became of it", "values", "fields"),
        [(kind.value, str(sum(counts.values())), _named(counts)) for kind, counts in made.sanitised.summary.items()],
        right=("values",),
        whole=("what became of it",),
    )
    for line in made.sanitised.dropped:
        say(f"Left out: {line}.")
    say("")
    for one in made.recording.readings:
        say(f"{one.source}: {one.rows} rows of {len(one.accounts)} accounts are read from it as from the broker.")
    for source, why in taken.failed.items():
        say(f"{source} could not be read, and is not in it: {why}")
    say(f"Written to {folder}: {len(made.recording.exchanges)} requests with their answers.")
    note("Look at it before you publish it. In the folder `recordings` of the plugin's package its tests replay it.")


def _named(counts: Mapping[str, int]) -> str:
    names = list(dict.fromkeys(name.rpartition(".")[2] for name in sorted(counts, key=lambda one: -counts[one])))
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
