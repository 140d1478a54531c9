"""What several tests of core share: plugins written to disk as an installer would leave them."""

from __future__ import annotations

import hashlib
import importlib
import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

MANIFEST = """
key = "{key}"
display_name = "A made-up broker"
contract = 1
environments = ["live", "demo"]
auth = ["password"]
licence = "Apache-2.0"
docs = "https://broker.example/docs"
support = "https://broker.example/help"

[[user_fields]]
name = "username"
label = "User name"
help = "As on the broker's site."

[[user_fields]]
name = "password"
label = "Password"
help = "Sealed at rest."
secret = true

[[sources]]
name = "history"
precedence = 1
"""

CODE = """
import attrs
from brokersync.plugin import BrokerCredentials, ProviderSpec, Secret, hookimpl

@attrs.frozen(kw_only=True)
class Credentials(BrokerCredentials):
    username: str
    password: Secret

@hookimpl
def brokersync_provider(broker: str) -> ProviderSpec | None:
    return ProviderSpec(credentials=Credentials, create=lambda context: None)
"""


class Site:
    """A folder on the import path that looks like installed distributions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.packages: set[str] = set()

    def metadata(self, distribution: str, files: dict[str, str | bytes], *, version: str = "1.0") -> Path:
        """The metadata folder of a distribution with these files."""
        folder = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return folder

    def package(self, name: str, *, code: str = CODE, manifest: str | None = None) -> Path:
        """An importable package with this code and manifest."""
        self.packages.add(name)
        folder = self.folder / name
        folder.mkdir()
        (folder / "__init__.py").write_text(code, encoding="utf-8")
        if manifest is not None:
            (folder / "provider.toml").write_text(manifest, encoding="utf-8")
        return folder

    def plugin(
        self,
        key: str,
        *,
        distribution: str | None = None,
        package: str | None = None,
        code: str = CODE,
        manifest: str = MANIFEST,
    ) -> str:
        """A whole plugin distribution for `key`; the name of its package."""
        distribution = distribution or f"brokersync-{key}"
        package = package or distribution.replace("-", "_")
        self.metadata(
            distribution,
            {
                "METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n\nA description.\n",
                "entry_points.txt": f"[brokersync.providers]\n{key} = {package}\n",
            },
        )
        self.package(package, code=code, manifest=manifest.format(key=key))
        importlib.invalidate_caches()
        return package

    def record(self, distribution: str, *packages: str, root: tuple[str, ...] = (), version: str = "1.0") -> Path:
        """The RECORD that an installer writes: every file of the packages, and those in the root; its path."""
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        files = [path for name in (*packages, info.name) for path in (self.folder / name).rglob("*") if path.is_file()]
        files += [self.folder / name for name in root]
        rows = []
        for path in sorted(files):
            digest = urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
            if "__pycache__" not in path.parts and path.name != "RECORD":
                name = path.relative_to(self.folder).as_posix()
                rows.append(f"{name},sha256={digest},{path.stat().st_size}\n")
        (info / "RECORD").write_text("".join(rows) + f"{info.name}/RECORD,,\n")
        return info / "RECORD"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An empty folder at the head of the import path; what is imported from it is forgotten afterwards."""
    made = Site(tmp_path / "site")
    made.folder.mkdir()
    monkeypatch.syspath_prepend(made.folder)
    yield made
    for name in [name for name in sys.modules if name.partition(".")[0] in made.packages]:
        del sys.modules[name]
