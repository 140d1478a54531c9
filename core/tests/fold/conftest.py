from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .runs import Runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, stores_in: Any, database: Any) -> Iterator[Runs]:
    made = Runs(stores_in(tmp_path_factory.mktemp("fold"), database))
    yield made
    made.close()
