"""Where a store is: a file, or the URL of a Postgres."""

from __future__ import annotations

from pathlib import Path

from brokersync.errors import BrokerConfigError
from brokersync.folders import data_folder
from brokersync.store.postgres import PostgresStore
from brokersync.store.postgres_url import is_url
from brokersync.store.protocol import Store
from brokersync.store.sqlite import SqliteStore


def store_at(place: str | Path | Store, *, make: bool = True) -> tuple[Store, Path]:
    """The store at a path or a `postgresql://` URL, or the one that is given; and where its key file belongs.

    Without `make` it is an error to open a place that holds none.
    """
    if is_url(place):
        place = PostgresStore(str(place), make=make)
    if not isinstance(place, str | Path) and not hasattr(place, "commit_page"):
        raise BrokerConfigError(
            f"The store's place is of the type {type(place).__name__}.",
            remedy="Name a file or a postgresql:// URL, or give a Store.",
        )
    if not isinstance(place, str | Path):
        # there is no folder beside it; other machines that use it need the same key
        return place, _key_file_of_many()
    path = Path(place)
    if not path.name:
        raise BrokerConfigError(f"{str(place)!r} is no file for a store.", remedy="Name a file or a postgresql:// URL.")
    return SqliteStore(path, make=make), path.with_name(path.name + ".key")


def notices_file(store: Store) -> Path | None:
    """Where the notices of plugins are kept for a store: beside its file, else in the user's folder.

    `None` for a store of somebody else's making.
    """
    if isinstance(store, SqliteStore):
        return store.path.with_name(store.path.name + ".plugins.json")
    return data_folder() / "plugins.json" if isinstance(store, PostgresStore) else None


def is_shared(key_file: Path) -> bool:
    """Whether other stores of the user may have the same key file."""
    return key_file.absolute() == _key_file_of_many().absolute()


def _key_file_of_many() -> Path:
    return data_folder() / "brokersync.key"
