"""The user's folder for what brokersync keeps."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder() -> Path:
    """The user's folder for what brokersync keeps."""
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", "~")).expanduser() / "brokersync"
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "brokersync"
