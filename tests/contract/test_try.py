import pytest
from .stubs import KINDS
from .world import open_world
from .ledger import truth


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_all(kind, tmp_path):
    async with open_world(kind, tmp_path) as w:
        done = await w.catch_up()
        print(done.report.problems, done.report.pages, len(w.server.calls))
        assert await w.facts() == truth(w.server.ledger)
