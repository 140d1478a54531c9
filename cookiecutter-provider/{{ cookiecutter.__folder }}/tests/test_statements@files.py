"""Files that a user downloaded: read whole or refused whole, and each row under the account that it is of."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from io import BytesIO

import pytest

from brokersync import SyncReport
from brokersync.plugin import (
    BrokerAccount,
    BrokerInputNeededError,
    BrokerResponseError,
    SandboxSettings,
    StatementHints,
    TradePage,
)
from {{ cookiecutter.__package }}.sandbox_facts import ENVIRONMENTS
from {{ cookiecutter.__package }}.sandbox_history import statement
from {{ cookiecutter.__package }}.statements import {{ cookiecutter.__class }}Statements

from .logins import KEY, OWNER
from .stage import Clock, Stage

(ENVIRONMENT, *_) = ENVIRONMENTS
HINTS = StatementHints(environment=ENVIRONMENT)


@pytest.fixture
def file(clock: Clock) -> bytes:
    return statement(SandboxSettings(now=clock.now, days=90))


def pages(body: bytes, hints: StatementHints = HINTS) -> Iterator[TradePage]:
    reader = {{ cookiecutter.__class }}Statements()
    assert reader.source(BytesIO(body), hints) == "statement"
    return reader.read_statement(BytesIO(body), hints)


async def imported(stage: Stage, body: bytes, hints: StatementHints | None = None) -> SyncReport:
    return await stage.bs.import_statement(KEY, BytesIO(body), owner=OWNER, hints=hints)


async def test_a_file_brings_every_trade_as_the_broker_has_it(stage: Stage, file: bytes) -> None:
    await stage.connect()

    report = await imported(stage, file)

    books, trades = await stage.ledger(), await stage.trades()
    assert (report.quarantined, report.problems) == (0, ())
    assert {
        (one.account_id, one.trade_id, one.side.value, one.quantity, one.price, sum(fee.amount for fee in one.fees))
        for one in trades
    } == {
        (
            account_id,
            row["trade_id"],
            row["side"],
            Decimal(row["quantity"]),
            Decimal(row["price"]),
            sum(map(Decimal, row["fees"].values())),
        )
        for account_id in stage.sandbox.logins[0].trades
        for row in books[account_id]
    }
    assert len(trades) == sum(stage.sandbox.logins[0].trades.values()) > 100


async def test_the_same_file_again_changes_nothing(stage: Stage, file: bytes) -> None:
    await stage.connect()
    await imported(stage, file)

    again = await imported(stage, file)

    assert (again.added, again.modified, again.removed) == (0, 0, 0)


async def test_a_sync_of_a_login_has_nothing_to_read_and_no_problem(stage: Stage, file: bytes) -> None:
    connection = await stage.connect()
    await imported(stage, file)

    report = await stage.sync(connection)

    assert (report.added, report.removed, report.problems) == (0, 0, ())


async def test_the_side_of_an_account_is_known_from_the_login_or_asked_for(stage: Stage, file: bytes) -> None:
    with pytest.raises(BrokerInputNeededError) as caught:
        await imported(stage, file)
    assert list(caught.value.fields) == ["environment"]
    assert await stage.trades() == []

    assert (await imported(stage, file, StatementHints(environment=ENVIRONMENTS[-1]))).added > 100
    assert {one.environment for one in await stage.trades()} == {ENVIRONMENTS[-1]}


def test_an_account_that_is_on_both_sides_is_asked_about(file: bytes) -> None:
    both = tuple(BrokerAccount(account_id="101", environment=one) for one in ("this side", "the other"))

    with pytest.raises(BrokerInputNeededError):
        pages(file, StatementHints(accounts=both))


def test_accounts_come_with_the_rows_unless_they_are_known(file: bytes) -> None:
    known = BrokerAccount(account_id="101", environment=ENVIRONMENT, name="Account 1")

    (page,) = pages(file, StatementHints(environment=ENVIRONMENT, accounts=(known,)))

    assert page.accounts == (BrokerAccount(account_id="102", environment=ENVIRONMENT),)


def test_a_long_file_is_read_in_parts(file: bytes) -> None:
    head, *rows = file.splitlines(keepends=True)

    found = list(pages(head + b"".join(rows) * 10))

    assert len(found) > 3
    assert sum(page.rows or 0 for page in found) == 10 * len(rows)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param(lambda file: file[:-1], "cut off", id="without its last line end"),
        pytest.param(lambda file: file[: len(file) // 2], "cells under|cut off", id="cut in the middle"),
        pytest.param(lambda file: file + b"1,2,3\r\n", "3 cells under", id="a row that is too short"),
        pytest.param(lambda file: file + b'"' + b"1," * 10 + b"1\r\n", "no proper CSV", id="a quote that never ends"),
        pytest.param(lambda file: file.replace(b"ACME", b"AC\xffE", 1), "not in UTF-8", id="another encoding"),
        pytest.param(lambda file: file.replace(b"quantity", b"amount", 1), "lacks the columns quantity", id="a column"),
    ],
)
def test_a_file_that_is_damaged_is_refused_whole_and_in_words(file: bytes, change: object, why: str) -> None:
    assert callable(change)
    with pytest.raises(BrokerResponseError, match=why):
        pages(change(file))


def test_a_mark_that_some_programs_put_in_front_is_no_part_of_a_name(file: bytes) -> None:
    marked = b"\xef\xbb\xbf" + file

    assert {{ cookiecutter.__class }}Statements().recognises(marked)
    assert len(next(pages(marked)).bookings) > 100


def test_a_row_without_its_account_waits_in_quarantine(file: bytes) -> None:
    (page,) = pages(file.replace(b"\r\n101,", b"\r\n,", 1))

    (row,) = page.quarantined
    assert (row.reason, row.account_id) == ("accountId is missing", None)
    assert row.row_id is not None
