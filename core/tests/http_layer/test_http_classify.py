"""Every outcome is one of our errors, and says nothing it should not."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import ssl
import traceback
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aiohttp import http_exceptions, web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from brokersync.config import HttpSettings, RetrySettings
from brokersync.errors import (
    BrokerAPIError,
    BrokerAuthError,
    BrokerError,
    BrokerMaintenanceError,
    BrokerPluginError,
    BrokerRateLimitError,
    BrokerResponseError,
    BrokerRetryableError,
    BrokerTimeoutError,
    BrokerTokenExpiredError,
    BrokerUnavailableError,
    Fault,
)
from brokersync.events import RequestSent
from brokersync.http_classify import asked_wait, foreign_error, status_error
from brokersync.secret import Secret
from brokersync.types import AuthResult

NOW = datetime(2030, 5, 1, 12, tzinfo=UTC)
QUERY = {"token": "s3cret"}
LOGIN = AuthResult(identity="user 7", access_token=Secret("tok-123"))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, type(None)),
        (204, type(None)),
        (299, type(None)),
        (301, BrokerResponseError),
        (308, BrokerResponseError),
        (400, BrokerAPIError),
        (401, BrokerAuthError),
        (403, BrokerAuthError),
        (404, BrokerAPIError),
        (408, BrokerTimeoutError),
        (418, BrokerAPIError),
        (423, BrokerRateLimitError),
        (425, BrokerRetryableError),
        (429, BrokerRateLimitError),
        (500, BrokerUnavailableError),
        (502, BrokerUnavailableError),
        (503, BrokerUnavailableError),
        (599, BrokerUnavailableError),
        (101, BrokerResponseError),
        (777, BrokerResponseError),
    ],
)
def test_a_status_has_one_meaning(status, kind):
    error = status_error(status, {}, broker="Toy Broker", operation="list", logged_in=False, now=NOW)
    assert type(error) is kind
    if error is not None:
        assert error.status == status
        assert str(error)


@pytest.mark.parametrize("status", [401, 403])
def test_a_bare_status_is_no_proof_against_a_login(status: int):
    error = status_error(status, {}, broker="Toy Broker", operation="list", logged_in=False, now=NOW)
    assert isinstance(error, BrokerAuthError)
    assert not error.certain


def test_a_401_means_a_dead_token_only_for_one_who_is_logged_in():
    error = status_error(401, {}, broker="Toy Broker", operation="list", logged_in=True, now=NOW)
    assert type(error) is BrokerTokenExpiredError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 85092 ", 85092),
        ("1.5", 1.5),
        ("Wed, 01 May 2030 12:00:30 GMT", 30),
        ("Wed, 01 May 2030 14:01:00 +0200", 60),
        ("Wednesday, 01-May-30 12:00:30 GMT", 30),
        ("Wed, 01 May 2030 12:00:30 -0000", 30),
        ("Wed, 01 May 2030 11:00:00 GMT", 0),
        ("999999999", 366 * 86400),
        ("Tue, 01 May 2990 12:00:00 GMT", 366 * 86400),
        ("99999999999999999999", None),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("Wed, 99 May 2030 12:00:30 GMT", None),
        ("\uff11\uff12", None),
        ("1e3", None),
    ],
)
def test_retry_after_is_read_in_both_its_forms(text, seconds):
    wait = asked_wait({"retry-after": text}, NOW)
    assert wait == (None if seconds is None else timedelta(seconds=seconds))


def test_without_retry_after_nothing_is_asked():
    assert asked_wait({}, NOW) is None


@pytest.mark.parametrize("status", [408, 423, 425, 429, 500, 503])
def test_a_refusal_carries_the_wait_the_broker_asks_for(status):
    error = status_error(status, {"retry-after": "7"}, broker="B", operation="o", logged_in=True, now=NOW)
    assert error.retry_after == timedelta(seconds=7)


def every_aiohttp_error():
    for module in pkgutil.iter_modules(aiohttp.__path__):
        if not module.name.startswith(("worker", "pytest_plugin", "test_utils")):
            importlib.import_module(f"aiohttp.{module.name}")
    found, todo = set(), [aiohttp.ClientError, http_exceptions.HttpProcessingError]
    while todo:
        kind = todo.pop()
        if kind not in found and kind.__module__.startswith("aiohttp"):
            found.add(kind)
            todo += kind.__subclasses__()
    return sorted(found, key=lambda kind: kind.__name__)


def test_the_walk_finds_what_aiohttp_exports():
    exported = {
        value for value in vars(aiohttp).values() if isinstance(value, type) and issubclass(value, aiohttp.ClientError)
    }
    assert exported <= set(every_aiohttp_error())
    assert len(exported) > 20


@pytest.mark.parametrize("kind", every_aiohttp_error(), ids=lambda kind: kind.__name__)
def test_every_error_of_aiohttp_has_a_meaning_of_ours(kind):
    failed = foreign_error(kind.__new__(kind), broker="Toy Broker", operation="list")
    assert isinstance(failed.error, BrokerError)
    unknown = failed.error.fault is Fault.CORE
    assert unknown == (kind is aiohttp.ClientError)  # only the root itself has no meaning


@pytest.mark.parametrize(
    ("error", "kind", "sent"),
    [
        (TimeoutError(), BrokerTimeoutError, True),
        (aiohttp.ServerTimeoutError(), BrokerTimeoutError, True),
        (aiohttp.ConnectionTimeoutError(), BrokerTimeoutError, False),
        (ssl.SSLError(), BrokerUnavailableError, True),
        (ssl.SSLCertVerificationError(), BrokerUnavailableError, False),
        (ConnectionRefusedError(), BrokerUnavailableError, False),
        (ConnectionResetError(), BrokerUnavailableError, True),
        (OSError(), BrokerUnavailableError, True),
        (asyncio.IncompleteReadError(b"", 1), BrokerUnavailableError, True),
        (aiohttp.ClientPayloadError(), BrokerUnavailableError, True),
        (aiohttp.InvalidURL("x"), BrokerPluginError, False),
        (ValueError(), BrokerPluginError, False),
        (TypeError(), BrokerPluginError, False),
        (aiohttp.InvalidUrlRedirectClientError("x"), BrokerResponseError, False),
    ],
)
def test_what_other_libraries_raise_has_a_meaning_of_ours(error, kind, sent):
    failed = foreign_error(error, broker="Toy Broker", operation="list")
    assert type(failed.error) is kind
    assert failed.sent is sent


def test_nothing_of_a_foreign_text_is_kept():
    failed = foreign_error(OSError(5, "at https://x/?token=s3cret"), broker="Toy Broker", operation="list")
    assert "s3cret" not in repr(failed.error.describe())


async def test_check_reads_the_broker_s_own_words_before_the_status_is_judged(http, broker):
    def check(response):
        if response.json().get("reason") == "maintenance":
            raise BrokerMaintenanceError("Closed until morning.", code="M1", retry_after=timedelta(hours=9))

    broker.then(web.json_response({"reason": "maintenance"}, status=400))
    with pytest.raises(BrokerMaintenanceError) as refused:
        await http.request("list", "GET", f"{broker.url}/", check=check)
    facts = refused.value.describe()
    assert (facts["provider"], facts["operation"], facts["status"], facts["code"]) == ("toy", "list", 400, "M1")


async def test_check_raises_the_errors_that_come_with_status_200(http, broker):
    def check(response):
        raise BrokerAuthError("Wrong password.")

    with pytest.raises(BrokerAuthError, match="Wrong password") as refused:
        await http.request("login", "POST", f"{broker.url}/", check=check)
    assert refused.value.status == 200


async def test_what_check_lets_pass_is_judged_by_status(http, broker):
    broker.then(404)
    with pytest.raises(BrokerAPIError) as refused:
        await http.request("list", "GET", f"{broker.url}/", check=lambda response: None)
    assert refused.value.report_to == "https://toy.example/help"


@pytest.mark.parametrize(
    ("status", "kind"), [(502, BrokerUnavailableError), (403, BrokerAuthError), (429, BrokerRateLimitError)]
)
async def test_a_body_that_check_can_not_read_leaves_a_telling_status_the_last_word(make_http, broker, status, kind):
    broker.then(web.Response(status=status, text="<html>"))
    http = make_http(retry=RetrySettings(attempts=1))
    with pytest.raises(kind):
        await http.request("list", "GET", f"{broker.url}/", check=lambda response: response.json())


@pytest.mark.parametrize("status", [200, 400])
async def test_a_body_that_check_can_not_read_is_nonsense_otherwise(http, broker, status):
    broker.then(web.Response(status=status, text="<html>"))
    with pytest.raises(BrokerResponseError, match="not JSON") as refused:
        await http.request("list", "GET", f"{broker.url}/", check=lambda response: response.json())
    assert refused.value.report_to == "https://toy.example/help"


async def test_a_bug_in_check_stays_a_bug(http, broker):
    with pytest.raises(ZeroDivisionError):
        await http.request("list", "GET", f"{broker.url}/", check=lambda response: 1 / 0)


def shows_nothing(error):
    """Neither the error nor anything that is shown with it holds the query or the token."""
    assert error.__context__ is None
    text = "".join(traceback.format_exception(error)) + repr(error.describe())
    assert "s3cret" not in text
    assert "tok-123" not in text


GZIP = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\nnot gz!"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", BrokerUnavailableError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", BrokerUnavailableError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nshort", BrokerUnavailableError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot hex\r\n", BrokerResponseError),
        (b"this is no HTTP\r\n\r\n", BrokerResponseError),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20000 + b"\r\n\r\n", BrokerResponseError),
        (GZIP, BrokerResponseError),
    ],
    ids=["hangs up", "cut off", "cut off in a chunk", "bad chunk", "no HTTP", "long header", "bad gzip"],
)
async def test_a_broken_answer_is_one_of_our_errors_and_shows_no_query(make_http, serve_raw, answer, kind):
    url = await serve_raw(answer)
    http = make_http(url=url, retry=RetrySettings(attempts=1))
    with pytest.raises(kind) as broken:
        await http.request("list", "GET", f"{url}/", params=QUERY, auth=LOGIN)
    shows_nothing(broken.value)


async def test_an_unreachable_host_is_one_of_our_errors_and_shows_no_query(make_http, unused_tcp_port):
    url = f"http://127.0.0.1:{unused_tcp_port}"
    http = make_http(url=url, retry=RetrySettings(attempts=1))
    with pytest.raises(BrokerUnavailableError, match="could not be reached") as broken:
        await http.request("list", "GET", f"{url}/", params=QUERY, auth=LOGIN)
    shows_nothing(broken.value)


@pytest.fixture
def certificate(tmp_path):
    """A certificate for this machine that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1))
        .not_valid_after(datetime(2120, 1, 1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path = tmp_path / "server.pem"
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + made.public_bytes(pem))
    return path


async def test_a_certificate_that_nobody_vouches_for_is_refused_before_anything_is_sent(make_http, certificate):
    asked = []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def serve(reader, writer):
        asked.append(await reader.read())
        writer.close()

    async with await asyncio.start_server(serve, "localhost", 0, ssl=context) as server:
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        http = make_http(url=url, retry=RetrySettings(attempts=2))
        with pytest.raises(BrokerUnavailableError, match="certificate") as refused:
            await http.request("order", "POST", f"{url}/", params=QUERY, auth=LOGIN)
    shows_nothing(refused.value)
    assert "not known" not in str(refused.value)  # it was not sent, so there is no doubt
    assert b"".join(asked) == b""


async def test_a_server_that_speaks_no_tls_is_refused(make_http, serve_raw):
    async def plain(reader, writer):
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    url = (await serve_raw(plain)).replace("http:", "https:")
    http = make_http(url=url, retry=RetrySettings(attempts=1))
    with pytest.raises(BrokerUnavailableError):
        await http.request("list", "GET", f"{url}/", auth=LOGIN)


async def test_a_connection_that_is_never_made_ends_in_time_and_nothing_was_sent(make_http, serve_raw, events):
    async def silent(reader, writer):
        await reader.read()

    url = (await serve_raw(silent)).replace("http:", "https:")
    settings = HttpSettings(connect=timedelta(seconds=0.05))
    http = make_http(url=url, settings=settings, retry=RetrySettings(attempts=2))
    with pytest.raises(BrokerTimeoutError, match="reached in time"):
        await http.request("order", "POST", f"{url}/", auth=LOGIN)
    assert sum(isinstance(event, RequestSent) for event in events) == 2
