"""Where everything is kept: the `Store` protocol, and SQLite as the default."""

from brokersync.store.cache import StoreCache
from brokersync.store.protocol import KeyReplacedError, PageRules, SealedGrant, Store, TradeFilter
from brokersync.store.sql_store import SqlStore
from brokersync.store.sqlite import SqliteStore

__all__ = [
    "KeyReplacedError",
    "PageRules",
    "SealedGrant",
    "SqlStore",
    "SqliteStore",
    "Store",
    "StoreCache",
    "TradeFilter",
]
