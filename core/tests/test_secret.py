from __future__ import annotations

import copy
import json
import pickle
import traceback

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokersync.secret import Secret

HIDDEN = "hidden-value"


@attrs.frozen
class _Holder:
    secret: Secret


def test_a_secret_shows_itself_only_when_it_is_revealed() -> None:
    secret = Secret(HIDDEN)
    assert secret.reveal() == HIDDEN
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>20}", f"{secret!r}", "%s" % secret, repr([secret])]  # noqa: UP031  the old way must not leak either
    shown += [repr(_Holder(secret)), str(vars(type(secret)))]
    assert not any(HIDDEN in text for text in shown)


def test_a_secret_in_an_error_stays_hidden() -> None:
    with pytest.raises(ValueError, match=r"\*\*\*") as caught:
        raise ValueError(Secret(HIDDEN))
    assert HIDDEN not in "".join(traceback.format_exception(caught.value))


def test_a_secret_is_neither_pickled_nor_copied_nor_written_as_json() -> None:
    for take in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError):
            take(Secret(HIDDEN))


def test_a_secret_has_no_attributes_to_look_through() -> None:
    with pytest.raises(TypeError):
        vars(Secret(HIDDEN))
    with pytest.raises(AttributeError):
        Secret(HIDDEN).value = "x"  # type: ignore[attr-defined]  # there is none


@given(st.text(), st.text())
def test_secrets_are_equal_when_their_values_are(one: str, other: str) -> None:
    assert (Secret(one) == Secret(other)) is (one == other)
    assert Secret(one) == Secret(one)
    assert hash(Secret(one)) == hash(Secret(one))
    assert Secret(one) != one
    assert bool(Secret(one)) is bool(one)
