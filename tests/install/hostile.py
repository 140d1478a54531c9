"""Wheels that were made to do harm, and a good one beside them."""

from __future__ import annotations

import hashlib
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path

from brokersync.plugin import CONTRACT_VERSION

GOOD_CODE = """
from brokersync.plugin import ProviderSpec, hookimpl
@hookimpl
def brokersync_provider(broker):
    return ProviderSpec(statements=lambda key: None)
"""

MANIFEST = """
key = "{key}"
display_name = "Made Up"
contract = {contract}
environments = ["live"]
auth = ["none"]
licence = "MIT"
docs = "https://made-up.example"
support = "https://made-up.example"
[hosts]
live = "https://api.made-up.example"
[[sources]]
name = "files"
precedence = 1
files = true
"""


def wheel_of(
    folder: Path,
    distribution: str,
    key: str,
    *,
    code: str = GOOD_CODE,
    package: str | None = None,
    manifest: str | None = None,
    more: Mapping[str, bytes] | None = None,
) -> Path:
    """A wheel with this code and manifest, whose entry point names `package`; good ones where nothing is said."""
    own = distribution.replace("-", "_")
    info = f"{own}-1.0.dist-info"
    manifest = MANIFEST.format(key=key, contract=CONTRACT_VERSION) if manifest is None else manifest
    files = {
        f"{own}/__init__.py": code.encode(),
        f"{own}/provider.toml": (
            MANIFEST.format(key=key, contract=CONTRACT_VERSION) if manifest is None else manifest
        ).encode(),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: made-by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[brokersync.providers]\n{key} = {package or own}\n".encode(),
        **(more or {}),
    }
    rows = [f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in files.items()]
    path = folder / f"{own}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, data in files.items():
            pack.writestr(name, data)
        pack.writestr(f"{info}/RECORD", "".join(rows) + f"{info}/RECORD,,\n")
    return path


def _digest(data: bytes) -> str:
    return urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
