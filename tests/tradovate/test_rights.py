"""Rights that an app or a key lacks are said, cost no tokens, and are no end of the login."""

from __future__ import annotations

from brokersync import ConnectionState, Done
from brokersync.store import TradeFilter

from .stage import Stage

OAUTH, REPORTS = "auth/oauthtoken", "reports/requestreport"


async def test_an_app_without_the_right_to_reports_reads_its_sessions(stage: Stage) -> None:
    async with stage.process() as bs:
        connection = await stage.consent(bs)
        await stage.fault("permission_denied", operation=REPORTS, times=10_000)
        for _ in range(8):
            outcome = await bs.run(connection.connection_id)
            assert isinstance(outcome, Done)
            assert any("no reports" in str(problem) for problem in outcome.report.problems)
            stage.clock.advance(hours=6)
        assert (await bs.connection(connection.connection_id)).state is ConnectionState.ACTIVE
        assert [trade async for trade in bs.trades("ann", TradeFilter())]
        before = await stage.asked()
        assert before[OAUTH] == 1 + 7, "the code, and one rotation for each token that had ended"

        await stage.calm()
        assert isinstance(outcome := await bs.run(connection.connection_id), Done)
        found = {trade.trade_id async for trade in bs.trades("ann", TradeFilter())}
    ledger = await stage.ledger()
    wanted = {one["trade_id"] for account in stage.login(1).trades for one in ledger["accounts"][account]}
    assert found == wanted, "once the right is granted, nothing is missing"
