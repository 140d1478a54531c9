"""What a replay logs in with has the shape of the secret, and is none."""

from __future__ import annotations

import json
from base64 import b32decode, b32encode, b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from random import Random
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokersync.manifest import Field
from brokersync.redaction import shows
from brokersync.testing.recording.leaks import looks_secret
from brokersync.testing.recording.made_secrets import made_secret
from brokersync.testing.recording.recording import texts_of
from brokersync.testing.recording.sanitise import Sanitiser

from .sessions import FACTS, KINDS, MANIFEST, Facts, session

KEYS = st.binary(min_size=24, max_size=80)


@given(KEYS)
def test_a_secret_in_base64_stays_one_of_as_many_bytes(key: bytes) -> None:
    for encode, decode in ((b64encode, b64decode), (urlsafe_b64encode, urlsafe_b64decode)):
        secret = encode(key).decode()
        made = made_secret("api_secret", secret)
        if made.startswith("not-the-real"):
            assert not secret.endswith("=")
            assert not (any(map(str.isdigit, secret)) and secret != secret.lower() and secret != secret.upper())
            continue
        assert len(decode(made)) == len(key)
        assert made != secret
        assert not looks_secret(made)


@given(KEYS)
def test_hexadecimal_digits_stay_such(key: bytes) -> None:
    for secret in (key.hex(), key.hex().upper()):
        made = made_secret("api_secret", secret)
        assert len(bytes.fromhex(made)) == len(key)
        assert made != secret
        assert made.isupper() == secret.isupper() or secret.isdigit()
        assert not looks_secret(made)


@given(st.uuids())
def test_a_uuid_stays_one(secret: UUID) -> None:
    made = made_secret("api_key", str(secret))
    assert UUID(made) != secret
    assert not looks_secret(made)


def test_a_seed_in_base32_stays_one() -> None:
    secret = b32encode(bytes(range(20))).decode()
    made = made_secret("totp_seed", secret)
    assert len(b32decode(made)) == 20
    assert made != secret
    assert not looks_secret(made)


@pytest.mark.parametrize("secret", ["correct horse", "hunter2", "longpasswordofletters", "pa$$w0rd-OF-mine!"])
def test_what_has_no_shape_is_told_in_words(secret: str) -> None:
    assert made_secret("api_secret", secret) == "not-the-real-api-secret"


def test_a_pattern_has_the_last_word() -> None:
    assert made_secret("pin", "Ab12", "[A-Z][a-z][0-9]{2}") == "Zz99"


@given(FACTS)
def test_a_session_is_replayed_with_it(facts: Facts) -> None:
    key = b64encode(bytes(range(32))).decode()
    given_by_user = attrs.evolve(session(facts), fields={"username": facts.username, "password": key}, secrets=(key,))
    fields = (*MANIFEST.user_fields[:1], Field(name="password", label="Key", help="The key.", secret=True))
    manifest = attrs.evolve(MANIFEST, user_fields=fields)
    recording = Sanitiser(given_by_user, manifest, KINDS, Random(3)).sanitised("acme 1.0").recording
    assert len(b64decode(recording.fields["password"])) == 32
    assert not shows(json.dumps(texts_of(recording)), key)
