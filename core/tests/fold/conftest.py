from __future__ import annotations

from collections.abc import Iterator

import pytest

from .runs import Runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    made = Runs(tmp_path_factory.mktemp("fold"))
    yield made
    made.close()
