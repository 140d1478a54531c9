"""Whether the template's invented broker has become yours; left out unless it is asked for by `pytest -m release`."""

from __future__ import annotations

import pytest

from .filling import steps


@pytest.mark.release
def test_nothing_is_invented_any_more() -> None:
    if found := steps():
        count = sum(map(len, found.values()))
        lines = (line for step, places in found.items() for line in (f"{step}:", *(f"  {one}" for one in places)))
        listed = "\n".join(lines)
        pytest.fail(f"{count} places are to be filled in; take each mark away with it.\n{listed}", pytrace=False)
