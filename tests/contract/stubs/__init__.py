"""A stub provider for each kind of broker, and what the laws have to know of the kinds."""

from __future__ import annotations

from types import ModuleType
from typing import Final

import attrs

from brokersync.manifest import Manifest, parse_manifests

from . import (
    aggregator,
    binary,
    date_windows,
    files,
    growing_ids,
    page_tokens,
    reports,
    session_lists,
    symbol_days,
)


@attrs.frozen
class Kind:
    """`history`: past days can be read. `named`: rows have ids, so corrections can name what they correct.

    `first_sees`: pages tell of accounts that are new.
    """

    module: ModuleType
    history: bool = True
    named: bool = True
    first_sees: bool = False

    @property
    def manifest(self) -> Manifest:
        (manifest,) = parse_manifests(self.module.MANIFEST, self.module.__name__)
        return manifest

    def __str__(self) -> str:
        return self.manifest.key


KINDS: Final = (
    Kind(date_windows),
    Kind(session_lists, history=False, first_sees=True),
    Kind(page_tokens),
    Kind(growing_ids, first_sees=True),
    Kind(symbol_days, named=False),
    Kind(reports, first_sees=True),
    Kind(aggregator, first_sees=True),
    Kind(binary),
)
FILES: Final = Kind(files, named=False)
