"""`brokersync disconnect`, `export`, `forget`, `rotate-key`: what is kept, and its end."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

from cyclopts import Parameter

from brokersync.cli.common import Common, Owned, finish, note, print_json
from brokersync.cli.exits import Exit
from brokersync.errors import BrokerConfigError, Fault

if TYPE_CHECKING:
    from brokersync.records import Forgotten


def disconnect(
    connection: str,
    /,
    *,
    erase: Annotated[
        bool, Parameter(help="Also erase the accounts that no other connection sees, with their trades.", negative="")
    ] = False,
    common: Owned = Owned(),
) -> int:
    """End a connection and its login, at the broker too where its plugin can.

    Accounts, trades and coverage stay, and connecting again goes on from there, unless you erase them.
    """
    return finish(_disconnect(connection, erase, common), common)


async def _disconnect(connection: str, erase: bool, common: Owned) -> int:
    async with common.open() as bs:
        done = await bs.disconnect(connection, owner=common.owner, erase=erase)
    if common.json:
        from brokersync.converter import to_json

        print_json({"disconnected": {"connection_id": connection, **to_json(done)}})
        return Exit.DONE
    sys.stdout.write(f"Disconnected {connection}.\n")
    if erase:
        sys.stdout.write(f"Erased {_number(done.accounts, 'account')} with {_number(done.trades, 'trade')}.\n")
    else:
        note("Its accounts and trades are kept; connect again to go on from there.")
    if not done.revoked:
        note("The broker was not told: end the login or its key there too, if you want it gone.")
    return Exit.DONE


def export(
    *,
    out: Annotated[Path | None, Parameter(help="The file to write; else standard output.")] = None,
    common: Owned = Owned(),
) -> int:
    """Write everything that is kept of you, without secrets, as lines of JSON."""
    return finish(_export(out, common), common)


async def _export(out: Path | None, common: Owned) -> int:
    async with common.open() as bs:
        lines = bs.export(common.owner)
        if out is not None:
            count = await _write_file(lines, out)
        elif common.json:
            import json

            print_json({"export": [json.loads(line) async for line in lines]})
            return Exit.DONE
        else:
            async for line in lines:
                sys.stdout.write(line + "\n")
            return Exit.DONE
    if common.json:
        print_json({"export": {"file": str(out), "lines": count}})
    else:
        sys.stdout.write(f"Wrote {_number(count, 'line')} to {out}.\n")
    return Exit.DONE


async def _write_file(lines: AsyncIterator[str], out: Path) -> int:
    count = 0
    with _whole_file(out) as file:
        async for line in lines:
            file.write(line + "\n")
            count += 1
    return count


@contextmanager
def _whole_file(out: Path) -> Iterator[TextIO]:
    """Everything or nothing, readable by its owner alone."""
    try:
        handle, name = tempfile.mkstemp(prefix=f"{out.name}.", dir=out.parent)
        draft = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                yield file
            draft.replace(out)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise BrokerConfigError(
            f"{out} can not be written: {error.strerror}.", remedy="Name another file with --out.", fault=Fault.USER
        ) from None


def forget(
    *,
    yes: Annotated[bool, Parameter(help="Do not ask.", negative="")] = False,
    common: Owned = Owned(),
) -> int:
    """Erase everything that is kept of you: logins, accounts, trades, the feed and reports.

    It can not be taken back. Logins are not ended at the brokers; disconnect them before.
    """
    return finish(_forget(yes, common), common)


async def _forget(yes: bool, common: Owned) -> int:
    async with common.open() as bs:
        if not yes:
            _confirm(common.owner)
        done = await bs.forget(common.owner)
    if common.json:
        from brokersync.converter import to_json

        print_json({"forgotten": {"owner": common.owner, **to_json(done)}})
    else:
        _show_forgotten(common.owner, done)
    return Exit.DONE


def _confirm(owner: str) -> None:
    note(f"This erases every login, account and trade of {owner!r}, and can not be taken back.")
    sys.stderr.write("Type the owner's name to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != owner:
        raise BrokerConfigError(
            "Nothing was erased: that is not the owner's name.",
            remedy="Run it again and type the name, or add --yes.",
            fault=Fault.USER,
        )


def _show_forgotten(owner: str, done: Forgotten) -> None:
    rows = sum(done.rows.values())
    if not rows:
        sys.stdout.write("Nothing was kept.\n")
        return
    trades = _number(done.rows.get("trades", 0), "trade")
    sys.stdout.write(f"Forgot {owner}: {_number(rows, 'row')}, {trades} among them.\n")
    for sentence in done.remains:
        note(sentence)


def rotate_key(
    *,
    data_keys: Annotated[
        bool, Parameter(help="Also give each owner a new data key and seal all logins with it.", negative="")
    ] = False,
    common: Common = Common(),
) -> int:
    """Replace the key that seals the logins, for all owners; syncs may go on meanwhile."""
    return finish(_rotate_key(data_keys, common), common)


async def _rotate_key(data_keys: bool, common: Common) -> int:
    async with common.open() as bs:
        done = await bs.rotate_key(data_keys=data_keys)
    if common.json:
        from brokersync.converter import to_json

        print_json({"rotated": to_json(done)})
        return Exit.DONE
    owners = _number(done.rewrapped + done.replaced, "owner")
    sys.stdout.write(f"Rotated the key for the logins of {owners}.\n")
    for sentence in done.remains:
        note(sentence)
    if not done.remains:
        note("Old copies of the key open old copies of the store still: replace the copies of both.")
    return Exit.DONE


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
