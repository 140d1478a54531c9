"""Each engine: the embedded one over each database, and docket, which goes over the same tables, over one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from .benches import DocketBench, EmbeddedBench


@pytest.fixture(params=["embedded-sqlite", "embedded-postgres", "docket", "docket-cluster"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path, stores_in: Any) -> AsyncIterator[EmbeddedBench]:
    stores = stores_in(tmp_path, request.getfixturevalue("schemas") if "postgres" in request.param else None)
    if "docket" in request.param:
        url = request.getfixturevalue("cluster_url" if "cluster" in request.param else "redis_url")
        made: EmbeddedBench = DocketBench(stores, url=url)
    else:
        made = EmbeddedBench(stores)
    yield made
    await made.close()
    await stores.close()
