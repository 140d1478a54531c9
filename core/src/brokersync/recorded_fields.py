"""What a plugin's author says of the broker's fields for `brokersync record`."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class RecordedFields:
    """The fields that a recording keeps as they are, and those that are amounts though their names do not say so.

    Each is a name, or `holder:name` where only that of one element, object or end of a path is meant. What is not named
    here and not plainly a time, a quantity or an amount is taken for private.
    """

    harmless: tuple[str, ...] = ()
    amounts: tuple[str, ...] = ()
