"""Masters: each execution is a trade of the account that its row names, once, and what can not be known is said."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest

from brokersync.plugin import BrokerAccount, BrokerConfigError, Finality, RawRow, TradePage
from brokersync_ibkr.querycheck import check_query, findings, look_over
from brokersync_ibkr.renormalise import renormalise

MASTER, FIRST, SECOND = "F4711000", "U4711001", "U4711002"


def holders(pages: list[TradePage]) -> list[str]:
    return [booking.account_id for page in pages for booking in page.bookings]


def covered(pages: list[TradePage]) -> set[str]:
    return {span.account_id for page in pages for span in page.covered}


def reasons(pages: list[TradePage]) -> list[str]:
    return [row.reason for page in pages for row in page.quarantined]


def skipped(pages: list[TradePage]) -> dict[str, int]:
    return {what: number for page in pages for what, number in page.skipped.items()}


def information(flex: Any, account: str = MASTER, kind: str = "Advisor Master") -> str:
    return str(flex.account(accountId=account, accountType=kind, currency="USD"))


def consolidated(flex: Any, *rows: str, account: str = MASTER, made: str = "20240318;061500") -> bytes:
    told = information(flex, account, "Advisor Master Consolidated")
    return bytes(flex.document(flex.statement(rows, account=account, extra=told, made=made)))


def test_a_query_of_a_master_and_its_sub_accounts_gives_each_its_own_trades(flex: Any) -> None:
    pages = flex.pages(
        flex.document(
            flex.statement(account=MASTER, extra=information(flex)),
            flex.statement([flex.trade(1)]),
            flex.statement([flex.trade(2, accountId=SECOND)], account=SECOND),
        )
    )
    assert holders(pages) == [FIRST, SECOND]
    assert covered(pages) == {MASTER, FIRST, SECOND}
    assert [one.kind for page in pages for one in page.accounts if one.account_id == MASTER] == ["Advisor Master"]


@pytest.mark.parametrize("row_account", [FIRST, None])
def test_a_consolidated_query_that_does_not_say_whose_its_fills_are_is_refused_when_connecting(
    flex: Any, row_account: str | None
) -> None:
    survey = look_over(BytesIO(consolidated(flex, flex.trade(accountId=row_account))))
    if row_account:
        check_query(survey, "AF")
        return
    with pytest.raises(BrokerConfigError, match="do not tell whose they are") as caught:
        check_query(survey, "AF")
    assert "tick Account ID" in caught.value.remedy


def test_a_trade_told_by_the_master_s_statement_and_by_its_account_s_own_is_one(flex: Any) -> None:
    [[own]] = [page.bookings for page in flex.pages(flex.document(flex.statement([flex.trade()])))]
    alone = flex.document(flex.statement([flex.trade()], account=MASTER, extra=information(flex)))
    for body in (alone, consolidated(flex, flex.trade())):
        [[told]] = [page.bookings for page in flex.pages(body)]
        assert (told.account_id, told.names, told.trade) == (own.account_id, own.names, own.trade)


def test_a_consolidated_statement_gives_each_account_its_rows_and_covers_those_it_names(flex: Any) -> None:
    pages = flex.pages(consolidated(flex, flex.trade(1), flex.trade(2, accountId=SECOND)))
    assert holders(pages) == [FIRST, SECOND]
    assert covered(pages) == {MASTER, FIRST, SECOND}


def test_an_account_that_a_consolidated_statement_does_not_name_stays_open(flex: Any) -> None:
    asked = tuple(BrokerAccount(account_id=name, environment="live") for name in (FIRST, SECOND))
    assert covered(flex.pages(consolidated(flex, flex.trade(1)), accounts=asked)) == {MASTER, FIRST}


def test_a_row_without_an_account_in_a_consolidated_statement_is_nobody_s(flex: Any) -> None:
    pages = flex.pages(consolidated(flex, flex.trade(1), flex.trade(2, accountId=None)))
    assert holders(pages) == [FIRST]
    [reason] = reasons(pages)
    assert "of several accounts together" in reason
    assert "tick Account ID" in reason


@pytest.mark.parametrize("head", ["Consolidated", "U4711001,U4711002", "All my clients"])
def test_a_statement_of_no_single_account_is_read_by_the_accounts_of_its_rows(flex: Any, head: str) -> None:
    rows = [flex.trade(1), flex.trade(2, accountId=SECOND)]
    pages = flex.pages(flex.document(flex.statement(rows, account=head)))
    assert (holders(pages), covered(pages)) == ([FIRST, SECOND], {FIRST, SECOND})
    with pytest.raises(BrokerConfigError, match="alias"):
        flex.pages(flex.document(flex.statement([*rows, flex.trade(3, accountId=None)], account=head)))


@pytest.mark.parametrize("head", ["Consolidated", "U4711001,U4711002", "U4711001, U4711002"])
def test_a_statement_of_several_without_a_row_is_no_error_and_tells_of_nobody(flex: Any, head: str) -> None:
    idle = flex.document(flex.statement(account=head))
    asked = tuple(BrokerAccount(account_id=name, environment="live") for name in (FIRST, SECOND))
    assert covered(flex.pages(idle, accounts=asked)) == set()
    check_query(look_over(BytesIO(idle)), "AF")


def test_a_statement_of_several_without_a_row_is_known_by_the_head_that_had_rows_before(flex: Any) -> None:
    head = "All my clients"
    full = flex.pages(flex.document(flex.statement([flex.trade()], account=head)), query_id="11")
    accounts = tuple(one for page in full for one in page.accounts)
    idle = flex.document(flex.statement(account=head, made="20250318;061500"))
    assert covered(flex.pages(idle, accounts=accounts, query_id="11")) == set()
    with pytest.raises(BrokerConfigError, match="alias"):
        flex.pages(idle, accounts=accounts, query_id="12")


def confirmed(flex: Any, *rows: str, others: tuple[str, ...] = (), **reading: Any) -> list[TradePage]:
    statements = [flex.statement(rows, account=MASTER, section="TradeConfirms")]
    statements += [flex.statement(account=other, section="TradeConfirms") for other in others]
    return list(flex.pages(flex.document(*statements, kind="TCF"), **reading))


def test_a_confirmation_allocated_to_an_account_of_the_query_is_counted_and_told_there(flex: Any) -> None:
    row = flex.confirm(accountId=MASTER, allocatedTo=FIRST)
    before = (BrokerAccount(account_id=FIRST, environment="live"),)
    for pages in (confirmed(flex, row, others=(FIRST,)), confirmed(flex, row, accounts=before)):
        assert (holders(pages), reasons(pages)) == ([], [])
        assert skipped(pages) == {"allocated to another account, whose own statements tell it": 1}
        assert sum(page.rows or 0 for page in pages) == 1


def test_a_confirmation_allocated_to_an_account_that_nobody_reads_is_kept_and_said(flex: Any) -> None:
    pages = confirmed(flex, flex.confirm(accountId=MASTER, allocatedTo=FIRST))
    assert holders(pages) == []
    [reason] = reasons(pages)
    assert "select that account, too, for the query" in reason


def test_a_confirmation_allocated_to_the_account_that_it_stands_under_is_its_trade(flex: Any) -> None:
    assert holders(confirmed(flex, flex.confirm(allocatedTo=FIRST))) == [FIRST]
    assert holders(confirmed(flex, flex.confirm(allocatedTo="N/A"))) == [FIRST]


@pytest.mark.parametrize(
    ("account", "kind"), [(MASTER, "Advisor Master"), (MASTER, ""), ("I4711000", ""), ("U4711000", "Broker Master")]
)
def test_an_allocation_booked_at_a_master_is_quarantined_and_its_share_is_the_sub_account_s(
    flex: Any, account: str, kind: str
) -> None:
    pages = flex.pages(
        flex.document(
            flex.statement(
                [flex.trade(1, accountId=account, notes="P;Al"), flex.trade(2, accountId=account)],
                account=account,
                extra=information(flex, account, kind),
            ),
            flex.statement([flex.trade(1, quantity="40", notes="Al")]),
        )
    )
    assert holders(pages) == [account, FIRST]
    [reason] = reasons(pages)
    assert "a master account allocated it" in reason
    [row] = [row for page in pages for row in page.quarantined]
    assert (row.account_id, row.row_id) == (account, "tx:900101")


def test_a_master_is_known_for_one_by_what_stands_behind_its_trades(flex: Any) -> None:
    master = "U4711000"
    statement = flex.statement([flex.trade(accountId=master, notes="Al")], account=master)
    told = information(flex, master, "Broker Master")
    pages = flex.pages(flex.document(statement.replace("</Trades>", f"</Trades>{told}")))
    assert holders(pages) == []
    assert "a master account allocated it" in reasons(pages)[0]


def test_a_broker_s_master_takes_no_alias_of_its_sub_accounts_for_its_own(flex: Any) -> None:
    """Its id is like any other account's, so only what IBKR calls it tells."""
    master, told = "U4711000", information(flex, "U4711000", "Broker Master")
    statement = flex.statement([flex.trade(1, accountId=None, acctAlias="Pot")], account=master, extra=told)
    other = flex.statement([flex.trade(2)], extra=flex.account(accountId=FIRST, acctAlias="Pot"))
    pages = flex.pages(flex.document(statement, other))
    assert holders(pages) == [FIRST, FIRST]
    [page] = flex.pages(flex.document(statement))
    assert [dict(one.state) for one in page.accounts] == [{}]


@pytest.mark.parametrize("rows", [(), ({"accountId": None},)])
def test_a_consolidated_query_is_not_told_to_select_the_sub_accounts_that_it_holds(flex: Any, rows: Any) -> None:
    survey = look_over(BytesIO(consolidated(flex, *(flex.trade(**row) for row in rows))))
    assert not [one for one in findings(survey, "AF") if "none of its sub-accounts" in one]


def test_a_master_that_was_told_of_before_is_known_for_one(flex: Any) -> None:
    body = flex.document(flex.statement([flex.trade(notes="Al")]))
    assert holders(flex.pages(body)) == [FIRST]
    before = (BrokerAccount(account_id=FIRST, environment="live", kind="Broker Master"),)
    assert holders(flex.pages(body, accounts=before)) == []


def test_a_quarantined_allocation_stays_so_when_kept_rows_are_read_again(flex: Any) -> None:
    first = flex.pages(flex.document(flex.statement([flex.trade(accountId=MASTER, notes="Al")], account=MASTER)))
    [row] = [row for page in first for row in page.quarantined]
    again = list(renormalise("activity", [RawRow(raw=row.raw, account_id=row.account_id, environment="live")]))
    assert (holders(again), reasons(again)) == ([], [row.reason])


SOON, LATER = "20240318;121500", "20240318;121501"


def told_by(pages: list[TradePage]) -> tuple[BrokerAccount, ...]:
    return tuple(account for page in pages for account in page.accounts)


def test_a_consolidated_statement_tells_of_who_had_a_row_in_one_of_the_same_query_made_shortly_before(
    flex: Any,
) -> None:
    """An account may leave the query at any time, and a statement names none without a row."""
    first = flex.pages(consolidated(flex, flex.trade(1), flex.trade(2, accountId=SECOND)), query_id="20")
    known = told_by(first)
    for made, expected in ((SOON, {MASTER, FIRST, SECOND}), (LATER, {MASTER})):
        assert covered(flex.pages(consolidated(flex, made=made), query_id="20", accounts=known)) == expected
    for query_id in ("21", None):
        assert covered(flex.pages(consolidated(flex, made=SOON), query_id=query_id, accounts=known)) == {MASTER}


def final(pages: list[TradePage], name: str) -> bool:
    [finality] = {one.finality for page in pages for one in page.covered if one.account_id == name}
    return finality is Finality.FINAL


@pytest.mark.parametrize(
    ("rows_made", "made", "expected"),
    [
        (["20240318;061500"], "20240318;061600", False),
        (["20240318;061500", "20240318;110000"], "20240318;110100", False),
        (["20240318;061500", "20240319;061500"], "20240319;061600", True),
        (["20240318;061500", "20240502;061500"], "20240502;061600", False),
        (["20240318;061500", "20240502;061500", "20240503;061500"], "20240503;061600", True),
        (["20240319;061500", "20240318;061500"], "20240319;061600", True),
    ],
    ids=[
        "just told",
        "within one reading",
        "at the next sync",
        "after an absence",
        "and once more",
        "a late statement",
    ],
)
def test_a_consolidated_statement_without_a_row_of_an_account_counts_for_good_at_the_second_sync_that_tells_of_it(
    flex: Any, rows_made: list[str], made: str, expected: bool
) -> None:
    """An account may be taken out of the query and put back within one reading of the history."""
    known: dict[str, BrokerAccount] = {}
    for one in rows_made:
        pages = flex.pages(consolidated(flex, flex.trade(1), made=one), query_id="20", accounts=tuple(known.values()))
        known |= {account.account_id: account for account in told_by(pages)}
        assert final(pages, FIRST)
    pages = flex.pages(consolidated(flex, made=made), query_id="20", accounts=tuple(known.values()))
    assert (final(pages, MASTER), final(pages, FIRST)) == (True, expected)


def test_a_consolidated_statement_made_before_the_last_that_had_a_row_of_it_tells_of_an_account(flex: Any) -> None:
    known = told_by(flex.pages(consolidated(flex, flex.trade(1), made=LATER), query_id="20"))
    assert covered(flex.pages(consolidated(flex, made=SOON), query_id="20", accounts=known)) == {MASTER, FIRST}


def test_a_consolidated_statement_of_one_master_tells_nothing_of_who_was_in_that_of_another(flex: Any) -> None:
    other = "F4712000"
    known = told_by(flex.pages(consolidated(flex, flex.trade(1)), query_id="20"))
    assert covered(flex.pages(consolidated(flex, account=other), query_id="20", accounts=known)) == {other}
    known += told_by(flex.pages(consolidated(flex, flex.trade(2), account=other), query_id="20", accounts=known))
    for head in (MASTER, other):
        told = {name: value for one in known for name, value in one.state.items() if one.account_id == FIRST}
        account = BrokerAccount(account_id=FIRST, environment="live", state=told)
        pages = flex.pages(consolidated(flex, account=head), query_id="20", accounts=(account,))
        assert covered(pages) == {head, FIRST}


def test_what_confirmations_or_a_statement_of_its_own_tell_puts_no_account_into_a_consolidated_query(flex: Any) -> None:
    confirmed = flex.statement([flex.confirm(1, acctAlias="Pot")], account=MASTER, section="TradeConfirms")
    own = flex.document(flex.statement([flex.trade()]))
    for body, query_id in ((flex.document(confirmed, kind="TCF"), None), (own, "20")):
        known = tuple(account for page in flex.pages(body, query_id=query_id) for account in page.accounts)
        assert covered(flex.pages(consolidated(flex), query_id="20", accounts=known)) == {MASTER}


@pytest.mark.parametrize("kind", ["TCF", "AF"])
def test_confirmations_under_a_master_cover_the_accounts_whose_rows_they_hold(flex: Any, kind: str) -> None:
    """An Activity statement has to say that it is of several: its days would be read for good."""
    rows = [flex.confirm(1), flex.confirm(2, accountId=SECOND)] if kind == "TCF" else [flex.trade(1)]
    section = "TradeConfirms" if kind == "TCF" else "Trades"
    pages = flex.pages(flex.document(flex.statement(rows, account=MASTER, section=section), kind=kind))
    assert covered(pages) == ({MASTER, FIRST, SECOND} if kind == "TCF" else {MASTER})
    finality = {span.finality.value for page in pages for span in page.covered}
    assert finality == {"provisional" if kind == "TCF" else "final"}
