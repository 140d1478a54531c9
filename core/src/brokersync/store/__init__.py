"""Where everything is kept: the `Store` protocol, SQLite as the default, and Postgres."""

from brokersync.store.cache import StoreCache
from brokersync.store.explaining import BookingSearch, StoredBooking
from brokersync.store.exporting import EXPORTED
from brokersync.store.jobs import JobTable
from brokersync.store.known import Known
from brokersync.store.postgres import PostgresStore
from brokersync.store.protocol import PageRules, Store, TradeFilter
from brokersync.store.renormalising import KeptRow, QuarantinedRaw, Renewed, RenewedPage, TradeDifference
from brokersync.store.sealed import KeyReplacedError, SealedGrant
from brokersync.store.sql_store import SqlStore
from brokersync.store.sqlite import SqliteStore

__all__ = [
    "EXPORTED",
    "BookingSearch",
    "JobTable",
    "KeptRow",
    "KeyReplacedError",
    "Known",
    "PageRules",
    "PostgresStore",
    "QuarantinedRaw",
    "Renewed",
    "RenewedPage",
    "SealedGrant",
    "SqlStore",
    "SqliteStore",
    "Store",
    "StoreCache",
    "StoredBooking",
    "TradeDifference",
    "TradeFilter",
]
