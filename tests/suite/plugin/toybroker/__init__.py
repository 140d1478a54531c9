"""A plugin of an invented broker that keeps the contract; defects are made in copies of it."""

from __future__ import annotations

from brokersync.plugin import ProviderSpec, hookimpl


@hookimpl
def brokersync_provider(broker: str) -> ProviderSpec | None:
    if broker != "toy":
        return None
    from toybroker.client import ToyCredentials
    from toybroker.normalise import renormalise
    from toybroker.provider import ToyProvider
    from toybroker.statements import ToyStatements

    return ProviderSpec(
        credentials=ToyCredentials,
        create=ToyProvider,
        statements=lambda key: ToyStatements(),
        renormalise=renormalise,
    )
