"""`brokersync verify`: how good an installed plugin is, found out on the spot."""

from __future__ import annotations

from datetime import UTC, datetime
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from brokersync.cli.common import Common, finish, note, print_json, say
from brokersync.cli.exits import Exit

if TYPE_CHECKING:
    from brokersync.levels import Level
    from brokersync.testing.verifying.levels import Judged
    from brokersync.testing.verifying.run import Report

_SHOWN = 12
_IN_PLACE = (
    "The plugin is installed in place (pip install --editable), and the level holds for these files alone. A wheel has"
    " others beside, and another hash: verify the wheel where it is installed."
)
_LONGEST_LINE = 300


def verify(
    key: Annotated[str, Parameter(help="The broker whose plugin is tried.")],
    /,
    *,
    level: Annotated[
        Literal["bronze", "silver", "gold"], Parameter(help="The level below which the command fails.")
    ] = "bronze",
    common: Common = Common(),
) -> int:
    """Run the contract suite over an installed plugin, and say which quality level it has.

    bronze: reads rightly what it is given, by a sandbox, recordings or statements. silver: tells each fault as what it
    is, keeps limits whose numbers have a source, and copes with corrections and with tokens that end. gold: has a
    sandbox of its own, and keeps to windows, pages and books there, also while the sandbox fails.

    What is found is kept, and holds as long as not a byte of the plugin changes; `brokersync providers` shows it. What
    is found of one that is installed in place (--editable) does not hold for its wheel: verify that as well. This runs
    the plugin's own code, and takes a minute or two.
    """
    return finish(_verify(key, level, common), common)


async def _verify(key: str, wanted: str, common: Common) -> int:
    from brokersync.discovery import discover
    from brokersync.errors import BrokerConfigError
    from brokersync.folders import data_folder
    from brokersync.levels import Level
    from brokersync.registry import ProviderRegistry
    from brokersync.testing.verifying.run import check_tools, verify
    from brokersync.verified import keep_verified

    check_tools()
    registry = ProviderRegistry.installed(common.settings())
    loaded = registry.load(key)
    in_place = registry.facts(loaded.manifest.key).development
    offers = [one for one in discover().offers if one.key == loaded.manifest.key]
    offers = [one for one in offers if one.distribution == loaded.distribution] or offers
    note(f"Running the contract suite over {loaded.distribution} {loaded.version} ...")
    report = await verify(offers[0], loaded.manifest, datetime.now(UTC))
    try:
        keep_verified(data_folder(), report.verified)
    except OSError as error:
        raise BrokerConfigError(
            f"The level can not be kept in {data_folder()}: {error.strerror}.", remedy="Make the folder writable."
        ) from None
    if common.json:
        print_json({**as_json(report), "in_place": in_place})
    else:
        _tell(report)
        if in_place:
            note(_IN_PLACE)
    return Exit.DONE if report.verified.level.reaches >= Level(wanted).reaches else Exit.CONFIG


def as_json(report: Report) -> dict[str, Any]:
    """What was found, for programs."""
    from brokersync.converter import to_json

    return {
        **to_json(report.verified),
        "seconds": round(report.took.total_seconds(), 1),
        "levels": [
            {
                "level": one.level.value,
                "reached": one.is_reached,
                "passed": one.passed,
                "failed": [{"check": failed.check, "why": failed.why} for failed in one.failed],
                "lacks": list(one.lacks),
                "exempt": [{"check": exempt.check, "why": exempt.why} for exempt in one.exempt],
                "not_tried": [{"check": left.check, "why": left.why} for left in one.not_tried],
            }
            for one in report.levels
        ],
    }


def _tell(report: Report) -> None:
    from brokersync.cli.tables import duration_text, show_table

    found = report.verified
    say(f"{found.key}, {found.distribution} {found.version}: {found.level.value}")
    show_table(("level", "state", "passed", "failed", "exempt", "not tried"), [_row(one) for one in report.levels])
    for one in report.levels:
        _tell_level(one)
    if (following := _next(report.levels, found.level)) is not None:
        say(f"\nFor {following.level.value}: {_to_do(following)}")
    say(f"\nThe files that were tested have the hash {found.files}.")
    note(f"This took {duration_text(report.took)}. When a byte of the plugin changes, the level is void.")


def _to_do(one: Judged) -> str:
    steps = [
        step
        for step, needed in (
            ("mend what failed", one.failed),
            ("give it what it lacks; what could not be tried says what the suite looked for", one.lacks),
        )
        if needed
    ]
    return f"{', and '.join(steps)}."


def _row(one: Judged) -> tuple[str, ...]:
    counts = (one.passed, len(one.failed), len(one.exempt), len(one.not_tried))
    return one.level.value, "kept" if one.is_reached else "not kept", *map(str, counts)


def _tell_level(one: Judged) -> None:
    for title, lines in (
        ("fails", one.failed),
        ("lacks", one.lacks),
        ("is let off, for a while", one.exempt),
        ("was not tried", one.not_tried),
    ):
        if not lines:
            continue
        say(f"\n{one.level.value} {title}:")
        for line in lines[:_SHOWN]:
            say(f"  {shorten(str(line), _LONGEST_LINE, placeholder=' ...')}")
        if len(lines) > _SHOWN:
            say(f"  and {len(lines) - _SHOWN} more; --json has all")


def _next(levels: tuple[Judged, ...], level: Level) -> Judged | None:
    return next((one for one in levels if one.level.reaches == level.reaches + 1), None)
