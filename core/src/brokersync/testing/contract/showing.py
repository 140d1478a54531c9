"""What is shown of a plugin: errors, logs, output; and whether it may be."""

from __future__ import annotations

import re
from collections.abc import Iterable
from traceback import format_exception
from typing import Final

from brokersync.errors import BrokerError
from brokersync.redaction import shows
from brokersync.testing.contract.expecting import expect

_INTERNAL: Final = re.compile(r"https?://|Traceback|object at 0x|<class |NoneType")


def expect_for_the_user(error: BaseException, where: str) -> None:
    """Raises `BrokenContract` for a message that says nothing to a user, or too much."""
    if not isinstance(error, BrokerError):
        return
    expect(len(error.message.split()) > 2, f"{where}: the message {error.message!r} says nothing to a user")
    found = _INTERNAL.search(error.message)
    expect(
        not found, f"{where}: the message shows {found[0] if found else ''!r}, which is not for a user: {error.message}"
    )


def all_of(error: BaseException) -> str:
    """Everything an error shows anywhere."""
    described = repr(error.describe()) if isinstance(error, BrokerError) else ""
    return "\n".join((*format_exception(error), repr(error), str(error), described))


def expect_no_secret(text: str, secrets: Iterable[str], where: str) -> None:
    """Raises `BrokenContract` where one of the secrets stands in a text, in whatever form."""
    for number, secret in enumerate(secrets):
        if shows(text, secret):
            line = next((one for one in text.splitlines() if shows(one, secret)), "")
            before = re.split(re.escape(secret), line)[0][-60:]
            expect(False, f"{where} shows a secret of the login (number {number}), behind {before!r}")
