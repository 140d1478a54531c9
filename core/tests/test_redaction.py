"""What is shown holds no secret, in whatever form it stood there."""

from __future__ import annotations

import base64
import html
import json
import re
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from brokersync.redaction import MASK, redact_text, redact_url

secrets = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=4)
some_text = st.text(max_size=20)


@given(secrets, st.lists(st.one_of(some_text, st.integers(0, 3)), max_size=8))
@example(["abcd", "cdef"], ["abcdef"])
@example(["aa"], ["aaaaa"])
@example(["a***b", "x"], ["axb"])
@example(["*a", "b"], ["ba"])
def test_no_secret_is_left_wherever_it_stands(values, parts):
    text = "".join(values[part % len(values)] if isinstance(part, int) else part for part in parts)
    shown = redact_text(text, values)
    assert not [value for value in values if value.strip("*") and value in shown]


@given(st.text("abcdef%+&", min_size=1), st.text("xyz \n"), st.text("xyz \n"))
def test_what_stands_around_a_secret_is_left_alone(value, before, after):
    assert redact_text(before + value + after, [value]) == before + MASK + after


@pytest.mark.parametrize("secret", ["p@ss w/rd+\u00fc%", "quo\"te\\back's", "<&'>", "line\nbreak", "plain-but-long"])
@pytest.mark.parametrize(
    "write",
    [
        str,
        quote,
        quote_plus,
        lambda value: quote(value, safe=""),
        lambda value: re.sub("%..", lambda escape: escape[0].lower(), quote(value)),
        lambda value: urlencode({"q": value})[2:],
        lambda value: json.dumps(value)[1:-1],
        lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
        lambda value: repr(value)[1:-1],
        html.escape,
        lambda value: base64.b64encode(value.encode()).decode(),
        lambda value: base64.b64encode(value.encode()).decode().rstrip("="),
        lambda value: base64.urlsafe_b64encode(value.encode()).decode(),
    ],
)
def test_a_secret_is_found_in_every_form_it_is_written_in(secret, write):
    assert redact_text(f"before {write(secret)} after", [secret]) == "before *** after"


@given(st.binary(max_size=20), st.text("abcdefgh1234", min_size=6), st.binary(max_size=20))
def test_a_password_is_not_left_in_the_base64_of_a_login(user, password, behind):
    written = base64.b64encode(user + b":" + password.encode() + behind).decode()
    shown = redact_text(written, [password])
    assert MASK in shown
    # What may be left is what its neighbours wrote, and the character that it shares with each of them.
    left = len(shown.replace(MASK, ""))
    assert left <= -(-8 * (len(user) + 1) // 6) + -(-8 * len(behind) // 6) + 2 + written.count("=")


def test_a_password_at_the_end_of_a_login_is_wholly_gone():
    for user in ("a", "ab", "abc"):
        written = base64.b64encode(f"{user}:hunter2hunter2".encode()).decode()
        shown = redact_text(written, ["hunter2hunter2"])
        assert shown.endswith(MASK)
        assert len(shown) - len(MASK) <= len(user) * 4 // 3 + 2


def test_the_longest_secret_goes_as_a_whole():
    assert redact_text("token-long and token", ["token", "token-long"]) == "*** and ***"


def test_overlapping_secrets_leave_nothing_of_either():
    assert redact_text("<abcdef>", ["abcd", "cdef"]) == "<***>"


def test_without_secrets_nothing_changes():
    assert redact_text("as it is", []) == "as it is"
    assert redact_text("as it is ***", ["", "***"]) == "as it is ***"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h.example/p", "https://h.example/p"),
        ("https://h.example/p?t=s3cret&v=3", "https://h.example/p?t=***&v=***"),
        ("https://h.example/p?t=", "https://h.example/p?t=***"),
        ("https://h.example/p?s3cret", "https://h.example/p?***"),
        ("https://user:s3cret@h.example:8443/p#s3cret", "https://h.example:8443/p"),
        ("https://h.example/p;session=s3cret/q", "https://h.example/p;session=***/q"),
        ("http://[::1]:80/p?a=s3cret", "http://[::1]:80/p?a=***"),
        ("/p?a=s3cret", "/p?a=***"),
        ("https://h.example/bot/tok%2F1/p", "https://h.example/bot/***/p"),
        ("https://[s3cret", "(not an address)"),
        ("https://h.example:s3cret/", "(not an address)"),
    ],
)
def test_an_address_shows_its_path_and_the_names_of_its_query(url, shown):
    assert redact_url(url, ["tok/1"]) == shown


def test_an_address_shows_the_names_that_will_be_added():
    assert redact_url("https://h.example/p?a=1", params={"b": "s3cret"}) == "https://h.example/p?a=***&b=***"


@given(st.text(alphabet="ab?&=;/#@:% ", max_size=30), st.text(alphabet="ab?&=;/#@:%", max_size=20))
def test_no_value_of_a_query_is_shown(path, value):
    shown = redact_url(f"https://h.example/{path}?first=1&t=" + quote("TOKEN" + value, safe=""))
    assert "TOKEN" not in shown
