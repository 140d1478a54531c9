"""Tradovate for brokersync: the fills of the session, the history of the Reporting API, and exported files."""

from __future__ import annotations

from brokersync.plugin import ProviderSpec, hookimpl


@hookimpl
def brokersync_provider(broker: str) -> ProviderSpec | None:
    """The code behind the key `tradovate`."""
    if broker != "tradovate":
        return None
    # imported here, so that looking at the plugin costs nothing
    from brokersync_tradovate.adopting import adopt
    from brokersync_tradovate.consent import TradovateConsent
    from brokersync_tradovate.credentials import TradovateCredentials
    from brokersync_tradovate.provider import TradovateProvider
    from brokersync_tradovate.renormalise import renormalise
    from brokersync_tradovate.statements import TradovateStatementReader

    return ProviderSpec(
        credentials=TradovateCredentials,
        create=TradovateProvider,
        statements=lambda _: TradovateStatementReader(),
        consent=TradovateConsent,
        adopt=adopt,
        renormalise=renormalise,
    )
