"""A wheel that was built for version 1 of the contract works with the core of today, and one of tomorrow is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.compatibility.build_wheel import WHEEL
from tests.install.hostile import GOOD_CODE, MANIFEST, wheel_of

WORK = '''
import asyncio, io
from collections import Counter
from datetime import UTC, datetime
from brokersync import BrokerSync, Done
from brokersync.loading import findings_of
from brokersync.sandboxes import SandboxSettings
from brokersync.testing import run_sandbox

FILL = b"""{"id": 1, "order": 1, "kind": "fill", "of": null, "symbol": "ACME", "side": "BUY", "quantity": "1.5",
 "price": "10.1", "fee": "0.3", "cash": null, "at": "2026-03-02T14:30:00+00:00", "note": ""}"""
FILE = b"""{"account": 1, "contracts": [{"symbol": "ACME", "kind": "STK", "multiplier": 1, "currency": "USD"}],
 "fills": [""" + FILL + b"]}"

async def main():
    sandbox = SandboxSettings(now=lambda: datetime.now(UTC), days=60, keeps_limits=False)
    async with run_sandbox("kept", settings=sandbox) as broker:
        login = broker.logins[0]
        async with BrokerSync.open("kept.db", settings=broker.settings()) as bs:
            one = await bs.connect("kept", owner="me", fields=login.fields)
            done = await bs.run(one.connection_id)
            counted = Counter([trade.account_id async for trade in bs.trades("me")])
            again = await bs.run(one.connection_id)
            said = await bs.diagnose(one.connection_id)
            report = await bs.import_statement("kept", io.BytesIO(FILE), owner="other")
            renewed = await bs.renormalise("me", dry_run=True)
            (found,) = findings_of(bs.registry.load("kept"), {})
            return [isinstance(done, Done), counted == Counter(login.trades), again.report.added, said, report.added,
                    renewed.renewed, found.message]
answer = asyncio.run(main())
'''

REFUSED = """
from brokersync import BrokerError, ProviderRegistry
registry = ProviderRegistry.installed()
def told(key):
    try:
        return registry.load(key).distribution
    except BrokerError as error:
        return [type(error).__name__, str(error)]
answer = [told("future"), told("good")]
"""


def test_the_wheel_of_version_1_connects_syncs_imports_and_checks(
    core_alone: Any, installer: Any, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    installer.install(core_alone.python, "--no-deps", "--target", site, WHEEL)
    connected, complete, added_again, said, imported, changed, found = core_alone.answer(WORK, site)
    assert connected
    assert complete
    assert added_again == 0
    assert said == ["user:user-1 at kept, live"]
    assert imported == 1
    assert changed == 0
    assert found == "kept was kept."


def test_a_plugin_for_a_future_contract_is_refused_before_its_code_runs(
    core_alone: Any, installer: Any, tmp_path: Path
) -> None:
    marker = tmp_path / "it-ran"
    text = MANIFEST.format(key="future", contract=2) + '[novelty]\nunknown = "to us"\n'
    code = f"open({str(marker)!r}, 'w').close()\n{GOOD_CODE}"
    site = tmp_path / "site"
    for wheel in (
        wheel_of(tmp_path, "future-plugin", "future", manifest=text, code=code),
        wheel_of(tmp_path, "good-plugin", "good"),
    ):
        installer.install(core_alone.python, "--no-deps", "--target", site, wheel)
    (kind, told), good = core_alone.answer(REFUSED, site)
    assert kind == "BrokerPluginError"
    assert re.search(r"contract 2, which is newer than this brokersync's 1.*pip install --upgrade brokersync", told)
    assert good == "good-plugin"
    assert not marker.exists()
