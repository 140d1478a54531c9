from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokersync.errors import BrokerConfigError, Fault
from brokersync.masterkeys import MasterKeys
from brokersync.sealing import KEY_VARIABLE, DataKey, Sealer

KEY, OTHER_KEY, THIRD_KEY = bytes(range(32)), bytes(range(1, 33)), bytes(range(2, 34))
HIDDEN = "hidden-value"


class Case:
    """A sealed value with all that is needed to open it."""

    def __init__(self, value: str = HIDDEN, *, owner: str = "o", row: str = "row") -> None:
        self.keys = MasterKeys(KEY)
        self.owner, self.row = owner, row
        self.wrapped = asyncio.run(Sealer(self.keys).new_data_key(owner))
        self.sealed = asyncio.run(self.key()).seal(row, value)

    async def key(self) -> DataKey:
        return await Sealer(self.keys).data_key(self.wrapped, self.owner)

    def opened(self) -> str:
        return asyncio.run(self.key()).unseal(self.row, self.sealed)


def refusal(case: Case) -> BrokerConfigError:
    with pytest.raises(BrokerConfigError) as caught:
        case.opened()
    assert caught.value.remedy
    assert caught.value.fault is Fault.OPERATOR
    assert HIDDEN not in str(caught.value)
    return caught.value


class Counting:
    """A key management service that counts how often it is asked."""

    def __init__(self) -> None:
        self.keys, self.asked = MasterKeys(KEY), 0

    async def wrap(self, data_key: bytes, owner: str) -> bytes:
        return await self.keys.wrap(data_key, owner)

    async def unwrap(self, wrapped: bytes, owner: str) -> bytes:
        self.asked += 1
        await asyncio.sleep(0)
        return await self.keys.unwrap(wrapped, owner)


@given(st.text(), st.text(), st.text())
def test_a_sealed_value_opens_and_shows_nothing(value: str, owner: str, row: str) -> None:
    case = Case(value, owner=owner, row=row)
    assert case.opened() == value
    assert len(value.encode()) < 4 or value.encode() not in case.sealed + case.wrapped


async def test_a_value_is_sealed_anew_each_time() -> None:
    sealer = Sealer(MasterKeys(KEY))
    wrapped = await sealer.new_data_key("o")
    key = await sealer.data_key(wrapped, "o")
    assert key.seal("row", HIDDEN) != key.seal("row", HIDDEN)
    assert await sealer.new_data_key("o") != wrapped


def test_a_value_moved_to_another_row_does_not_open() -> None:
    case = Case()
    case.row = "other"
    assert "copied" in refusal(case).message


def test_a_value_moved_to_another_owner_does_not_open_even_with_its_data_key() -> None:
    case, other = Case(), Case(owner="x")
    case.owner = "x"
    assert "copied" in refusal(case).message
    case.wrapped = other.wrapped
    assert "another key" in refusal(case).message


@pytest.mark.parametrize("part", ["sealed", "wrapped"])
def test_a_changed_or_shortened_value_does_not_open(part: str) -> None:
    whole: bytes = getattr(Case(), part)
    for place in range(len(whole)):
        changed, shortened = Case(), Case()
        kept = bytearray(getattr(changed, part))
        kept[place] ^= 1
        setattr(changed, part, bytes(kept))
        refusal(changed)
        setattr(shortened, part, getattr(shortened, part)[:place])
        refusal(shortened)


def test_another_key_is_named_as_the_reason_with_what_to_do() -> None:
    case = Case()
    case.keys = MasterKeys(OTHER_KEY, THIRD_KEY)
    error = refusal(case)
    assert "another key" in error.message
    assert KEY_VARIABLE in error.remedy


def test_a_value_of_a_newer_release_is_told_as_such() -> None:
    case = Case()
    case.sealed = b"\x02" + case.sealed[1:]
    assert "newer" in refusal(case).message


def test_of_several_keys_the_first_seals_and_all_open() -> None:
    case = Case()
    case.keys = MasterKeys(OTHER_KEY, KEY)
    assert case.opened() == HIDDEN
    newer = asyncio.run(Sealer(case.keys).rewrapped(case.wrapped, "o"))
    assert MasterKeys(OTHER_KEY).knows(newer)
    assert not MasterKeys(KEY).knows(newer)
    case.wrapped, case.keys = newer, MasterKeys(OTHER_KEY)
    assert case.opened() == HIDDEN, "it is the same data key"


async def test_a_key_provider_is_asked_once_for_a_key_however_many_tasks_want_it() -> None:
    service = Counting()
    wrapped = await Sealer(service).new_data_key("o")
    sealer = Sealer(service)
    await asyncio.gather(*(sealer.data_key(wrapped, "o") for _ in range(50)))
    assert service.asked == 1
    sealer.close()
    await sealer.data_key(wrapped, "o")
    assert service.asked == 2, "a closed sealer remembers nothing"


async def test_a_key_provider_is_not_asked_for_a_key_that_was_just_made() -> None:
    service = Counting()
    sealer = Sealer(service)
    await sealer.data_key(await sealer.new_data_key("o"), "o")
    assert service.asked == 0


async def test_only_so_many_keys_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brokersync.sealing._REMEMBERED", 2)
    service = Counting()
    sealer = Sealer(service)
    wrapped = {owner: await sealer.new_data_key(owner) for owner in ("a", "b", "c")}
    for owner in ("a", "b", "a", "c", "a", "b"):
        await sealer.data_key(wrapped[owner], owner)
    assert service.asked == 4, "the one that was not used for longest is forgotten first"
