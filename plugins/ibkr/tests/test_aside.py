"""What is looked up of a document outside of memory."""

from __future__ import annotations

import pytest

from brokersync.plugin import BrokerConfigError
from brokersync_ibkr.aside import Aside


def test_no_room_for_temporary_files_is_said_with_what_to_do() -> None:
    with Aside() as aside:
        aside.put("a", "1")
        aside._opened().execute("PRAGMA max_page_count = 2")
        with pytest.raises(BrokerConfigError, match="room for temporary files") as caught:
            aside.put_first("b", "x" * 100_000)
        assert "SQLITE_TMPDIR" in caught.value.remedy
