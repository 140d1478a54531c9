"""What lets a request in is a token that may be replaced, or what the user gave."""

from __future__ import annotations

import base64

import pytest

from brokersync.testing.contract.tokens import is_given_by_user

FIELDS = ("ada", "pass:word \N{SNOWMAN}")


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "authorization", [basic("ada:pass:word \N{SNOWMAN}"), basic("ada:"), basic("ada"), "Bearer ada", "basic YWRhOg=="]
)
def test_a_password_that_comes_with_each_request_is_the_users(authorization: str) -> None:
    assert is_given_by_user(authorization, FIELDS)


@pytest.mark.parametrize("authorization", [basic("ada:a-token-of-a-session"), "Bearer token", "Basic no base64", ""])
def test_a_token_that_the_broker_gave_is_not(authorization: str) -> None:
    assert not is_given_by_user(authorization, FIELDS)
