"""240 plugin distributions beside 67 ordinary ones: what listing, reading and loading cost a fresh process."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measuring import Case, Goal, Table, measure

PLUGINS = 240
ORDINARY = 67

_LIGHT = """
import pluggy
hookimpl = pluggy.HookimplMarker("bench")

@hookimpl
def provide():
    return 1
"""
_HEAVY = "import aiohttp\n" + _LIGHT
_OURS = """
import zoneinfo  # every plugin that reads local times has it

import attrs
from brokersync.plugin import BrokerCredentials, ProviderSpec, Secret, hookimpl

@attrs.frozen(kw_only=True)
class Credentials(BrokerCredentials):
    username: str
    password: Secret

@hookimpl
def brokersync_provider(broker):
    return ProviderSpec(credentials=Credentials, create=lambda context: None)
"""
_MANIFEST = """
key = "made-up-{number}"
display_name = "Made Up {number}"
contract = 1
environments = ["live", "demo"]
auth = ["password"]
licence = "Apache-2.0"
docs = "https://broker.example/docs"
support = "https://broker.example/help"

[hosts]
live = "https://live.broker.example"
demo = "https://demo.broker.example"

[[user_fields]]
name = "username"
label = "User name"
help = "As on the broker's site."

[[user_fields]]
name = "password"
label = "Password"
help = "Sealed at rest."
secret = true

[[limits]]
scope = "credential"
amount = 10
period = "1s"
source = "invented"

[[sources]]
name = "session"
precedence = 1
retention = "session"

[[sources]]
name = "history"
precedence = 2
longest_window = "90d"
calendar = {{ zone = "America/Chicago", day_starts = "17:00" }}
"""

_LIST = f"from brokersync.discovery import discover; assert len(discover().offers) >= {PLUGINS}"
_MANIFESTS = (
    "from brokersync.discovery import discover, read_manifest\n"
    "for offer in discover().offers:\n    assert read_manifest(offer).key == offer.key"
)
_REGISTRY = "from brokersync.registry import ProviderRegistry; registry = ProviderRegistry.installed()"
_ADDED = (
    f"{_REGISTRY}\nimport time, made_up_7\n"
    "started = time.perf_counter(); registry.load('made-up-7'); print((time.perf_counter() - started) * 1000)"
)
_DOCTOR = """
import io, os, sys
os.environ["BROKERSYNC_STORE"] = "/nowhere/at-all.db"
sys.stdout = told = io.StringIO()
from brokersync.__main__ import main
assert main(["doctor", "--json"]) == 0, told.getvalue()
assert "as it was installed" not in told.getvalue()
"""
_ENTRY_POINTS = "assert len(entry_points(group='brokersync.providers')) >= " + str(PLUGINS)
_PLUGGY = (
    "import pluggy; manager = pluggy.PluginManager('bench')\n"
    f"assert manager.load_setuptools_entrypoints('brokersync.providers') >= {PLUGINS}"
)
_STEVEDORE = (
    f"from stevedore import ExtensionManager\nassert len(ExtensionManager('brokersync.providers').names()) >= {PLUGINS}"
)
_RAW = f"""
import os, sys
found = 0
for entry in os.scandir(sys.path[1]):
    if entry.name.endswith(".dist-info"):
        try:
            with open(entry.path + "/entry_points.txt", "rb") as file:
                found += b"[brokersync.providers]" in file.read()
        except OSError:
            pass
assert found == {PLUGINS}, found
"""


def run(rounds: int) -> Table:
    """The table."""
    with TemporaryDirectory() as folder:
        light, heavy, ours = (Path(folder) / name for name in ("light", "heavy", "ours"))
        for site, code in ((light, _LIGHT), (heavy, _HEAVY), (ours, _OURS)):
            _fill(site, code)
        cases = _cases(light, heavy, ours)
        medians, errors = measure(cases, rounds)
    return Table(
        name="discovery",
        rounds=rounds,
        cases=cases,
        medians=medians,
        errors=errors,
        goals=[] if errors else _goals(medians),
        reference="entry_points(group=)",
    )


def _cases(light: Path, heavy: Path, ours: Path) -> list[Case]:
    no_stevedore = "" if find_spec("stevedore") else "not installed"

    def case(name: str, kind: str, code: str, site: Path, skip: str = "") -> Case:
        return Case(name=name, kind=kind, arguments=["-c", code], path=[site], skip=skip)

    return [
        case("bare interpreter", "floor", "pass", light),
        case("raw scan of the metadata files", "floor", _RAW, light),
        case("entry_points(group=)", "peer", f"from importlib.metadata import entry_points; {_ENTRY_POINTS}", light),
        case(
            "importlib_metadata.entry_points(group=)",
            "peer",
            f"from importlib_metadata import entry_points; {_ENTRY_POINTS}",
            light,
        ),
        case("stevedore, all loaded", "peer", _STEVEDORE, light, no_stevedore),
        case("pluggy, all loaded", "peer", _PLUGGY, light),
        case("pluggy, all loaded, plugins import aiohttp", "peer", _PLUGGY, heavy),
        case("list all keys", "ours", _LIST, heavy),
        case("list all keys through the registry", "ours", f"{_REGISTRY}; assert registry.keys()", heavy),
        case("read all manifests", "ours", _MANIFESTS, heavy),
        case("list, then load one plugin", "ours", f"{_REGISTRY}; registry.load('made-up-7')", ours),
        case("doctor, the files of all plugins compared", "ours", _DOCTOR, ours),
        Case(name="what loading adds to the import", kind="ours", arguments=["-c", _ADDED], path=[ours], prints=True),
    ]


def _goals(medians: dict[str, float]) -> list[Goal]:
    bare = medians["bare interpreter"]
    above = {name: value - bare for name, value in medians.items()}
    entry_points, listing = above["entry_points(group=)"], above["list all keys"]
    eager = above["pluggy, all loaded, plugins import aiohttp"]
    return [
        Goal(name="list all keys against entry_points(group=)", value=listing / entry_points, at_most=1.15),
        Goal(name="pluggy with aiohttp plugins against list all keys", value=eager / listing, at_least=5),
        Goal(
            name="read all manifests against entry_points(group=)",
            value=above["read all manifests"] / entry_points,
            at_most=4.5,
        ),
        Goal(
            name="what loading one of 240 adds to its own import",
            value=medians["what loading adds to the import"],
            at_most=10,
            unit="ms",
        ),
        Goal(
            name="doctor, 240 plugins installed",
            value=above["doctor, the files of all plugins compared"],
            at_most=3000,
            unit="ms",
        ),
    ]


def _fill(site: Path, code: str) -> None:
    """Distributions as an installer leaves them."""
    for number in range(ORDINARY):
        info = _metadata(site, f"ordinary-{number}", paragraphs=80)
        if number % 3 == 0:
            (info / "entry_points.txt").write_text(f"[console_scripts]\nordinary{number} = ordinary:main\n")
    for number in range(PLUGINS):
        info = _metadata(site, f"made-up-{number}", paragraphs=20)
        (info / "entry_points.txt").write_text(f"[brokersync.providers]\nmade-up-{number} = made_up_{number}\n")
        package = site / f"made_up_{number}"
        package.mkdir()
        (package / "__init__.py").write_text(code)
        (package / "provider.toml").write_text(_MANIFEST.format(number=number))
        _record(info, package)


def _record(info: Path, package: Path) -> None:
    rows = []
    for path in sorted([*info.iterdir(), *package.iterdir()]):
        if path.name != "RECORD":
            digest = urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
            name = path.relative_to(info.parent).as_posix()
            rows.append(f"{name},sha256={digest},{path.stat().st_size}\n")
    (info / "RECORD").write_text("".join(rows) + f"{info.name}/RECORD,,\n")


def _metadata(site: Path, name: str, *, paragraphs: int) -> Path:
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    text = "\n\n".join(["A paragraph as package descriptions have them, of some length."] * paragraphs)
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\nSummary: Made up.\n\n{text}\n")
    (info / "RECORD").write_text("")
    (info / "INSTALLER").write_text("pip\n")
    return info
