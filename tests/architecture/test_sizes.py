from __future__ import annotations

from pathlib import Path

FORBIDDEN = 400
NEEDS_A_REASON = 300

REASONS = {
    "core/src/brokersync/store/protocol.py": "all that a store must do, read as one page; each method is a sentence",
    "core/src/brokersync/store/sql_store.py": "all that a store can do, one line a method",
    "core/src/brokersync/events.py": "all events, read as one page; each class is a sentence and its fields",
    "core/src/brokersync/manifest.py": "all that provider.toml may say, read as one page; each class is short",
    "core/src/brokersync/types.py": "the values of the contract, read as one page; each class is short",
    "core/src/brokersync/records.py": "the values that core keeps, read as one page; each class is short",
}


def test_no_file_is_larger_than_it_may_be(sources: list[Path], repository: Path) -> None:
    sizes = {str(path.relative_to(repository)): len(path.read_text(encoding="utf-8").splitlines()) for path in sources}
    assert {name: size for name, size in sizes.items() if size > FORBIDDEN} == {}
    assert {name: size for name, size in sizes.items() if size > NEEDS_A_REASON and name not in REASONS} == {}
    assert {name for name in REASONS if sizes.get(name, 0) <= NEEDS_A_REASON} == set(), "a reason nobody needs"
