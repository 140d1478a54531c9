"""When an account was opened, as far as anybody can have meant it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from brokersync.answers import dated
from brokersync.types import BrokerAccount


def opened(moment: datetime | None) -> BrokerAccount:
    return BrokerAccount(account_id="1", environment="live", name="One", opened_at=moment)


@pytest.mark.parametrize("year", [1, 1899, 2200, 9999])
def test_the_first_or_last_day_of_all_is_no_date(year: int) -> None:
    (account,) = dated([opened(datetime(year, 1, 1, tzinfo=UTC))])
    assert account == opened(None)


@pytest.mark.parametrize("moment", [None, datetime(1900, 1, 1, tzinfo=UTC), datetime(2026, 6, 10, tzinfo=UTC)])
def test_any_other_date_stays(moment: datetime | None) -> None:
    assert dated([opened(moment)]) == (opened(moment),)
