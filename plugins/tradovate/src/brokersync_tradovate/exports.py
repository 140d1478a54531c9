"""Which of Tradovate's exports a file is, by the columns that no other has; only the Fills can be imported.

Some of its columns come with an underscore in front in one layout and without it in another.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final

from brokersync.plugin import BrokerConfigError, BrokerError, BrokerResponseError, Fault

_AGAIN: Final = "Export Fills as CSV in Tradovate's web application, and import the file as it was downloaded."


class Export(StrEnum):
    """What Tradovate lets a user export."""

    FILLS = "Fills"
    ORDERS = "Orders"
    PERFORMANCE = "Performance"
    POSITION_HISTORY = "Position History"
    CASH_HISTORY = "Cash History"
    BALANCES = "Account Balance History"


_MARKS: Mapping[Export, Collection[str]] = {
    Export.PERFORMANCE: ("buyfillid", "sellfillid", "pnl"),
    Export.POSITION_HISTORY: ("position id", "pair id", "buy fill id"),
    Export.CASH_HISTORY: ("transaction id", "delta", "cash change type"),
    Export.BALANCES: ("trade date", "total amount", "total realized pnl"),
    Export.ORDERS: ("orderid", "version id", "status"),
    Export.FILLS: ("fill id", "order id", "b/s"),
}
_ENTITY = ("id", "orderid", "action", "qty")
_NOT_FILLS = {
    Export.ORDERS: "one row for an order, which may have been executed in several fills",
    Export.PERFORMANCE: "one row for two fills that belong together, which may be parts of them, and no account",
    Export.POSITION_HISTORY: "one row for two fills that belong together, which may be parts of them",
    Export.CASH_HISTORY: "the movements of cash, which name no fill",
    Export.BALANCES: "one row for a day, which names no fill",
}


def export_of(head: bytes) -> Export | None:
    """The export that begins like this, or `None` for a file that is none of them."""
    columns = {name.strip().lower().lstrip("_") for name in _first_line(head)}
    if columns.issuperset(_ENTITY):
        return Export.FILLS
    return next((export for export, marks in _MARKS.items() if columns.issuperset(marks)), None)


def not_importable(export: Export) -> BrokerError:
    """What to tell a user who gave another export than the Fills."""
    return BrokerConfigError(
        f"The file is Tradovate's export of {export}: {_NOT_FILLS[export]}. Fills are never made up from these.",
        remedy=_AGAIN,
        fault=Fault.USER,
    )


def not_an_export(head: bytes) -> BrokerError:
    """What to tell a user whose file is no export of Tradovate's, or no longer one."""
    if not head.strip():
        return bad_export("The file is empty")
    if head.lstrip().startswith(b"<"):
        return bad_export("The file is a web page or XML, not an export as CSV")
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"%PDF")):
        return bad_export("The file is a workbook or a document, not an export as CSV")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in head:
        return bad_export("The file was saved in UTF-16")
    if any(export_of(head.replace(other, b",")) for other in (b";", b"\t")):
        return bad_export("The file was saved again by another program: its columns are not separated by commas")
    return bad_export("The first line of the file holds the columns of none of Tradovate's exports")


def bad_export(what: str) -> BrokerError:
    """What is wrong with a file, as far as downloading it again helps."""
    return BrokerResponseError(f"{what}.", remedy=_AGAIN, fault=Fault.USER)


def _first_line(head: bytes) -> list[str]:
    for line in head.decode("utf-8-sig", "replace").splitlines():
        if line.strip():
            return next(csv.reader([line]), [])
    return []
