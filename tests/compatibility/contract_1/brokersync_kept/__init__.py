"""A plugin that was built for version 1 of the contract, and is never changed: every later core has to run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from brokersync.plugin import AuthResult, Finding, ProviderContext, ProviderSpec, Severity, hookimpl


@hookimpl
def brokersync_provider(broker: str) -> ProviderSpec | None:
    if broker != "kept":
        return None
    from brokersync_kept.client import ToyCredentials
    from brokersync_kept.normalise import renormalise
    from brokersync_kept.provider import ToyProvider
    from brokersync_kept.statements import ToyStatements

    return ProviderSpec(
        credentials=ToyCredentials,
        create=ToyProvider,
        statements=lambda key: ToyStatements(),
        diagnose=_diagnose,
        renormalise=renormalise,
    )


@hookimpl
def brokersync_doctor(broker: str, settings: Mapping[str, str]) -> Sequence[Finding] | None:
    return [Finding(message=f"{broker} was kept.", remedy="Leave it as it is.", severity=Severity.NOTE)]


async def _diagnose(context: ProviderContext, auth: AuthResult) -> Sequence[str]:
    return [f"{auth.identity} at {context.provider}, {context.environment}"]
