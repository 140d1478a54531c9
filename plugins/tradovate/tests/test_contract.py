"""Tradovate under brokersync's contract suite."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from brokersync.testing import Bypass, ProviderContract

_UNTIL = date(2027, 1, 31)
_SIDES = "a side that refuses the login has none of its accounts, and a refusal says nothing of which side it is"
_HOUR = "after a 429 an hour of silence is kept, also where Retry-After asks for more, which the broker is not known to"


class TestContract(ProviderContract):
    key = "tradovate"
    requests_file = Path(__file__).with_name("requests.jsonl")
    bypasses = (
        Bypass(
            "test_capabilities_are_declared_where_they_are_shown",
            reason="provider.toml does not declare its capabilities yet: futures",
            until=_UNTIL,
        ),
        *(
            Bypass(f"test_a_fault_is_told_as_what_it_is[status_{code}]", reason=_SIDES, until=_UNTIL)
            for code in (401, 403, 404)
        ),
        *(
            Bypass(f"test_a_fault_is_told_as_what_it_is[too_many_{how}]", reason=_HOUR, until=_UNTIL)
            for how in ("date", "seconds")
        ),
    )
