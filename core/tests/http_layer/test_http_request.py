"""What is sent, to whom, and what comes back."""

from __future__ import annotations

import asyncio

import attrs
import pytest
from aiohttp import web

from brokersync.config import RetrySettings
from brokersync.errors import BrokerConfigError, BrokerPluginError, BrokerResponseError, BrokerUnavailableError
from brokersync.events import HostRefused, RequestSent
from brokersync.http import open_session
from brokersync.http_sessions import Sessions
from brokersync.secret import Secret
from brokersync.types import AuthResult
from brokersync.version import VERSION

LOGIN = AuthResult(identity="user 7", access_token=Secret("tok-123"))


async def test_an_answer_is_read_to_its_end_and_names_no_secret(http, broker):
    broker.then(web.Response(body=b'{"a": 1.10}', headers={"X-Page": "2"}))
    response = await http.request("list", "GET", f"{broker.url}/v1/list", params={"key": "s3cret", "page": "1"})
    assert (response.status, response.body, response.headers["x-page"]) == (200, b'{"a": 1.10}', "2")
    assert str(response.json()["a"]) == "1.10"
    assert response.url == f"{broker.url}/v1/list?key=***&page=***"
    assert broker.seen[0].query == {"key": "s3cret", "page": "1"}


async def test_a_request_says_who_we_are_unless_the_plugin_does(http, broker):
    await http.request("list", "GET", f"{broker.url}/")
    await http.request("list", "GET", f"{broker.url}/", headers={"user-agent": "mine"})
    assert [seen.headers["user-agent"] for seen in broker.seen] == [f"brokersync/{VERSION}", "mine"]


@pytest.mark.parametrize("base", ["/v1/list", "/v1/a%2Fb/ü", "/v1/list?kept=a%2Bb"])
async def test_what_is_signed_of_an_address_is_what_is_sent(http, broker, base):
    sent, signed = [], []

    async def keep(request):
        sent.append(request.raw_path)
        return web.Response()

    broker.then(keep)
    params = {"all": "".join(map(chr, range(0x20, 0x7F))), "cursor": "++//=%2F é", "from": "2026-01-01T00:00:00+01:00"}
    await http.request(
        "list", "GET", broker.url + base, params=params, prepare=lambda draft, _: signed.append(draft.target)
    )
    assert signed == sent


async def test_json_and_forms_are_sent_as_such(http, broker):
    await http.request("order", "POST", f"{broker.url}/", json={"b": [1, "é"]})
    await http.request("login", "post", f"{broker.url}/", form={"name": "a b", "password": "&"})
    assert broker.seen[0].headers["content-type"] == "application/json"
    assert broker.seen[0].body == b'{"b": [1, "\\u00e9"]}'
    assert broker.seen[1].headers["content-type"] == "application/x-www-form-urlencoded"
    assert broker.seen[1].body == b"name=a+b&password=%26"


async def test_the_bearer_token_is_set_only_where_it_is_wanted(http, broker):
    await http.request("list", "GET", f"{broker.url}/", auth=LOGIN)
    await http.request("list", "GET", f"{broker.url}/", auth=LOGIN, bearer=False)
    await http.request("list", "GET", f"{broker.url}/", auth=LOGIN, headers={"authorization": "Own"})
    await http.request("list", "GET", f"{broker.url}/", auth=attrs.evolve(LOGIN, access_token=None))
    assert [seen.headers.get("authorization") for seen in broker.seen] == ["Bearer tok-123", None, "Own", None]


async def test_cookies_are_forgotten(http, broker):
    broker.then(web.Response(headers={"Set-Cookie": "session=1"}))
    await http.request("list", "GET", f"{broker.url}/")
    await http.request("list", "GET", f"{broker.url}/")
    assert "cookie" not in broker.seen[1].headers


async def test_the_environment_sets_no_proxy(http, broker, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    assert (await http.request("list", "GET", f"{broker.url}/")).status == 200


async def test_a_redirect_is_refused_and_only_its_host_is_named(http, broker):
    broker.then(web.Response(status=307, headers={"Location": "https://else.example/v1?token=s3cret"}))
    with pytest.raises(BrokerResponseError, match=r"the host else\.example") as refused:
        await http.request("list", "GET", f"{broker.url}/", auth=LOGIN)
    assert "s3cret" not in str(refused.value)
    assert refused.value.status == 307
    assert len(broker.seen) == 1


async def test_a_redirect_without_an_address_is_refused_too(http, broker):
    broker.then(web.Response(status=302, headers={"Location": "/elsewhere?code=1"}))
    with pytest.raises(BrokerResponseError, match="another address"):
        await http.request("list", "GET", f"{broker.url}/")


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "http://api.toy.example/",
        "https://api.toy.example:8443/",
        "https://user@api.toy.example/",
        "https://evil.example\\.api.toy.example/",
        "ftp://api.toy.example/",
        "/relative",
    ],
)
async def test_nothing_is_sent_to_a_host_that_is_not_the_brokers(http, url):
    with pytest.raises(BrokerPluginError, match="none of the broker's hosts") as refused:
        await http.request("list", "GET", url, auth=LOGIN)
    assert refused.value.report_to == "https://toy.example/help"
    assert (refused.value.provider, refused.value.operation) == ("toy", "list")


async def test_a_host_that_is_refused_is_told_of(make_http, broker, events):
    with pytest.raises(BrokerPluginError):
        await make_http().request("list", "GET", "https://evil.example/?token=s3cret", auth=LOGIN)
    (told,) = [event for event in events if isinstance(event, HostRefused)]
    assert (told.provider, told.operation, told.host) == ("toy", "list", "evil.example")
    assert "s3cret" not in repr(told)


async def test_prepare_may_not_lead_to_another_host(http, broker):
    def prepare(draft, previous):
        draft.url = "https://evil.example/"

    with pytest.raises(BrokerPluginError):
        await http.request("list", "GET", f"{broker.url}/", auth=LOGIN, prepare=prepare)
    assert broker.seen == []


async def test_prepare_completes_the_draft_after_the_token_is_set(http, broker):
    def prepare(draft, previous):
        assert previous is None
        assert draft.auth is LOGIN
        draft.headers["X-Signature"] = draft.headers["Authorization"][::-1]
        draft.params["nonce"] = "1"
        draft.json["ticket"] = "t"

    await http.request("list", "PUT", f"{broker.url}/", auth=LOGIN, json={}, prepare=prepare)
    assert broker.seen[0].headers["x-signature"] == "321-kot reraeB"
    assert broker.seen[0].query == {"nonce": "1"}
    assert broker.seen[0].body == b'{"ticket": "t"}'


async def test_each_attempt_starts_from_a_fresh_draft(http, broker):
    given = {"params": {"p": "1"}, "headers": {"H": "1"}, "json": {"list": []}}
    kept = {name: dict(value) for name, value in given.items()}

    def prepare(draft, previous):
        assert draft.params == {"p": "1"}
        assert draft.headers == {"H": "1"}
        assert draft.json == {"list": []}
        draft.params["q"] = draft.headers["I"] = "2"
        draft.json["list"].append(1)

    broker.then(500, 500)
    await http.request("list", "GET", f"{broker.url}/", prepare=prepare, **given)
    assert len(broker.seen) == 3
    assert given == kept


async def test_an_attempt_is_told_without_its_secrets(http, broker, events, clock):
    await http.request("list", "GET", f"{broker.url}/tok-123/x", params={"t": "s3cret"}, auth=LOGIN)
    (sent,) = events
    assert sent == RequestSent(
        provider="toy",
        connection_id="c1",
        operation="list",
        url=f"{broker.url}/***/x?t=***",
        attempt=1,
        status=200,
        duration=sent.duration,
    )


async def test_a_value_that_http_does_not_allow_is_named_as_such_and_not_shown(http, broker):
    login = AuthResult(identity="u", access_token=Secret("tok\nInjected: yes"))
    with pytest.raises(BrokerPluginError, match="not allowed in HTTP") as refused:
        await http.request("list", "GET", f"{broker.url}/", auth=login)
    assert "Injected" not in str(refused.value)
    assert broker.seen == []


async def test_an_own_session_is_closed_and_nothing_is_sent_after(make_http, broker):
    http = make_http()
    await http.request("list", "GET", f"{broker.url}/")
    session = http._wire._sessions.get(keeps=True)
    await http.aclose()
    assert session.closed
    with pytest.raises(BrokerConfigError, match="closed"):
        await http.request("list", "GET", f"{broker.url}/")
    assert len(broker.seen) == 1


async def test_an_injected_session_stays_open(make_http, broker):
    async with open_session() as session:
        http = make_http(sessions=Sessions(session))
        await http.request("list", "GET", f"{broker.url}/")
        await http.aclose()
        assert not session.closed


async def test_no_session_is_opened_before_the_first_request(make_http):
    http = make_http()
    assert not http._wire._sessions._opened


async def test_a_connection_is_kept_for_whoever_asks_next(make_http, broker):
    sessions = Sessions()
    for _ in range(3):
        http = make_http(sessions=sessions)
        await http.request("list", "GET", f"{broker.url}/")
        await http.aclose()
    await sessions.aclose()
    assert len({seen.peer for seen in broker.seen}) == 1


async def test_what_may_not_be_sent_twice_never_goes_out_on_a_kept_connection(make_http, broker):
    http = make_http()
    await http.request("list", "GET", f"{broker.url}/")
    await http.request("token", "POST", f"{broker.url}/")
    await http.request("token", "POST", f"{broker.url}/")
    await http.request("list", "POST", f"{broker.url}/", repeatable=True)
    await http.aclose()
    listed, *tokens, again = (seen.peer for seen in broker.seen)
    assert len({listed, *tokens}) == 3
    assert again == listed
    await http.aclose()


async def test_a_session_that_somebody_else_closed_is_a_clear_error(make_http, broker):
    session = open_session()
    await session.close()
    with pytest.raises(BrokerConfigError, match="closed"):
        await make_http(sessions=Sessions(session)).request("list", "GET", f"{broker.url}/")


async def test_a_dead_connection_is_not_tried_again_behind_the_limiter(make_http, serve_raw, events):
    asked = []

    async def drop(reader, writer):
        """Answer the first request of a connection and hang up on the second."""
        for answer in (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b""):
            await reader.readuntil(b"\r\n\r\n")
            asked.append(answer)
            writer.write(answer)

    url = await serve_raw(drop)
    http = make_http(url=url, retry=RetrySettings(attempts=1))
    await http.request("list", "GET", url)
    with pytest.raises(BrokerUnavailableError, match="lost the connection"):
        await http.request("list", "GET", url)
    assert len(asked) == sum(isinstance(event, RequestSent) for event in events) == 2


async def test_a_cancelled_request_is_cancelled(http, broker):
    started = asyncio.Event()

    async def hang(request):
        started.set()
        await asyncio.Event().wait()

    broker.then(hang)
    task = asyncio.create_task(http.request("list", "GET", f"{broker.url}/"))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_neither_a_draft_nor_an_answer_shows_what_it_holds(http, broker):
    drafts = []
    response = await http.request(
        "list",
        "POST",
        f"{broker.url}/?a=s3cret",
        params={"b": "s3cret"},
        form={"c": "s3cret"},
        auth=LOGIN,
        prepare=lambda draft, previous: drafts.append(draft),
    )
    assert "s3cret" not in repr(drafts) + repr(response)
    assert "tok-123" not in repr(drafts)
    assert "fine" not in repr(response)


async def test_what_is_sent_again_uses_no_kept_connection(make_http, broker):
    http = make_http()
    await http.request("list", "GET", f"{broker.url}/")
    broker.then(503)
    await http.request("list", "GET", f"{broker.url}/")
    await http.aclose()
    first, failed, again = (seen.peer for seen in broker.seen)
    assert first == failed != again


def test_a_loop_that_has_ended_takes_its_sessions_with_it():
    sessions = Sessions()

    async def leave():
        session = sessions.get(keeps=True)
        await session.close()
        return session

    async def go_on():
        session = sessions.get(keeps=True)
        assert not session.closed
        await sessions.aclose()
        return session

    assert asyncio.run(leave()) is not asyncio.run(go_on())
