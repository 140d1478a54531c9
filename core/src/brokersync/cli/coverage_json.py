"""Coverage as a JSON document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokersync.cli.bars import UNREAD, state_name
from brokersync.converter import to_json

if TYPE_CHECKING:
    from brokersync.cli.coverage import AccountHistory
    from brokersync.sync.history import SourceHistory


def document(one: AccountHistory) -> dict[str, Any]:
    """An account with the best that is known of each stretch, what nobody has read, and every span of every source."""
    return {
        "provider": one.manifest.key,
        "environment": one.environment,
        "account_id": one.account_id,
        "trades": one.trades,
        "history": [
            {
                "state": state_name(stretch),
                "window": to_json(stretch.window),
                "sources": list(stretch.sources),
                "due": stretch.due,
                "due_from": to_json(stretch.due_from),
            }
            for stretch in one.stretches()
        ],
        "spans": [span for source in one.sources for span in _spans(one, source)],
    }


def _spans(one: AccountHistory, source: SourceHistory) -> list[dict[str, Any]]:
    days_of = one.manifest.source(source.source).selects_by.value
    said = [
        *((span.window, span.state.value) for span in source.spans),
        *((window, UNREAD) for window in source.unread),
    ]
    return [
        {"source": source.source, "state": state, "window": to_json(window), "days_of": days_of}
        for window, state in sorted(said)
    ]
