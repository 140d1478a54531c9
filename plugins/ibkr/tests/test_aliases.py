"""An alias in place of an account's id is read where it is told whose it is, and is refused elsewhere."""

from __future__ import annotations

from datetime import date
from io import BytesIO
from typing import Any

import attrs
import pytest

from brokersync.plugin import (
    AuthResult,
    BrokerAccount,
    BrokerConfigError,
    BrokerInputNeededError,
    StatementHints,
    TradePage,
    TradeRequest,
)
from brokersync_ibkr.coverage import Days
from brokersync_ibkr.provider import FlexProvider
from brokersync_ibkr.statements import FlexStatementReader

ID, OTHER, POT = "U4711001", "U4711002", "Rainy days"
REMEDY = "set Display Account Alias in place of Account ID to No"


def known(*pairs: tuple[str, str]) -> tuple[BrokerAccount, ...]:
    return tuple(BrokerAccount(account_id=one, environment="live", state={"alias": alias}) for one, alias in pairs)


def aliased(flex: Any, *pots: str, **changes: Any) -> bytes:
    """A statement for each of these, which shows the alias wherever the id would stand."""
    return bytes(
        flex.document(
            *(
                flex.statement([flex.trade(number, accountId=pot, **changes)], account=pot)
                for number, pot in enumerate(pots)
            )
        )
    )


def holders(pages: list[TradePage]) -> list[str]:
    return [booking.account_id for page in pages for booking in page.bookings]


def covered(pages: list[TradePage]) -> set[str]:
    return {span.account_id for page in pages for span in page.covered}


@pytest.mark.parametrize(
    "parts",
    [
        {"account": ID, "row": POT},
        {"account": POT, "row": ID, "acctAlias": POT},
        {"account": POT, "row": POT, "information": ID},
        {"account": ID, "row": None, "acctAlias": POT},
        {"account": POT, "row": None, "information": ID},
        {"account": ID, "row": POT, "information": POT},
        {"account": POT, "row": POT, "information": ID, "alias": POT},
    ],
    ids=lambda parts: " ".join(f"{name}={value}" for name, value in parts.items()),
)
def test_a_statement_that_names_the_account_both_ways_is_read_under_its_id(flex: Any, parts: dict[str, Any]) -> None:
    facts = {"accountId": parts.get("information", ""), "acctAlias": parts.get("alias", "")}
    row = flex.trade(accountId=parts["row"], acctAlias=parts.get("acctAlias"))
    told = flex.account(**facts) if "information" in parts else ""
    pages = flex.pages(flex.document(flex.statement([row], account=parts["account"], extra=told)))
    assert (holders(pages), covered(pages)) == ([ID], {ID})


def test_another_statement_of_the_document_may_tell_whose_an_alias_is_even_behind_it(flex: Any) -> None:
    shown = flex.statement([flex.trade(1, accountId=POT)], account=POT)
    plain = flex.statement([flex.trade(2, acctAlias=POT)], first="20240318", last="20240318")
    for statements in ((shown, plain), (plain, shown)):
        pages = flex.pages(flex.document(*statements))
        assert (holders(pages), covered(pages)) == ([ID, ID], {ID})


def test_a_trade_read_under_the_alias_and_under_the_id_is_one(flex: Any) -> None:
    [[under_id]] = [page.bookings for page in flex.pages(flex.document(flex.statement([flex.trade()])))]
    [[under_alias]] = [page.bookings for page in flex.pages(aliased(flex, POT), accounts=known((ID, POT)))]
    assert under_alias.account_id == under_id.account_id
    assert under_alias.names == under_id.names
    assert under_alias.trade == under_id.trade


def test_what_an_earlier_statement_told_of_an_alias_places_it_later(flex: Any) -> None:
    facts = {"accountId": ID, "acctAlias": POT, "currency": "EUR"}
    [page] = flex.pages(flex.document(flex.statement(extra=flex.account(**facts))))
    pages = flex.pages(aliased(flex, POT), accounts=page.accounts)
    assert (holders(pages), covered(pages)) == ([ID], {ID})


def test_an_alias_beside_the_id_of_a_row_is_kept_with_the_account(flex: Any) -> None:
    [page] = flex.pages(flex.document(flex.statement([flex.trade(acctAlias=POT)])))
    assert [(one.name, one.state) for one in page.accounts] == [(POT, {"alias": POT})]


async def test_a_request_reads_an_alias_by_what_a_file_told_of_it(
    flex: Any, make_context: Any, auth: AuthResult, service: Any
) -> None:
    [page] = flex.pages(flex.document(flex.statement(extra=flex.account(accountId=ID, acctAlias=POT))))
    window = Days(date(2024, 3, 11), date(2024, 3, 15)).window
    request = TradeRequest(source="activity", window=window, others=page.accounts)
    provider = FlexProvider(make_context())
    service.script += [flex.accepted(), aliased(flex, POT)]
    [ordered] = [page async for page in provider.get_trades(auth, request)]
    pages = [page async for page in provider.get_trades(auth, attrs.evolve(request, cursor=ordered.cursor))]
    assert (holders(pages), covered(pages)) == ([ID], {ID})


@pytest.mark.parametrize("elsewhere", [((OTHER, POT),), ((ID, POT), (OTHER, POT))])
def test_an_alias_that_an_account_of_another_login_has_as_well_is_refused(
    flex: Any, elsewhere: tuple[tuple[str, str], ...]
) -> None:
    with pytest.raises(BrokerConfigError, match="alias"):
        flex.pages(aliased(flex, POT), accounts=known((ID, POT)), elsewhere=known(*elsewhere))


def test_an_alias_from_elsewhere_is_refused_while_an_account_of_the_login_was_told_without_one(flex: Any) -> None:
    own = (BrokerAccount(account_id=ID, environment="live"),)
    with pytest.raises(BrokerConfigError, match="alias") as caught:
        flex.pages(aliased(flex, POT), accounts=own, elsewhere=known((OTHER, POT)))
    assert REMEDY in caught.value.remedy


def test_an_account_that_is_known_from_elsewhere_alone_is_not_covered_nor_told_there(flex: Any) -> None:
    elsewhere = known((OTHER, POT))
    rows = [flex.confirm(allocatedTo=POT), flex.confirm(1)]
    body = flex.document(flex.statement(rows, section="TradeConfirms"), kind="TCF")
    pages = flex.pages(body, accounts=known((ID, "Main")), elsewhere=elsewhere)
    assert (holders(pages), covered(pages)) == ([ID], {ID})
    assert [row.account_id for page in pages for row in page.quarantined] == [ID]


def test_an_alias_that_was_given_up_places_nothing(flex: Any) -> None:
    [page] = flex.pages(flex.document(flex.statement(extra=flex.account(accountId=ID, acctAlias=""))))
    assert [one.state for one in page.accounts] == [{"alias": ""}]


@pytest.mark.parametrize(
    ("before", "name"), [(None, ID), ("Main", ID), (ID, ID), ("Made Up", None)], ids=["new", "alias", "id", "holder"]
)
def test_an_alias_that_was_given_up_no_longer_names_the_account(
    flex: Any, before: str | None, name: str | None
) -> None:
    known_before = BrokerAccount(account_id=ID, environment="live", name=before, state={"alias": "Main"})
    body = flex.document(flex.statement(extra=flex.account(accountId=ID, acctAlias="")))
    [page] = flex.pages(body, accounts=(known_before,) if before else ())
    assert [one.name for one in page.accounts] == [name]
    body = flex.document(flex.statement(extra=flex.account(accountId=ID, acctAlias="", name="Made Up")))
    [page] = flex.pages(body, accounts=(known_before,))
    assert [one.name for one in page.accounts] == ["Made Up"]


@pytest.mark.parametrize("before", [(), ((ID, "Another"),), ((ID, POT), (OTHER, POT))])
def test_an_alias_of_nobody_or_of_two_accounts_is_refused(flex: Any, before: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(BrokerConfigError, match="alias") as caught:
        flex.pages(aliased(flex, POT), accounts=known(*before))
    assert REMEDY in caught.value.remedy


def test_an_alias_that_a_document_tells_of_two_accounts_is_refused_whatever_was_told_before(flex: Any) -> None:
    rows = [flex.trade(1, acctAlias=POT), flex.trade(2, accountId=OTHER, acctAlias=POT), flex.trade(3, accountId=POT)]
    with pytest.raises(BrokerConfigError, match="alias"):
        flex.pages(flex.document(flex.statement(rows)), accounts=known((ID, POT)))
    # beside the ids it does no harm
    assert holders(flex.pages(flex.document(flex.statement(rows[:2])))) == [ID, OTHER]


def test_two_names_in_one_statement_are_not_taken_for_one_account(flex: Any) -> None:
    rows = [flex.trade(1, accountId=POT), flex.trade(2, accountId="Another")]
    with pytest.raises(BrokerConfigError, match="alias"):
        flex.pages(flex.document(flex.statement(rows)))


def test_the_name_of_the_holder_is_no_alias(flex: Any) -> None:
    named = (BrokerAccount(account_id=ID, environment="live", name=POT),)
    with pytest.raises(BrokerConfigError, match="alias"):
        flex.pages(aliased(flex, POT), accounts=named)


def test_an_alias_statement_without_a_trade_covers_the_account_that_is_known_by_it(flex: Any) -> None:
    empty = flex.document(flex.statement(account=POT))
    assert covered(flex.pages(empty, accounts=known((ID, POT)))) == {ID}
    with pytest.raises(BrokerConfigError, match="alias"):
        flex.pages(empty)


def read_file(body: bytes, hints: StatementHints) -> list[TradePage]:
    assert FlexStatementReader().source(BytesIO(body), hints) == "activity_file"
    return list(FlexStatementReader().read_statement(BytesIO(body), hints))


def test_a_file_is_read_by_what_is_known_of_its_aliases(flex: Any) -> None:
    hints = StatementHints(accounts=known((ID, POT), (OTHER, "Another")))
    assert holders(read_file(aliased(flex, POT, "Another"), hints)) == [ID, OTHER]


def test_a_file_asks_for_the_one_alias_that_nobody_knows(flex: Any) -> None:
    body = aliased(flex, POT, "Another")
    with pytest.raises(BrokerInputNeededError, match="alias"):
        FlexStatementReader().source(BytesIO(body), StatementHints(accounts=known((ID, POT))))
    hints = StatementHints(account_id=OTHER, accounts=known((ID, POT)))
    assert holders(read_file(body, hints)) == [ID, OTHER]


def test_the_user_s_word_for_a_file_counts_more_than_what_was_told_before(flex: Any) -> None:
    hints = StatementHints(account_id=OTHER, accounts=known((ID, POT)))
    assert holders(read_file(aliased(flex, POT), hints)) == [OTHER]


@pytest.mark.parametrize("shown", ["U4711001-WMX-MMY", "U4711001-w1-m2"])
def test_the_managers_names_behind_an_id_make_no_other_account_of_it(flex: Any, shown: str) -> None:
    pages = flex.pages(aliased(flex, shown))
    assert (holders(pages), covered(pages)) == ([ID], {ID})


@pytest.mark.parametrize("before", [(), ((OTHER, POT),)])
def test_an_alias_in_a_master_s_statement_is_not_taken_for_the_master(flex: Any, before: Any) -> None:
    body = flex.document(flex.statement([flex.trade(accountId=POT)], account="F4711000"))
    if before:
        assert holders(flex.pages(body, accounts=known(*before))) == [OTHER]
        return
    with pytest.raises(BrokerConfigError, match="alias"):
        flex.pages(body)


def test_an_alias_that_was_another_account_s_is_not_taken_for_the_statement_s_own(flex: Any) -> None:
    body = flex.document(flex.statement([flex.trade(accountId=POT)], account=ID))
    assert holders(flex.pages(body, accounts=known((ID, POT)))) == [ID]
    with pytest.raises(BrokerConfigError, match="alias"):
        flex.pages(body, accounts=known((OTHER, POT)))
    hints = StatementHints(account_id=OTHER, accounts=known((OTHER, POT)))
    assert holders(read_file(body, hints)) == [OTHER]


def test_an_alias_in_a_master_s_row_without_an_id_is_not_kept_for_the_master_s(flex: Any) -> None:
    rows = [flex.trade(accountId=None, acctAlias=POT)]
    for account, state in (("F4711000", {}), (ID, {"alias": POT})):
        [page] = flex.pages(flex.document(flex.statement(rows, account=account)))
        assert [one.state for one in page.accounts] == [state]


def test_a_row_of_a_master_s_statement_without_an_id_is_of_the_account_its_alias_is_known_for(flex: Any) -> None:
    rows = [flex.trade(1, accountId=None, acctAlias=POT), flex.trade(2, accountId=None, acctAlias="")]
    pages = flex.pages(flex.document(flex.statement(rows, account="F4711000")), accounts=known((OTHER, POT)))
    assert holders(pages) == [OTHER, "F4711000"]
    assert [one.state for page in pages for one in page.accounts if one.account_id == "F4711000"] == [{}]


@pytest.mark.parametrize("alias", ["US1", "FX2", "UK401"])
def test_a_short_name_that_looks_a_little_like_an_id_is_an_alias(flex: Any, alias: str) -> None:
    assert holders(flex.pages(aliased(flex, alias), accounts=known((ID, alias)))) == [ID]
    with pytest.raises(BrokerConfigError, match="alias"):
        flex.pages(aliased(flex, alias))


@pytest.mark.parametrize("shown", [POT, ""])
def test_a_statement_that_shows_the_alias_does_not_take_it_back_by_an_empty_column(flex: Any, shown: str) -> None:
    told = flex.account(accountId=shown, acctAlias="")
    body = flex.document(flex.statement([flex.trade(accountId=POT)], account=POT, extra=told))
    [page] = flex.pages(body, accounts=known((ID, POT)))
    assert [(one.account_id, dict(one.state)) for one in page.accounts] == [(ID, {})]


@pytest.mark.parametrize("word", [POT, "IRA", "U4711001-WMX-MMY", " U4711001", "u4711001"])
def test_a_user_s_word_that_is_no_account_s_id_is_asked_for_again(flex: Any, word: str) -> None:
    with pytest.raises(BrokerInputNeededError, match="no account's id") as caught:
        FlexStatementReader().source(BytesIO(aliased(flex, POT)), StatementHints(account_id=word))
    assert list(caught.value.fields) == ["account_id"]


def test_an_id_of_a_shape_that_is_new_may_be_named(flex: Any) -> None:
    assert holders(read_file(aliased(flex, "ZU4711001"), StatementHints(account_id="ZU4711001"))) == ["ZU4711001"]
