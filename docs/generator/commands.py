"""The page of the command line: what `--help` says, in Markdown."""

from __future__ import annotations

import re
from typing import Final

from docs.generator.text import MADE_BY

from brokersync.cli.app import build

_HEAD: Final = f"""{MADE_BY}
# Command line

Every command as its `--help` tells it. `pip install 'brokersync[cli]'` brings it. Exit codes, formats and variables
stand in the [reference](../reference.md#commands).
"""
_COMMON: Final = re.compile(r"\*\*Common\*\*:\n\n(.*?)(?=\n\n|\Z)", re.DOTALL)
# the module that runs here is no part of a command
_MODULE: Final = re.compile(r"^(brokersync [\w -]+?) -m \S+", re.MULTILINE)
_NO_DEFAULT: Final = re.compile(r" ?\*\[default: (?:\(\)|False)\]\*")


def page() -> str:
    text = _MODULE.sub(r"\1", build().generate_docs(output_format="markdown"))
    _, *commands = re.split(r"^## (?=brokersync )", text, flags=re.MULTILINE)
    common = _COMMON.search(text)
    assert common, "no command shows the options that all have"
    parts = [_HEAD, f"All commands take these, which are not repeated below:\n\n{common[1].strip()}\n"]
    parts += [f"## {_COMMON.sub('', command).strip()}\n" for command in commands]
    return _NO_DEFAULT.sub("", "\n".join(parts))
