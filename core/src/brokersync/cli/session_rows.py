"""The sessions of logins as `brokersync limits` shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from brokersync.cli.common import say

if TYPE_CHECKING:
    from brokersync.manifest import Manifest
    from brokersync.session_places import SessionPlaces

_MOST_ROWS = 10


def session_facts(manifest: Manifest, places: Mapping[str, tuple[SessionPlaces, ...]] | None) -> dict[str, Any]:
    """What the JSON document tells; nothing of a broker that counts no sessions."""
    from brokersync.converter import to_json

    if manifest.sessions is None:
        return {}
    logins = None if places is None else to_json(places[manifest.key])
    return {"sessions": {"limit": to_json(manifest.sessions), "logins": logins}}


def show_sessions(manifest: Manifest, places: Mapping[str, tuple[SessionPlaces, ...]] | None) -> None:
    """How many a login may have, and of those in use the ten logins for which most wait."""
    from brokersync.cli.tables import duration_text, show_table

    if (limit := manifest.sessions) is None:
        return
    say(f"A login has {limit.most} sessions at most, of {duration_text(limit.lasts)} each: {limit.source}")
    found = () if places is None else places[manifest.key]
    if not found:
        say("None is known to be in use." if places is not None else "How many are in use is kept in the store.")
        return
    show_table(
        ("login", "sessions in use", "wait for one", "first free (UTC)"),
        [
            (one.login, f"{one.taken} of {one.most}", str(one.waiting), f"{one.free_at:%H:%M}" if one.free_at else "")
            for one in found[:_MOST_ROWS]
        ],
        right=("sessions in use", "wait for one"),
    )
    if left := found[_MOST_ROWS:]:
        say(f"{len(left)} more logins have {sum(one.taken for one in left)} sessions in use.")
