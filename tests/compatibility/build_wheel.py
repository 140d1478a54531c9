"""Builds the wheel that is kept of a plugin for version 1 of the contract, byte for byte the same each time.

    python tests/compatibility/build_wheel.py

The wheel is checked in and stays as it is; it is built anew by hand only, before the version that it stands for is
published.
"""

from __future__ import annotations

import hashlib
import zipfile
from base64 import urlsafe_b64encode
from io import BytesIO
from pathlib import Path

HOME = Path(__file__).parent / "contract_1"
WHEEL = HOME / "brokersync_kept-1.0-py3-none-any.whl"

_INFO = "brokersync_kept-1.0.dist-info"
_METADATA = {
    f"{_INFO}/METADATA": "Metadata-Version: 2.1\nName: brokersync-kept\nVersion: 1.0\nRequires-Dist: brokersync\n",
    f"{_INFO}/WHEEL": "Wheel-Version: 1.0\nGenerator: build_wheel.py\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    f"{_INFO}/entry_points.txt": "[brokersync.providers]\nkept = brokersync_kept\n",
}


def wheel() -> bytes:
    """The wheel: stored and not packed, since packing differs between versions of zlib."""
    files = {name: text.encode() for name, text in _METADATA.items()}
    for path in (HOME / "brokersync_kept").iterdir():
        if path.suffix in (".py", ".toml", ".json"):
            files[f"brokersync_kept/{path.name}"] = path.read_bytes().replace(b"\r\n", b"\n")
    rows = [f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in sorted(files.items())]
    files[f"{_INFO}/RECORD"] = ("".join(rows) + f"{_INFO}/RECORD,,\n").encode()
    made = BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as pack:
        for name, data in sorted(files.items()):
            facts = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            facts.create_system, facts.external_attr = 3, 0o644 << 16
            pack.writestr(facts, data)
    return made.getvalue()


def _digest(data: bytes) -> str:
    return urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


if __name__ == "__main__":
    WHEEL.write_bytes(wheel())
