"""Copies of the toy plugin, each installed under a key of its own, and the suite run over them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.etree import ElementTree

import attrs

TOY = Path(__file__).parent / "plugin" / "toybroker"
_DEFECTS = Path(__file__).parent / "defects.toml"
# what the mistakes use beside what the toy imports
_ALSO = {
    "client.py": """
import logging
from datetime import UTC, datetime
import aiohttp
from brokersync.plugin import BrokerRateLimitError, BrokerRetryableError, BrokerUnavailableError
""",
    "provider.py": """
import asyncio, socket
from datetime import timedelta
import attrs
from brokersync.plugin import BrokerAPIError, BrokerAuthError, TimeWindow
_ALL = []
async def _linger():
    await asyncio.sleep(60)
""",
    "normalise.py": """
from itertools import count
_COUNT = count()
""",
    "__init__.py": "import os, threading, time",
}
_HEAD = """
from brokersync.plugin import StatementHints
from brokersync.testing import ProviderContract

FILL = b'{"id": %d, "order": 1, "kind": "fill", "of": null, "symbol": "ACME", "side": "BUY", "quantity": "1.5",' \
    b' "price": "10.1", "fee": "0.3", "cash": null, "at": "2026-03-02T14:30:00+00:00", "note": ""}'
STATEMENT = b'{"account": 1001, "contracts": [{"symbol": "ACME", "kind": "STK", "multiplier": 1, "currency": "USD"}],' \
    b' "fills": [' + FILL % 7001 + b", " + FILL % 7002 + b"]}"


class ToyContract(ProviderContract):
    def statements(self):
        yield STATEMENT, StatementHints()


"""
_WALL = "%d.%m.%Y %H:%M:%S"
_FUTURE = "from __future__ import annotations\n"
_METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"


@attrs.frozen
class Defect:
    """A mistake in a copy of the toy: in `file` the text `old` is `new`. `check` is the one that names it.

    `variant` names other edits of the toy, which are none: a broker that writes things in another way.
    """

    name: str
    check: str
    file: str
    old: str = attrs.field(repr=False)
    new: str = attrs.field(repr=False)
    variant: str = ""

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def defects() -> list[Defect]:
    """All that are seeded."""
    return [Defect(**one) for one in tomllib.loads(_DEFECTS.read_text(encoding="utf-8"))["defect"]]


def edits_of(variant: str) -> list[dict[str, str]]:
    """What a variant of the toy has otherwise: `new` in place of `old` in `file`."""
    told = tomllib.loads(_DEFECTS.read_text(encoding="utf-8"))["variant"]
    return [edit for one in variant.split("+") if one for edit in told[one]]


def install(into: Path, number: int, defect: Defect | None = None, variant: str = "") -> str:
    """The key of a copy that is installed in the folder; each file is as in the toy but for variant and defect."""
    variant = defect.variant if defect is not None else variant
    key, package = f"toy-{number}", f"toybroker{number}"
    folder = into / package
    folder.mkdir(parents=True)
    for path in TOY.iterdir():
        if path.suffix not in (".py", ".toml"):
            continue
        text = path.read_text(encoding="utf-8")
        for edit in edits_of(variant):
            if edit["file"] == path.name:
                assert edit["old"] in text, f"{variant}: the toy has no {edit['old']!r}"
                text = text.replace(edit["old"], edit["new"])
        if defect is not None and path.name == defect.file:
            assert text.count(defect.old) >= 1, f"{defect.name}: the toy has no {defect.old!r}"
            text = text.replace(defect.old, defect.new)
            text = text.replace(_FUTURE, _FUTURE + _ALSO.get(path.name, ""), 1)
        text = re.sub(r"\btoybroker\b", package, text)
        text = text.replace('"toy"', f'"{key}"')
        (folder / path.name).write_text(text, encoding="utf-8")
    info = into / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(_METADATA.format(name=package))
    (info / "entry_points.txt").write_text(f"[brokersync.providers]\n{key} = {package}\n")
    return key


def run_suite(
    folder: Path, keys: Mapping[str, str], chosen: Iterable[str] = (), *, skips: bool = False
) -> dict[tuple[str, str], str]:
    """What failed, or was skipped where that is asked, per class and check, with its message.

    `keys` are the brokers by the name of their class.
    """
    classes = [_class(folder, name, key) for name, key in keys.items()]
    test = folder / "test_contract.py"
    test.write_text(_HEAD + "\n\n".join(classes))
    report = folder / "report.xml"
    nodes = [f"{test.name}::{one}" for one in chosen] or [test.name]
    done = run_pytest(folder, f"--junit-xml={report}", *nodes)
    assert done.returncode in (0, 1), done.stdout[-3000:] + done.stderr[-3000:]
    cases = list(ElementTree.parse(report).iter("testcase"))
    assert cases
    return {
        (case.attrib["classname"].rpartition(".")[2], case.attrib["name"]): found.attrib.get("message", "")
        for case in cases
        for found in (*case.findall("failure"), *case.findall("error"), *(case.findall("skipped") if skips else ()))
    }


def _class(folder: Path, name: str, key: str) -> str:
    """The class of a copy, with the form of its wall times where its broker writes such."""
    sandbox = (folder / key.replace("toy-", "toybroker") / "sandbox.py").read_text(encoding="utf-8")
    forms = (f"{_WALL} America/New_York",) if _WALL in sandbox else ()
    return f"class {name}(ToyContract):\n    key = {key!r}\n    wall_times = {forms!r}\n"


def run_pytest(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Pytest as an author runs it, over what is installed in the folder."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
    own |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "BROKERSYNC_CONFIG": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--contract-rows=3000"]
    command += ["-p", "no:xdist", "-c", os.devnull, "--rootdir", str(folder)]
    return subprocess.run(
        [*command, *words], cwd=folder, env=own, capture_output=True, text=True, check=False, timeout=900
    )
