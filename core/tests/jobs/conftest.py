"""Each engine, the embedded one once over each database."""

from __future__ import annotations

from typing import Any

import pytest

from .benches import Bench, EmbeddedBench


@pytest.fixture
def bench(stores: Any) -> Bench:
    return EmbeddedBench(stores)
