"""The contract suite run over an installed plugin in processes of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import attrs

from brokersync.discovery import Offer
from brokersync.errors import BrokerConfigError, BrokerPluginError
from brokersync.manifest import Manifest
from brokersync.testing.verifying.levels import Judged, Outcome, judged, reached
from brokersync.verified import Verified, plugin_files_hash
from brokersync.version import VERSION

_NEEDED: Final = ("pytest", "pytest_asyncio")
_TEST: Final = "from brokersync.testing.verifying.suite import suite_of\n\nTestContract = suite_of({key!r})\n"
_PROCESSES: Final = 2
_LONGEST: Final = timedelta(minutes=10)
_TAIL: Final = 1500


@attrs.frozen(kw_only=True)
class Report:
    """What a run found, and what each level amounts to."""

    verified: Verified
    levels: tuple[Judged, ...]
    took: timedelta


def check_tools() -> None:
    """Raises `BrokerConfigError` that says what to install where the suite can not be run."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise BrokerConfigError(
            f"The contract suite needs {' and '.join(name.replace('_', '-') for name in missing)}.",
            remedy="Install it with `pip install 'brokersync[testing]'`.",
        )


async def verify(offer: Offer, manifest: Manifest, now: datetime, *, rows: int | None = None) -> Report:
    """Run the whole suite over an installed plugin.

    Raises `BrokerPluginError` where the suite can not be run at all, or where the plugin changes meanwhile.
    """
    check_tools()
    files = plugin_files_hash(offer.distribution, offer.package)
    loop = asyncio.get_running_loop()
    began = loop.time()
    outcomes = await _outcomes(offer, rows)
    if files != plugin_files_hash(offer.distribution, offer.package):
        raise _not_run(offer, "its files have changed meanwhile")
    levels = judged(outcomes, manifest)
    found = Verified(
        key=offer.key,
        distribution=offer.distribution,
        version=offer.version,
        level=reached(levels),
        files=files,
        at=now,
        by=VERSION,
        exempt=tuple(f"{one}" for level in levels for one in level.exempt),
    )
    return Report(verified=found, levels=levels, took=timedelta(seconds=loop.time() - began))


async def _outcomes(offer: Offer, rows: int | None) -> list[Outcome]:
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        place = Path(folder)
        (place / "test_contract.py").write_text(_TEST.format(key=offer.key), encoding="utf-8")
        (place / "taken").mkdir()
        told = await asyncio.gather(*(_run(offer, place, number, rows) for number in range(_PROCESSES)))
        return [one for some in told for one in some]


async def _run(offer: Offer, place: Path, number: int, rows: int | None) -> list[Outcome]:
    into = place / f"outcomes-{number}.jsonl"
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--tb=short",
        "-p",
        "no:cacheprovider",
        "-p",
        "pytest_asyncio.plugin",
    ]
    words += ["-p", "brokersync.testing.pytest_plugin", "-p", "brokersync.testing.verifying.collecting"]
    words += ["-c", os.devnull, "--rootdir", str(place), *([f"--contract-rows={rows}"] if rows else [])]
    process = await asyncio.create_subprocess_exec(
        *words,
        "test_contract.py",
        cwd=place,
        env=_environment(into, place / "taken"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_LONGEST.total_seconds()):
            said, _ = await process.communicate()
    except TimeoutError:
        raise _not_run(offer, f"it is not done after {_LONGEST.total_seconds() / 60:.0f} minutes") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode not in (0, 1):
        raise _not_run(offer, f"pytest says: {said.decode(errors='replace').strip()[-_TAIL:]}")
    return _read(into)


def _environment(into: Path, taken: Path) -> dict[str, str]:
    """Of pytest's own variables none: what an author set for other tests is of no matter here."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    return own | {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "BROKERSYNC_VERIFY_OUTCOMES": str(into),
        "BROKERSYNC_VERIFY_TAKEN": str(taken),
    }


def _read(path: Path) -> list[Outcome]:
    lines: Sequence[str] = path.read_text(encoding="utf-8").splitlines() if path.exists() else ()
    found: dict[str, Outcome] = {}
    for line in lines:
        one = Outcome(**json.loads(line))
        # a check that passed may fail as it is taken down
        if one.check not in found or one.outcome == "failed":
            found[one.check] = one
    return list(found.values())


def _not_run(offer: Offer, why: str) -> BrokerPluginError:
    return BrokerPluginError(
        f"The contract suite could not be run over {offer}: {why}.",
        remedy="Report it to the plugin's authors.",
        provider=offer.key,
    )
