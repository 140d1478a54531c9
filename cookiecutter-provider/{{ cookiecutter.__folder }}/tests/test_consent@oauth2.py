"""The login at the broker's own page: what comes back is used once, by whoever asked."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from brokersync import BrokerAuthError, BrokerConfigError, BrokerSync, Connection, Settings
from brokersync.config import BrokerSettings
from brokersync.testing import answer_page
from {{ cookiecutter.__package }}.oauth import SCOPE

from .logins import CALLBACK, KEY, OWNER
from .stage import IDENTITY, Stage


async def begun(bs: BrokerSync) -> tuple[str, str]:
    consent = await bs.begin_consent(KEY, owner=OWNER, redirect_uri=CALLBACK)
    assert consent.url is not None
    return consent.consent_id, consent.url


async def test_another_process_may_finish_what_one_has_begun(stage: Stage) -> None:
    name, url = await begun(stage.bs)
    answers = await answer_page(url, stage.sandbox.logins[0].page)

    settings = stage.sandbox.settings()
    async with BrokerSync.open(stage.store, settings=settings, clock=stage.clock) as other:
        connection = await other.finish_consent(name, answers, owner=OWNER)

    assert isinstance(connection, Connection)
    assert connection.identity == IDENTITY


async def test_the_page_is_asked_for_reading_only_and_tied_to_its_question(stage: Stage) -> None:
    _, url = await begun(stage.bs)

    assert parse_qs(urlsplit(url).query)["scope"] == [SCOPE]
    assert "code_challenge_method=S256" in url
    assert stage.sandbox.operator_fields["client_secret"] not in url


async def test_an_answer_to_another_question_is_refused(stage: Stage) -> None:
    name, url = await begun(stage.bs)
    answers = await answer_page(url, stage.sandbox.logins[0].page)

    with pytest.raises(BrokerAuthError, match="no answer to the login that was begun"):
        await stage.bs.finish_consent(name, {**answers, "state": "guessed"}, owner=OWNER)
    assert await stage.bs.connections(OWNER) == ()


async def test_a_code_that_is_none_is_told_in_words(stage: Stage) -> None:
    name, _ = await begun(stage.bs)

    with pytest.raises(BrokerAuthError, match="did not take what its page had answered") as caught:
        await stage.bs.finish_consent(name, {"state": name, "code": "an-invented-code"}, owner=OWNER)
    assert "an-invented-code" not in str(caught.value.describe())


@pytest.mark.parametrize("answers", [{"error": "server_error"}, {}, {"code": ""}])
async def test_a_page_that_gives_no_code_is_told_in_words(stage: Stage, answers: dict[str, str]) -> None:
    name, _ = await begun(stage.bs)

    with pytest.raises(BrokerAuthError, match="page answered with"):
        await stage.bs.finish_consent(name, {"state": name, **answers}, owner=OWNER)


@pytest.mark.parametrize("settings", [{}, {"client_id": "an app"}])
async def test_an_app_that_is_missing_is_the_operators_to_name(stage: Stage, settings: dict[str, str]) -> None:
    mine = BrokerSettings(hosts=stage.sandbox.hosts, settings=settings)
    async with BrokerSync.open(stage.store, settings=Settings(brokers={KEY: mine}), clock=stage.clock) as bs:
        with pytest.raises(BrokerConfigError, match="an app is needed"):
            await begun(bs)


async def test_an_app_that_the_broker_does_not_take_is_the_operators_to_mend(stage: Stage) -> None:
    wrong = {**stage.sandbox.operator_fields, "client_secret": "wrong"}
    mine = BrokerSettings(hosts=stage.sandbox.hosts, settings=wrong)
    async with BrokerSync.open(stage.store, settings=Settings(brokers={KEY: mine}), clock=stage.clock) as bs:
        name, url = await begun(bs)
        answers = await answer_page(url, stage.sandbox.logins[0].page)
        with pytest.raises(BrokerConfigError, match="does not take this app"):
            await bs.finish_consent(name, answers, owner=OWNER)
