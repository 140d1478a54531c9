"""Which hosts a plugin may talk to."""

from __future__ import annotations

import re

import attrs
import pytest

from brokersync.errors import BrokerConfigError, BrokerResponseError
from brokersync.hosts import HostMap
from brokersync.manifest import AuthKind, Manifest, SourceSpec

MANIFEST = Manifest(
    key="toy",
    display_name="Toy Broker",
    contract=1,
    environments=("live",),
    auth=(AuthKind.TOKEN,),
    sources=(SourceSpec(name="history", precedence=1),),
    licence="Apache-2.0",
    docs="https://toy.example/docs",
    support="https://toy.example/help",
    hosts={"login": "https://login.toy.example/v1/", "data": "https://data.toy.example"},
    host_patterns={"data": ("*.data.toy.example",), "stream": ("S?.stream.example",)},
)


def test_a_role_gives_its_base_url_without_a_slash_at_the_end():
    hosts = HostMap(MANIFEST, {"data": "https://proxy.example/toy/"})
    assert hosts["login"] == "https://login.toy.example/v1"
    assert hosts["data"] == "https://proxy.example/toy"


@pytest.mark.parametrize("role", ["stream", "other"])
def test_a_role_without_a_base_url_is_named(role):
    with pytest.raises(BrokerConfigError, match=role):
        HostMap(MANIFEST, {})[role]


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8080",
        "http://127.0.0.1:8080",
        "http://127.9.9.9",
        "http://[::1]:8080/base",
        "https://proxy.example",
        "https://127.0.0.1:1",
    ],
)
def test_an_operator_may_set_https_anywhere_and_http_on_this_machine(url):
    assert HostMap(MANIFEST, {"data": url})["data"] == url


@pytest.mark.parametrize(
    "url",
    [
        "http://proxy.example",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "http://128.0.0.1",
        "http://0.0.0.0",
        "https://user:s3cret@proxy.example",
        "https://s3cret@proxy.example",
        "https://proxy.example?token=s3cret",
        "https://proxy.example#s3cret",
        "ftp://proxy.example",
        "proxy.example",
        "https://",
        "",
    ],
)
def test_any_other_address_is_a_mistake_that_names_its_place_and_shows_nothing(url):
    with pytest.raises(BrokerConfigError) as mistake:
        HostMap(MANIFEST, {"data": url})
    assert "hosts.data" in mistake.value.remedy
    assert "s3cret" not in str(mistake.value)


def test_a_role_that_the_manifest_does_not_have_can_not_be_set():
    with pytest.raises(BrokerConfigError, match=r"login, stream|data, login"):
        HostMap(MANIFEST, {"dta": "https://proxy.example"})


@pytest.mark.parametrize(
    ("role", "url", "accepted"),
    [
        ("data", "https://data.toy.example/v2/", "https://data.toy.example/v2"),
        ("data", "https://DATA.toy.example", "https://DATA.toy.example"),
        ("data", "https://data.toy.example:443", "https://data.toy.example:443"),
        ("data", "https://eu.data.toy.example", "https://eu.data.toy.example"),
        ("data", "https://login.toy.example", "https://login.toy.example"),
        ("stream", "https://s1.stream.example", "https://s1.stream.example"),
    ],
)
def test_a_host_learned_at_run_time_is_accepted_where_the_manifest_allows_it(role, url, accepted):
    assert HostMap(MANIFEST, {}).accept(role, url) == accepted


@pytest.mark.parametrize(
    ("role", "url"),
    [
        ("data", "http://data.toy.example"),
        ("data", "http\u017f://data.toy.example"),
        ("data", "https://data.toy.example:8443"),
        ("data", "https://user@data.toy.example"),
        ("data", "https://data.toy.example@evil.example"),
        ("data", "https://evil.example"),
        ("data", "https://data.toy.example.evil.example"),
        ("data", "https://evil-data.toy.example"),
        ("data", "https://evil.example\\.data.toy.example"),
        ("data", "https://evil.example/.data.toy.example"),
        ("data", "https://evil.example#.data.toy.example"),
        ("data", "https://evil.example?.data.toy.example"),
        ("data", "https://evil.example%2f.data.toy.example"),
        ("data", "https://evil.example\n.data.toy.example"),
        ("data", " https://data.toy.example"),
        ("data", "https://data.toy.example/?token=1"),
        ("data", "//data.toy.example"),
        ("data", "wss://data.toy.example"),
        ("data", "https://s1.stream.example"),
        ("stream", "https://s12.stream.example"),
        ("stream", "https://eu.data.toy.example"),
    ],
)
def test_a_host_that_the_manifest_does_not_allow_is_refused(role, url):
    with pytest.raises(BrokerResponseError, match="manifest does not allow"):
        HostMap(MANIFEST, {}).accept(role, url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://data.toy.example", "the host 'data.toy.example' without https for"),
        ("https://data.toy.example:8443", "the host 'data.toy.example' with port 8443 for"),
        ("https://evil.example", "the host 'evil.example' for"),
        ("https://" + "e" * 3000, "the host '" + "e" * 80 + "...' for"),
        ("ftp://data.toy.example", "an address that is no plain https address for"),
    ],
)
def test_a_refused_address_is_told_by_what_is_wrong_with_it(url, shown):
    with pytest.raises(BrokerResponseError, match=re.escape(shown)):
        HostMap(MANIFEST, {}).accept("data", url)


def test_nothing_is_accepted_for_a_role_that_is_not_declared():
    with pytest.raises(BrokerConfigError, match="dta"):
        HostMap(MANIFEST, {}).accept("dta", "https://data.toy.example")


def test_what_the_operator_set_is_accepted_with_its_port_and_scheme_only():
    hosts = HostMap(MANIFEST, {"login": "http://127.0.0.1:8080"})
    assert hosts.accept("data", "http://127.0.0.1:8080/data/") == "http://127.0.0.1:8080/data"
    for other in ("https://127.0.0.1:8080", "http://127.0.0.1:8081", "http://127.0.0.2:8080"):
        with pytest.raises(BrokerResponseError):
            hosts.accept("data", other)


@pytest.mark.parametrize(
    ("url", "permitted"),
    [
        ("https://data.toy.example/v1/list?from=1#x", True),
        ("https://data.toy.example?from=1", True),
        ("https://s1.stream.example/x", True),
        ("https://eu.data.toy.example/@x", True),
        ("http://127.0.0.1:8080/v1?x=1", True),
        ("http://127.0.0.1:8081/v1?x=1", False),
        ("https://evil.example/data.toy.example", False),
        ("https://data.toy.example@evil.example/", False),
        ("https://data.toy.example\\@evil.example/", False),
        ("https://data.toy.example:443@evil.example/", False),
        ("https://data.toy.example:99999/", False),
        ("/v1/list", False),
    ],
)
def test_a_request_may_go_only_to_a_host_of_the_broker(url, permitted):
    assert HostMap(MANIFEST, {"login": "http://127.0.0.1:8080"}).permits(url) is permitted


def test_no_request_goes_to_a_page_that_is_for_browsers():
    page = "https://pages.toy.example/login"
    manifest = attrs.evolve(MANIFEST, hosts={**MANIFEST.hosts, "page": page}, pages=("page",))
    for hosts in (HostMap(manifest, {}), HostMap(manifest, {"page": "https://own.example/login"})):
        assert hosts["page"].endswith("/login"), "it can be shown"
        assert not hosts.permits(hosts["page"])
        with pytest.raises(BrokerResponseError, match="does not allow"):
            hosts.accept("data", hosts["page"])


def test_a_page_on_a_host_that_is_asked_closes_nothing():
    manifest = attrs.evolve(
        MANIFEST, hosts={**MANIFEST.hosts, "page": "https://data.toy.example/login"}, pages=("page",)
    )
    assert HostMap(manifest, {}).permits("https://data.toy.example/list")


def test_a_page_without_a_host_is_a_mistake():
    with pytest.raises(ValueError, match="pages names 'page'"):
        attrs.evolve(MANIFEST, pages=("page",))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://login.toy.example/v1/token?x=1", ("login", "https://login.toy.example/v1")),
        ("https://data.toy.example/fills", ("data", "https://data.toy.example")),
        # moved there at run time
        ("https://eu.data.toy.example/fills", ("data", "https://eu.data.toy.example")),
    ],
)
def test_an_address_is_known_by_its_role(url, told):
    assert HostMap(MANIFEST, {}).role_of(url) == told


def test_a_longer_name_is_not_below_a_base():
    assert HostMap(MANIFEST, {}).role_of("https://login.toy.example/v10/token")[0] != "login"
