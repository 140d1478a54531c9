"""`brokersync import`: a statement that was downloaded from a broker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import attrs
from cyclopts import Parameter

from brokersync.cli.common import Owned, finish, note, print_json, say
from brokersync.cli.exits import Exit, UsageError, exit_of
from brokersync.errors import BrokerAPIError, BrokerConfigError, BrokerError, Fault

if TYPE_CHECKING:
    from brokersync.service import BrokerSync
    from brokersync.types import QuarantinedRow, StatementHints, TradeBooking

_SHOWN_ROWS = 50
# which option answers what a plugin asks of a file
_OPTIONS = {"account_id": "--account", "environment": "--environment", "zone": "--zone"}


def import_(
    broker: str,
    /,
    *files: Path,
    dry_run: Annotated[bool, Parameter(help="Say what each row would do, and keep nothing.", negative="")] = False,
    account: Annotated[str | None, Parameter(help="The account, for a file that does not tell it.")] = None,
    environment: Annotated[str | None, Parameter(help="Live or demo, for a file that does not tell it.")] = None,
    zone: Annotated[str | None, Parameter(help="The file's time zone, for a file that does not tell it.")] = None,
    common: Owned = Owned(),
) -> int:
    """Import statements that you downloaded from a broker, with or without a connection.

    A file is checked to its end before anything is kept; importing it again changes nothing.
    """
    from brokersync.types import StatementHints

    told = StatementHints(account_id=account, environment=environment, zone=zone)
    return finish(_import(broker, files, told, dry_run, common), common)


async def _import(broker: str, files: Sequence[Path], told: StatementHints, dry_run: bool, common: Owned) -> int:
    if not files:
        raise UsageError("No file is named.", remedy="Name at least one: brokersync import BROKER FILE")
    code, answers = Exit.DONE, []
    async with common.open(make=True) as bs:
        bs.registry.load(broker)
        for path in files:
            hints = attrs.evolve(told, name=path.name)
            answer = await _import_file(bs, broker, path, hints, dry_run, common)
            code = max(code, answer.pop("exit"))
            answers.append(answer)
            if not common.json:
                _show(answer, dry_run)
    if common.json:
        print_json({"imports": answers, "dry_run": dry_run})
    return code


async def _import_file(
    bs: BrokerSync, broker: str, path: Path, hints: StatementHints, dry_run: bool, common: Owned
) -> dict[str, Any]:
    from brokersync.converter import to_json

    rows: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()

    def on_row(row: TradeBooking | QuarantinedRow, disposition: str) -> None:
        counts[disposition] += 1
        if dry_run:
            rows.append(_row(row, disposition))

    try:
        with _opened(path) as file:
            report = await bs.import_statement(
                broker, file, owner=common.owner, hints=hints, dry_run=dry_run, on_row=on_row
            )
    except BrokerError as error:
        # the file is what can not be read here, whoever wrote it: nothing was refused by a broker
        code = Exit.CONFIG if isinstance(error, BrokerAPIError) else exit_of(error)
        return {"file": path.name, "error": error.describe(), "exit": code}
    answer = {"file": path.name, "report": to_json(report), "dispositions": dict(counts), "exit": Exit.DONE}
    return answer | ({"rows": rows} if dry_run else {})


def _opened(path: Path) -> BinaryIO:
    """The file; of a pipe, which can be read only once, what came out of it."""
    try:
        file = path.open("rb")
        if file.seekable():
            return file
        return _kept(file)
    except OSError as error:
        raise BrokerConfigError(
            f"The file {path} can not be opened: {error.strerror}.", remedy="Check its name.", fault=Fault.USER
        ) from None


def _kept(pipe: BinaryIO) -> BinaryIO:
    import shutil
    import tempfile

    with pipe:
        kept = tempfile.TemporaryFile()  # noqa: SIM115  whoever asked for it closes it
        shutil.copyfileobj(pipe, kept)
        kept.seek(0)
        return kept


def _row(booking: TradeBooking | QuarantinedRow, disposition: str) -> dict[str, Any]:
    from brokersync.converter import decimal_text, instant_text
    from brokersync.types import QuarantinedRow

    if isinstance(booking, QuarantinedRow):
        return {
            "disposition": disposition,
            "booking_id": booking.row_id,
            "account_id": booking.account_id,
            "reason": booking.reason,
        }
    row: dict[str, Any] = {
        "disposition": disposition,
        "booking_id": booking.booking_id,
        "account_id": booking.account_id,
        "effect": booking.effect.value,
    }
    if booking.trade is not None:
        row |= {
            "side": booking.trade.side.value,
            "quantity": decimal_text(booking.trade.quantity),
            "symbol": booking.trade.instrument.symbol,
            "price": decimal_text(booking.trade.price),
            "executed_at": instant_text(booking.trade.executed_at),
        }
    return row


def _show(answer: dict[str, Any], dry_run: bool) -> None:
    name = answer["file"]
    if "error" in answer:
        error = answer["error"]
        asked = [f"{text} ({_OPTIONS[what]})" for what, text in error.get("fields", {}).items() if what in _OPTIONS]
        note(" ".join([f"{name}: {error['message']}", *asked, error.get("remedy", "")]))
        return
    report = answer["report"]
    verb = "would add" if dry_run else "added"
    read = report["fetched"] + report["quarantined"]
    say(
        f"{name}: {read} rows read, {verb} {report['added']}, modified {report['modified']}, "
        f"unchanged {report['unchanged']}, quarantined {report['quarantined']}"
    )
    _show_other_counts(report, answer["dispositions"], dry_run)
    for problem in report["problems"]:
        say(f"  {problem['message']} {problem.get('remedy', '')}")
    for reason, count in sorted(report["skipped"].items()):
        say(f"  passed over: {count} {reason}")
    for reason, count in sorted(report["unmapped"].items()):
        say(f"  new to us: {reason} ({count})")
    if dry_run:
        _show_rows(answer["rows"])


def _show_other_counts(report: dict[str, Any], became: dict[str, int], dry_run: bool) -> None:
    """What became of the rows that the first line does not count."""
    if known := became.get("known"):
        say(f"  {known} known already: they are of trades that were told before, and change nothing")
    if report["removed"]:
        say(f"  {report['removed']} trades {'would be ' if dry_run else ''}removed")
    if report["waiting"] > 0:
        say(f"  {report['waiting']} cancels wait for the trade that they cancel")
    if report["quarantined"] and not dry_run:
        say("  `brokersync status --json` says of each quarantined row why it was not understood")
    if outdated := report["dispositions"].get("outdated"):
        say(f"  {outdated} told otherwise by what the broker made later and was read before: that stands")


def _instead(row: dict[str, Any], name: str) -> str:
    """What stands for the content of a cancel, or of a row that was not understood."""
    return str(row.get({"side": "effect", "symbol": "reason"}.get(name, ""), ""))


def _show_rows(rows: Sequence[dict[str, Any]]) -> None:
    from brokersync.cli.tables import show_table

    names = ("disposition", "executed_at", "side", "quantity", "symbol", "price", "booking_id")
    show_table(
        ("what", "executed", "side", "quantity", "symbol", "price", "row"),
        [tuple(str(row.get(name, _instead(row, name)) or "") for name in names) for row in rows[:_SHOWN_ROWS]],
        right=("quantity", "price"),
    )
    if len(rows) > _SHOWN_ROWS:
        say(f"... and {len(rows) - _SHOWN_ROWS} more; --json shows all")
