"""What a check has found wrong, and how it is mended."""

from __future__ import annotations

from enum import StrEnum

import attrs


class Severity(StrEnum):
    """`fault`: something does not work, or is not what was installed. `warning`: it will not, or is not safe.

    `note`: good to know.
    """

    FAULT = "fault"
    WARNING = "warning"
    NOTE = "note"


@attrs.frozen(kw_only=True)
class Finding:
    """One thing that was found, in a sentence without secrets, and what to do about it.

    Core completes `area` and `provider`.
    """

    message: str
    remedy: str
    severity: Severity = Severity.FAULT
    area: str = ""
    provider: str = ""
