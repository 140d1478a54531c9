"""Which rows of a journal that is older than the store are trades of the store: said with the reason, never guessed."""

from brokersync.matching.matcher import match_rows
from brokersync.matching.values import (
    Doubt,
    ExistingTrade,
    Match,
    MatchRule,
    NamedTrade,
    TradeKey,
    Verdict,
)

__all__ = [
    "Doubt",
    "ExistingTrade",
    "Match",
    "MatchRule",
    "NamedTrade",
    "TradeKey",
    "Verdict",
    "match_rows",
]
