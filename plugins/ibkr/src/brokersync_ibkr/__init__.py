"""Interactive Brokers for brokersync: Flex statements, from the Flex Web Service or as files."""

from __future__ import annotations

from brokersync.plugin import ProviderSpec, hookimpl


@hookimpl
def brokersync_provider(broker: str) -> ProviderSpec | None:
    """The code behind the key `ibkr`."""
    if broker != "ibkr":
        return None
    # imported here, so that looking at the plugin costs nothing
    from brokersync_ibkr.credentials import FlexCredentials
    from brokersync_ibkr.provider import FlexProvider, diagnose
    from brokersync_ibkr.renormalise import renormalise
    from brokersync_ibkr.statements import FlexStatementReader

    return ProviderSpec(
        credentials=FlexCredentials,
        create=FlexProvider,
        statements=lambda _: FlexStatementReader(),
        diagnose=diagnose,
        renormalise=renormalise,
    )
