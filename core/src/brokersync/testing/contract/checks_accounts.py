"""Checks of the accounts of a login."""

from __future__ import annotations

import re
from datetime import timedelta

import attrs

from brokersync.manifest import SourceScope
from brokersync.testing.answers import Table, shown_number, take_apart
from brokersync.testing.contract.base import ContractBase
from brokersync.testing.contract.changing import bodies
from brokersync.testing.contract.expecting import BrokenContract, expect, told
from brokersync.testing.contract.reading import sources_of
from brokersync.testing.fault_server import Sent
from brokersync.testing.faults import Answered


class AccountChecks(ContractBase):
    """Of `get_accounts`."""

    async def test_accounts_are_the_same_each_time(self) -> None:
        """Over two calls, over a new login, and in any order in which the broker lists them."""
        async with self.stage() as stage:
            auth = await self.log_in(stage)
            first = await stage.accounts(auth)
            expect(
                {one.account_id for one in first} == set(stage.login.trades),
                f"the accounts are {sorted(one.account_id for one in first)}, and the sandbox's login has"
                f" {sorted(stage.login.trades)}",
            )
            expect(await stage.accounts(auth) == first, "two calls give different accounts")
            stage.clock.advance(timedelta(minutes=1))
            stage.server.alter(_turned_round)
            names = {one.account_id for one in await stage.accounts(await self.log_in(stage))}
            expect(
                names == {one.account_id for one in first},
                f"a new login, with its accounts in another order, names them {sorted(names)}: take the broker's id",
            )

    async def test_the_id_of_an_account_is_not_its_name(self) -> None:
        """What a user may change, such as a name, changes no id."""
        async with self.stage() as stage:
            auth = await self.log_in(stage)
            first = await stage.accounts(auth)
            ids = {one.account_id for one in first}
            names = {one.name for one in first if one.name} - ids
            if not names:
                self.cannot_try("the accounts have no names beside their ids")
            stage.server.alter(lambda sent, given: _renamed(given, names))
            again = {one.account_id for one in await stage.accounts(await self.log_in(stage))}
            expect(again == ids, f"accounts that were renamed have other ids: {sorted(ids)} became {sorted(again)}")

    async def test_accounts_say_where_they_belong(self) -> None:
        """An environment of the manifest, an id that is no mask, a time of opening that is past."""
        async with self.stage() as stage:
            for account in await stage.accounts(await self.log_in(stage)):
                expect(
                    account.environment in self.manifest.environments,
                    f"{account.account_id} is in {account.environment!r}, which provider.toml does not name",
                )
                expect(not set("*•…") & set(account.account_id), f"the id {account.account_id!r} is a mask, and no id")
                expect(
                    account.opened_at is None or account.opened_at <= stage.clock.now(),
                    f"the account {account.account_id} was opened in the future",
                )

    async def test_a_login_without_accounts_is_valid(self) -> None:
        """None is an answer, and no error."""
        async with self.stage() as stage:
            auth = await self.log_in(stage)
            ids = {one.account_id for one in await stage.accounts(auth)}
            if any(table.holds_others for body in bodies(stage) for table in body.tables if _lists(table, ids)):
                self.cannot_try("this broker tells of accounts by what is in them")
            stage.server.alter(lambda sent, given: _without(given, ids))
            try:
                left = await stage.accounts(await self.log_in(stage))
            except Exception as error:
                raise BrokenContract(f"a login without accounts is told as {told(error)}") from error
            expect(not left, f"the broker lists no account, and get_accounts gives {[one.account_id for one in left]}")

    async def test_an_account_that_fails_loses_no_other(self) -> None:
        """Where accounts are asked for one by one, a refusal of one leaves the trades of the others."""
        sources = sources_of(self.manifest.sources)
        self.needs(any(one.scope is SourceScope.ACCOUNT for one in sources), "source that is read account by account")
        async with self.stage() as stage, stage.service() as service:
            if len(stage.login.trades) < 2:
                self.cannot_try("the sandbox's login has one account only")
            connection = await self.connect(service)
            accounts = await service.bs.accounts(connection.connection_id)
            failing = min(accounts, key=lambda one: one.account_id)
            others = {one.account_id for one in accounts if stage.login.trades.get(one.account_id)} - {
                failing.account_id
            }
            names = {one for one in (failing.account_id, failing.name) if one}
            stage.server.show("status_400", match=lambda sent: _is_about(sent, names), times=None)
            await service.sync(connection)
            found = {trade.account_id for trade in await service.trades()}
            expect(
                others <= found,
                f"{failing.account_id} was refused, and the trades of {sorted(others - found)} are missing, too",
            )


def _is_about(sent: Sent, names: set[str]) -> bool:
    text = f"{sent.path}?{sent.query} {sent.body.decode('utf-8', 'replace')}"
    return any(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) for name in names)


def _turned_round(_: Sent, given: Answered) -> Answered:
    body = take_apart(given.body)
    if body is None:
        return given
    for table in body.tables:
        table.rows.reverse()
    return attrs.evolve(given, body=body.dump())


def _renamed(given: Answered, names: set[str]) -> Answered:
    body = take_apart(given.body)
    if body is None:
        return given
    for _, row in body.rows():
        for name, value in row.items():
            if value in names:
                row[name] = f"{value} renamed"
    return attrs.evolve(given, body=body.dump())


def _without(given: Answered, ids: set[str]) -> Answered:
    body = take_apart(given.body)
    if body is None:
        return given
    for table in body.tables:
        table.rows[:] = [row for row in table.rows if not ids & {shown_number(value) for value in row.values()}]
    return attrs.evolve(given, body=body.dump())


def _lists(table: Table, ids: set[str]) -> bool:
    return any(ids & {shown_number(value) for value in row.values()} for row in table.rows)
