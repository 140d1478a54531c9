"""What the user of a fresh login should change at the broker."""

from __future__ import annotations

from collections.abc import Sequence

from brokersync.plugin import AuthResult, ProviderContext
from {{ cookiecutter.__package }}.client import {{ cookiecutter.__class }}Client

# FILL IN: what the broker calls the rights that reading takes, and those that it does not take
NEEDED = ("accounts", "executions")
TOO_MUCH = ("orders", "transfers")


async def diagnose(context: ProviderContext, auth: AuthResult) -> Sequence[str]:
    """A sentence for each thing that is to be changed; none where all is well."""
    user = await {{ cookiecutter.__class }}Client(context).who(auth)
    return advice(user.rights)


def advice(rights: frozenset[str]) -> Sequence[str]:
    missing = [right for right in NEEDED if right not in rights]
    superfluous = [right for right in TOO_MUCH if right in rights]
    said = []
    if missing:
        said.append(f"This login lacks the right to read {' and '.join(missing)}, so trades will be missing.")
    if superfluous:
        said.append(f"This login may do more than read ({', '.join(superfluous)}); take that right away from it.")
    return said
