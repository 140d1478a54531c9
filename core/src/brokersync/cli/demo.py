"""`brokersync demo`: the main job end to end on this machine, against simulated brokers."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from brokersync.cli.common import Common, finish, note, print_json, show_error
from brokersync.cli.exits import Exit
from brokersync.errors import BrokerConfigError, BrokerError

if TYPE_CHECKING:
    from brokersync.cli.demo_stage import Stage
    from brokersync.registry import ProviderRegistry

_DAYS = 365


def demo(
    *,
    keep: Annotated[Path | None, Parameter(help="Keep the demo's store and configuration in this new folder.")] = None,
    seed: Annotated[int, Parameter(help="The same seed gives the same history.")] = 7,
    common: Common = Common(),
) -> int:
    """Run the main job end to end, with simulated brokers on this machine.

    Connects two logins at each installed broker, reads a year of history through a rate limit, an expired token and a
    killed process, and reads it again to show that nothing is lost and nothing doubles. Needs no account and no
    network, takes less than a minute, and leaves nothing behind unless --keep is given.
    """
    try:
        if keep is not None:
            return finish(_play(_new_folder(keep), seed, common), common)
        with tempfile.TemporaryDirectory(prefix="brokersync-demo-") as folder:
            return finish(_play(Path(folder), seed, common), common)
    except BrokerError as error:
        return show_error(error, common)
    except asyncio.CancelledError:
        return Exit.STOPPED


def _new_folder(path: Path) -> Path:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise BrokerConfigError(f"{path} is there already and not empty.", remedy="Name a new folder with --keep.")
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()


async def _play(folder: Path, seed: int, common: Common) -> int:
    from brokersync.cli.demo_stage import Stage
    from brokersync.registry import ProviderRegistry
    from brokersync.sandboxes import SandboxSettings

    registry = ProviderRegistry.installed()
    brokers = [key for key in registry.keys() if _has_sandbox(registry, key)]  # noqa: SIM118  not a mapping
    if not brokers:
        raise BrokerConfigError(
            "No installed broker brings a sandbox, so there is nothing to show.",
            remedy="Install one: `brokersync providers` says how.",
        )
    settings = SandboxSettings(now=lambda: datetime.now(UTC), seed=seed, days=_DAYS, think=timedelta(milliseconds=300))
    async with Stage(folder, brokers, registry, settings) as stage:
        _end_on_signals()
        facts = await _acts(stage)
    _finish(facts, folder, common)
    return Exit.DONE if facts["proved"] else Exit.BUG


def _end_on_signals() -> None:
    """A closed terminal or a `kill` ends the demo like Ctrl-C: its child and its folder go with it."""
    task = asyncio.current_task()
    for name in ("SIGTERM", "SIGHUP"):
        if task is not None and hasattr(signal, name):
            with suppress(NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(getattr(signal, name), task.cancel)


def _has_sandbox(registry: ProviderRegistry, key: str) -> bool:
    try:
        manifest = registry.manifest(key)
    except BrokerError as error:
        note(f"Left out: {error.message}")
        return False
    if all(source.files for source in manifest.sources):
        note(f"Left out: {manifest.display_name}, whose trades come in files.")
        return False
    return manifest.sandbox is not None


async def _acts(stage: Stage) -> dict[str, Any]:
    note(f"1. Simulated brokers are listening: {', '.join(stage.addresses())}")
    await stage.connect()
    note(f"2. Connected {len(stage.connections)} logins, each tested at its broker before it was kept, sealed.")
    faults = await stage.inject_faults()
    note(f"3. On the way there will be: {'; '.join(faults)}.")
    note("4. A sync of one login in a process of its own, killed in the middle (SIGKILL) ...")
    killed = await stage.sync_and_kill()
    note(f"   {killed}")
    note("5. Syncing all of them: the killed one goes on where its last page was committed.")
    first = await stage.sync()
    note("6. Syncing again, and reading the last 60 days once more: nothing may double.")
    position = await stage.feed_position()
    second = await stage.sync(again_from=datetime.now(UTC) - timedelta(days=60))
    added_again = await stage.added_since(position)
    proof = await stage.compare()
    return {
        "killed": killed,
        "faults": faults,
        "first": first,
        "second": second,
        "added_again": added_again,
        "books": proof,
        "proved": all(row["equal"] for row in proof)
        and added_again == 0
        and not any(one["error"] for one in [*first, *second]),
    }


def _finish(facts: dict[str, Any], folder: Path, common: Common) -> None:
    if common.json:
        print_json(facts)
        return
    from brokersync.cli.tables import duration_text, show_table

    numbers = ("fetched", "added", "modified", "unchanged", "requests", "retries", "waits")
    for title, name in (("First sync", "first"), ("Second sync", "second")):
        sys.stdout.write(f"\n{title}\n")
        show_table(
            ("connection", *numbers, "time"),
            [
                (
                    one["connection_id"],
                    *(str(one["report"].get(number, "")) for number in numbers),
                    duration_text(timedelta(seconds=one["report"].get("duration", 0))),
                )
                for one in facts[name]
            ],
            right=(*numbers, "time"),
        )
        for one in facts[name]:
            if one["error"]:
                sys.stdout.write(f"{one['connection_id']}: {one['error']['message']}\n")
            for problem in one["report"].get("problems", ()):
                sys.stdout.write(f"{one['connection_id']}: {problem['message']}\n")
    sys.stdout.write("\nThe store against the simulated brokers' own books\n")
    show_table(
        ("account", "at the broker", "in the store", "missing", "too many", "different"),
        [
            (row["account"], *(str(row[name]) for name in ("broker", "store", "missing", "extra", "different")))
            for row in facts["books"]
        ],
        right=("at the broker", "in the store", "missing", "too many", "different"),
    )
    verdict = (
        "Every trade is there once, with the broker's own numbers." if facts["proved"] else "NOT proved: see above."
    )
    sys.stdout.write(f"\n{verdict}\n")
    _say_next(folder)


def _say_next(folder: Path) -> None:
    if folder.exists() and not folder.name.startswith("brokersync-demo-"):
        sys.stdout.write(
            f"\nKept in {folder}. Look at it:\n  brokersync trades --owner demo --store {folder / 'demo.db'}\n"
        )
    sys.stdout.write(
        "\nNext, with an account of your own:\n"
        "  brokersync providers              what is installed, and what each broker needs\n"
        "  brokersync connect BROKER         asks for the login and tests it\n"
        "  brokersync sync                   reads the history, then what is new\n"
        "  brokersync trades --format csv    your trades\n"
        "  brokersync import BROKER FILE     or from a statement you downloaded\n"
    )
