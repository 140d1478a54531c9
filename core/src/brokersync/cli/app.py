"""The commands by name, and what every command does with errors."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Sequence
from inspect import cleandoc
from typing import Final

import cyclopts

from brokersync.cli import (
    connect,
    coverage,
    custody,
    demo,
    doctor,
    explain,
    governing,
    limits,
    match,
    migrate,
    providers,
    record,
    renormalise,
    sandbox,
    statements,
    status,
    sync,
    trades,
    verify,
    worker,
)
from brokersync.cli.exits import Exit
from brokersync.version import VERSION

_HELP = "Import every execution from your brokers."

_EPILOGUE = """
Exit codes: 0 done · 1 a bug · 2 wrong usage · 3 configuration, plugin or unreadable file · 4 log in again ·
5 the broker is busy or away, try later · 6 the broker refused something, the rest is done · 7 the store · 130 stopped.
"""


_VALUED: Final = ("--log", "--store", "--config", "--owner")
_FLAGS: Final = ("--json",)
_CAN_NOT_BE_WRITTEN = (errno.ENOSPC, errno.EFBIG, errno.EIO)


_COMMANDS: Final[Sequence[Callable[..., int]]] = (
    demo.demo,
    providers.providers,
    connect.connect,
    connect.reconnect,
    sync.sync,
    statements.import_,
    trades.trades,
    match.match,
    status.status,
    coverage.coverage,
    limits.limits,
    doctor.doctor,
    explain.explain,
    renormalise.renormalise,
    worker.worker,
    migrate.migrate,
    sandbox.sandbox,
    record.record,
    verify.verify,
    custody.disconnect,
    custody.export,
    custody.forget,
    custody.rotate_key,
)


def build() -> cyclopts.App:
    """All commands; building them imports no HTTP, no store and no plugin."""
    app = cyclopts.App(
        name="brokersync",
        help=_HELP,
        help_epilogue=_flowing(_EPILOGUE),
        version=VERSION,
        help_format="plaintext",
        result_action="return_value",
    )
    for command in _COMMANDS:
        # a line of the source is no line of a terminal
        name = "import" if command is statements.import_ else None
        if command is providers.providers:
            app.command(_group())
        else:
            app.command(command, name=name, help=_help_of(command))
    return app


def _group() -> cyclopts.App:
    """`providers` is a command, and has some of its own below it."""
    group = cyclopts.App(
        name="providers",
        help=_help_of(providers.providers),
        help_format="plaintext",
        result_action="return_value",
        default_command=providers.providers,
    )
    for name, command in governing.COMMANDS.items():
        group.command(command, name=name, help=_help_of(command))
    return group


def _help_of(command: Callable[..., int]) -> str:
    return _flowing(command.__doc__ or "").partition("\n\nParameters")[0]


def _flowing(text: str) -> str:
    """Each paragraph as one line, for the terminal to break; what stands there of arguments is shown with them."""
    told = cleandoc(text).partition("\n\nParameters\n---")[0]
    return "\n\n".join(" ".join(part.split()) for part in told.split("\n\n"))


def run(words: Sequence[str]) -> int:
    """Run one command and give its exit code."""
    app = build()
    try:
        result = app(_command_first(words), exit_on_error=False, print_error=True)
        sys.stdout.flush()
    except cyclopts.CycloptsError:
        return Exit.USAGE
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped. What was read is kept; run it again to go on.\n")
        return Exit.STOPPED
    except BrokenPipeError:
        # the reader of our output went away, as `head` does; nothing is left to say to it
        sys.stdout = None
        return Exit.DONE
    except OSError as error:
        if error.errno not in _CAN_NOT_BE_WRITTEN:
            raise
        sys.stdout = None
        sys.stderr.write(f"Error: The output can not be written: {error.strerror}.\n  Write it to another place.\n")
        return Exit.CONFIG
    return result if isinstance(result, int) else Exit.DONE


def _command_first(words: Sequence[str]) -> list[str]:
    """Options that all commands have may stand before the command, too: each command takes them itself."""
    left, moved = list(words), list[str]()
    while left and left[0].partition("=")[0] in (*_VALUED, *_FLAGS):
        many = 2 if left[0] in _VALUED else 1
        moved += left[:many]
        del left[:many]
    end = left.index("--") if "--" in left else len(left)
    return [*left[:end], *moved, *left[end:]] if left else list(words)
