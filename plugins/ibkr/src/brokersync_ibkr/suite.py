"""Interactive Brokers under brokersync's contract suite, for our tests and for `brokersync verify`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from brokersync.plugin import SandboxSettings, StatementHints
from brokersync.testing import ProviderContract
from brokersync_ibkr.sandbox_ledger import open_logins
from brokersync_ibkr.sandbox_service import GET, SEND, FlexService

NOW = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)


class Suite(ProviderContract):
    key = "ibkr"
    requests_file = Path(__file__).with_name("requests.jsonl")
    wall_times = ("%Y%m%d;%H%M%S America/New_York",)

    def statements(self) -> Iterable[tuple[bytes, StatementHints]]:
        """What the simulated service prints, as a user downloads it."""
        settings = SandboxSettings(now=lambda: NOW, days=45, think=timedelta(0))
        (login, *_) = logins = open_logins(settings)
        service = FlexService(settings, logins)
        for query_id, last in ((login.activity_query_id, "20260303"), (login.confirmations_query_id, "20260304")):
            asked = {"v": "3", "t": login.token, "q": query_id, "fd": "20260225", "td": last}
            ordered = service.answer(SEND, asked, "a test", admitted=True, url="").body.decode()
            (reference,) = re.findall(r"<ReferenceCode>(\d+)<", ordered)
            got = service.answer(GET, {**asked, "q": reference}, "a test", admitted=True, url="")
            yield got.body, StatementHints()
