"""What was told of plugins, and what is still to be delivered; kept in a file, so that a crash loses no notice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from brokersync.governance.state_file import Facts, InMemory, StateFile


@attrs.frozen(kw_only=True)
class Notice:
    """One message. The same fact has the same `notice_id` in every process, so that a receiver can tell it again."""

    notice_id: str
    kind: str
    at: str
    data: Mapping[str, Any]

    def body(self) -> bytes:
        """What is sent, and signed."""
        told = {"type": self.kind, "timestamp": self.at, "data": self.data}
        return json.dumps(told, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def make_notice(kind: str, data: Mapping[str, Any], now: datetime, *, which: str = "") -> Notice:
    """A notice of a fact; `which` tells apart what may happen again."""
    fact = json.dumps([kind, data, which], sort_keys=True, default=list)
    name = hashlib.sha256(fact.encode()).hexdigest()[:32]
    return Notice(notice_id=f"msg_{name}", kind=kind, at=now.isoformat(timespec="seconds"), data=data)


class Notices:
    """The plugins that were seen, the notices that wait, and the targets that were tested."""

    def __init__(self, file: StateFile | InMemory) -> None:
        self._file = file

    def seen(self, name: str) -> Mapping[str, Any]:
        """What was last seen of a plugin; nothing where it never was."""
        found: Mapping[str, Any] = self._file.facts().get("seen", {}).get(name, {})
        return found

    def note(self, seen: Mapping[str, Mapping[str, Any]], notices: Sequence[Notice]) -> None:
        """Both in one step: what was seen is not told twice, and is told for sure."""

        def change(facts: Facts) -> None:
            facts.setdefault("seen", {}).update(seen)
            waiting = facts.setdefault("waiting", [])
            known = {one["notice_id"] for one in waiting}
            waiting += [attrs.asdict(one) for one in notices if one.notice_id not in known]

        self._file.change(change)

    def add(self, notice: Notice) -> None:
        """Have a notice delivered, once for each fact."""
        told = self._file.facts().get("told", {})
        if notice.notice_id in told:
            return
        self.note({}, [notice])

    def waiting(self) -> tuple[Notice, ...]:
        """The oldest first."""
        return tuple(Notice(**one) for one in self._file.facts().get("waiting", ()))

    def delivered(self, notice: Notice, now: datetime) -> None:
        """It has arrived."""

        def change(facts: Facts) -> None:
            facts["waiting"] = [one for one in facts.get("waiting", ()) if one["notice_id"] != notice.notice_id]
            told = {**facts.get("told", {}), notice.notice_id: now.isoformat(timespec="seconds")}
            facts["told"] = dict(sorted(told.items(), key=lambda one: str(one[1]))[-1000:])

        self._file.change(change)

    def was_tested(self, url: str) -> bool:
        """Whether a notice has arrived at this address."""
        return _name_of(url) in self._file.facts().get("tested", {})

    def tested(self, url: str, now: datetime) -> None:
        """A notice has arrived at this address."""

        def change(facts: Facts) -> None:
            facts["tested"] = {_name_of(url): now.isoformat(timespec="seconds")}

        self._file.change(change)


def _name_of(url: str) -> str:
    """Its path may be a secret."""
    return hashlib.sha256(url.encode()).hexdigest()[:32]
