"""The scripts that Redis runs for us, and running them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, final

from redis.exceptions import NoScriptError

Word = str | int


@final
class Script:
    """A script of this package by its name; Redis gets its text when it does not know it."""

    def __init__(self, name: str) -> None:
        self._text = files(__package__).joinpath(f"{name}.lua").read_text(encoding="utf-8")
        self._digest = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, redis: Any, keys: Sequence[str | bytes], words: Sequence[Word]) -> Any:
        """What it answers. Raises the errors of redis."""
        try:
            return await redis.evalsha(self._digest, len(keys), *keys, *words)
        except NoScriptError:
            return await redis.eval(self._text, len(keys), *keys, *words)
