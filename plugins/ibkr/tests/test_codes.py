from __future__ import annotations

from datetime import timedelta

import pytest

from brokersync.plugin import (
    BrokerAPIError,
    BrokerAuthError,
    BrokerConfigError,
    BrokerDataUnavailableError,
    BrokerError,
    BrokerNotReadyError,
    BrokerRateLimitError,
    BrokerResponseError,
    BrokerUnavailableError,
    DataUnavailableReason,
    Fault,
    LimitScope,
)
from brokersync_ibkr.codes import PENDING, meaning_of, service_error

KINDS: dict[int, type[BrokerError]] = {
    1001: BrokerUnavailableError,
    1003: BrokerDataUnavailableError,
    1004: BrokerNotReadyError,
    1005: BrokerNotReadyError,
    1006: BrokerNotReadyError,
    1007: BrokerNotReadyError,
    1008: BrokerNotReadyError,
    1009: BrokerUnavailableError,
    1010: BrokerConfigError,
    1011: BrokerConfigError,
    1012: BrokerAuthError,
    1013: BrokerAuthError,
    1014: BrokerConfigError,
    1015: BrokerAuthError,
    1016: BrokerConfigError,
    1017: BrokerResponseError,
    1018: BrokerRateLimitError,
    1019: BrokerNotReadyError,
    1020: BrokerConfigError,
    1021: BrokerUnavailableError,
}


@pytest.mark.parametrize(("code", "kind"), sorted(KINDS.items()))
def test_each_code_has_its_kind_its_number_and_a_remedy(code: int, kind: type[BrokerError]) -> None:
    error = service_error(str(code), "whatever the broker says")
    assert type(error) is kind
    assert error.code == str(code)
    assert str(code) in error.message
    assert len(error.remedy) > 20
    assert "whatever" not in str(error)


@pytest.mark.parametrize("code", [1001, 1004, 1005, 1006, 1007, 1008, 1009, 1018, 1019, 1021])
def test_a_passing_code_says_how_long_to_wait(code: int) -> None:
    error = service_error(str(code), "")
    assert timedelta(seconds=5) <= error.retry_after <= timedelta(minutes=10)


def test_too_many_requests_silence_the_token_for_every_worker() -> None:
    error = service_error("1018", "")
    assert (error.retry_after, error.freeze) == (timedelta(minutes=1), LimitScope.CREDENTIAL)


def test_no_statement_for_a_period_is_missing_data_and_not_a_failure() -> None:
    assert service_error("1003", "").reason is DataUnavailableReason.NO_SUCH_DATA


@pytest.mark.parametrize("code", [1010, 1011, 1014, 1016, 1020])
def test_a_query_to_be_set_up_differently_is_the_users_to_change(code: int) -> None:
    assert service_error(str(code), "").fault is Fault.USER


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (1011, "Flex Web Service Status"),
        (1012, "generate a new token"),
        (1013, "without an IP restriction"),
        (1014, "Query ID"),
        (1015, "generate a new token"),
        (1020, "wait and try again"),
    ],
)
def test_a_remedy_names_what_to_click(code: int, words: str) -> None:
    assert words in service_error(str(code), "").remedy


@pytest.mark.parametrize("text", ["Please try again shortly.", "Data NOT READY", "still in progress", "heavy load"])
def test_an_unknown_code_that_says_it_passes_is_tried_again(text: str) -> None:
    assert type(service_error("1999", text)) is BrokerUnavailableError


def test_an_unknown_code_is_not_tried_again_and_shows_no_long_number() -> None:
    error = service_error("1999", "Query 5 of token 918273645546372819 is bad")
    assert type(error) is BrokerAPIError
    assert "1999" in error.message
    assert "918273645546372819" not in str(error)


def test_the_statement_on_order_is_waited_for_with_these_codes_only() -> None:
    assert {int(code) for code in PENDING} == {1001, 1004, 1005, 1006, 1007, 1008, 1009, 1019, 1021}


def test_every_code_has_a_meaning_and_an_unknown_one_says_so() -> None:
    assert all(meaning_of(str(code))[0] for code in KINDS)
    assert "unknown" in meaning_of("4711")[0]
