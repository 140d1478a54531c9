"""What a user says at a simulated broker's own page, and brokers of which some checks have nothing to ask."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from brokersync.errors import BrokerConfigError
from brokersync.testing import answer_page

from .variants import TOY, Defect, install, run_suite


@pytest.fixture
async def page() -> AsyncIterator[str]:
    """Sends back who says yes, and shows the form again to everybody else."""

    async def decide(request: web.Request) -> web.Response:
        if (await request.post()).get("answer") != "yes":
            return web.Response(text="the form again")
        return web.Response(status=302, headers={"Location": "https://journal.example/back?code=a%20b&state="})

    application = web.Application()
    application.router.add_post("/", decide)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


async def test_the_answer_of_a_page_is_the_query_it_sends_its_user_back_with(page: str) -> None:
    assert await answer_page(page, {"answer": "yes"}) == {"code": "a b", "state": ""}


async def test_a_page_that_sends_nobody_back_is_named_with_what_to_look_at(page: str) -> None:
    with pytest.raises(BrokerConfigError, match="HTTP 200, and sends nobody back"):
        await answer_page(page, {"answer": "perhaps"})


def test_a_plugin_that_tells_accounts_and_reads_files_passes(tmp_path: Path) -> None:
    """What needs a source that is read over the network is left out."""
    manifest = (TOY / "provider.toml").read_text()
    first, second = (f"[[sources]]{part}" for part in manifest.partition("[[sources]]")[2].split("[[sources]]"))
    network, files = (first, second) if "files = true" in second else (second, first)
    assert "files = true" in files
    no_history = Defect("no history", "", "provider.toml", network, "")

    key = install(tmp_path, 1, no_history)

    assert run_suite(tmp_path, {"TestFiles": key}) == {}
