"""What all commands share: where the store is, who the owner is, and how results and errors are shown."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO, TypeVar

from cyclopts import Parameter

from brokersync.cli.exits import UsageError, exit_of
from brokersync.cli.visible import visible
from brokersync.errors import BrokerConfigError, BrokerError

if TYPE_CHECKING:
    from brokersync.config import Settings
    from brokersync.events import EventSink
    from brokersync.sealing import KeyProvider
    from brokersync.service import BrokerSync
    from brokersync.store import Store

R = TypeVar("R")


@Parameter(name="*", group="Common")
@dataclass(frozen=True)
class Common:
    """Options of every command."""

    # a URL may hold a password
    store: Annotated[
        str | None,
        Parameter(
            help="The store's file, or postgresql://... Else BROKERSYNC_STORE, the configuration, or your data folder."
        ),
    ] = field(default=None, repr=False)
    config: Annotated[Path | None, Parameter(help="A TOML configuration. Else BROKERSYNC_CONFIG.")] = None
    json: Annotated[bool, Parameter(help="One JSON document on standard output, and nothing else.", negative="")] = (
        False
    )

    log: Annotated[
        Literal["debug", "info", "warning"] | None,
        Parameter(help="Write what happens as log lines to standard error; debug shows every request."),
    ] = None

    def settings(self) -> Settings:
        from brokersync.config import load_settings
        from brokersync.overruling import mistakes_of_brokers

        return load_settings(self.config, also=mistakes_of_brokers)

    def place(self, settings: Settings) -> str | Path:
        """Where the store is."""
        from brokersync.folders import data_folder
        from brokersync.store.postgres_url import is_url

        named = self.store or os.environ.get("BROKERSYNC_STORE") or settings.store
        if named and is_url(named):
            return named
        path = Path(named).expanduser() if named else data_folder() / "brokersync.db"
        if not path.name or path.is_dir():
            raise BrokerConfigError(f"{path} is no file for a store.", remedy="Name a file with --store.")
        return path

    def open(self, *, make: bool = False, hears: EventSink | None = None) -> BrokerSync:
        """The service over the store; with `make` a missing one is made, which what only reads must never do.

        `hears` is told all events, too.

        Says once when a key file was made.
        """
        from brokersync.service import BrokerSync

        settings = self.settings()
        store, keys = self.store_and_keys(settings, make=make)
        return BrokerSync.open(store, settings=settings, events=self._events(hears), keys=keys)

    def store_and_keys(self, settings: Settings, *, make: bool = False) -> tuple[Store, KeyProvider]:
        """The store, which is still to be opened, and what opens the logins in it."""
        from brokersync.masterkeys import KeyFile
        from brokersync.store.place import is_shared, store_at

        store, key_file = store_at(self.place(settings), make=make)
        return store, KeyFile(key_file, _tell_of_key, shared=is_shared(key_file))

    def _events(self, hears: EventSink | None) -> EventSink:
        from brokersync.listening import all_of

        sinks = [] if hears is None else [hears]
        if self.log is not None:
            from brokersync.logs import event_log

            sinks.append(event_log(sys.stderr, self.log))
        return all_of(*sinks)


@Parameter(name="*", group="Common")
@dataclass(frozen=True)
class Owned(Common):
    """Options of a command about what one owner has."""

    owner: Annotated[str, Parameter(help="Whose connections and trades.", env_var="BROKERSYNC_OWNER")] = "me"


def _tell_of_key(path: Path) -> None:
    note(f"Made the key file {path}. It opens the logins kept in the store: keep a copy apart from it.")


def finish(work: Coroutine[Any, Any, int], common: Common) -> int:
    """Run a command's work; an expected error is shown with what to do, and gives its exit code."""
    try:
        return asyncio.run(work)
    except BrokerError as error:
        return show_error(error, common)


def show_error(error: BrokerError, common: Common) -> int:
    """Show an error on standard error, or as the JSON document, and give its exit code."""
    if common.json:
        print_json({"error": error.describe()})
    else:
        note(f"Error: {error.message}")
        if error.remedy:
            note(textwrap.indent(error.remedy, "  "))
    return exit_of(error)


def print_json(value: Any) -> None:
    """The command's one JSON document."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def note(text: str) -> None:
    """A line for the person at the terminal, broken between words; standard output stays for results."""
    _write(text, sys.stderr)


def say(text: str) -> None:
    """A line of a result, broken between words on a terminal."""
    _write(text, sys.stdout)


def _write(text: str, stream: TextIO) -> None:
    text = visible(text)
    if stream.isatty():
        width = shutil.get_terminal_size().columns
        text = "\n".join(_filled(line, width) for line in text.splitlines())
    stream.write(text + "\n")


def _filled(line: str, width: int) -> str:
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.fill(line, width, subsequent_indent=indent + "  ", break_on_hyphens=False)


def check_accounts(owner: str, wanted: Iterable[str], counts: Iterable[Mapping[str, Any]]) -> None:
    """Raises `BrokerConfigError` for an account that is none of those that are counted."""
    known = sorted({one["account_id"] for one in counts})
    for name in wanted:
        if name not in known:
            raise BrokerConfigError(
                f"{owner!r} has no account {name!r}.", remedy=f"Known are: {', '.join(known) or 'none'}."
            )


def parse_day(text: str, name: str) -> datetime:
    """A day as `YYYY-MM-DD`, or an instant with a zone, in UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{name} {text!r} is no day.", remedy="Write it like 2025-01-31.") from None
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise UsageError(f"{name} {text!r} is out of reach.", remedy="Write it like 2025-01-31.") from None
