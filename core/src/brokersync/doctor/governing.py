"""Governance: whether somebody is told, and approvals can be read."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from brokersync.catalogue import catalogue
from brokersync.errors import BrokerConfigError
from brokersync.findings import Finding, Severity
from brokersync.folders import data_folder
from brokersync.governance.approvals import Approvals
from brokersync.governance.notices import Notices
from brokersync.governance.webhook import Webhook
from brokersync.governance_settings import GovernanceMode, GovernanceSettings
from brokersync.registry import ProviderRegistry

_TEST = "Try it: brokersync providers test-webhook"


def list_findings(settings: GovernanceSettings, registry: ProviderRegistry) -> Iterator[Finding]:
    """Names in the lists that mean another broker than they say, or none, such as mistyped ones."""
    for name, keys in (("allow", settings.allow or ()), ("deny", settings.deny)):
        for key in keys:
            meant = registry.broker_of(key)
            if meant is None:
                close = get_close_matches(key.lower(), sorted({*registry.keys(), *catalogue()}), 1)
                hint = f"Did you mean {close[0]!r}?" if close else "Take it out, unless it is to come."
                what = "denies nothing" if name == "deny" else "allows nothing"
                message = f"governance.{name} names {key!r}, which is no known broker: it {what}."
                yield _of(Severity.WARNING, message, hint)
            elif meant != key:
                message = (
                    f"governance.{name} names {key!r}, a name under which {meant} is sold: it is of all of {meant}."
                )
                yield _of(Severity.NOTE, message, f"Write {meant!r} to have that seen.")


def governance_findings(settings: GovernanceSettings, notices: Notices | None) -> Iterator[Finding]:
    """What keeps approvals and notices from working."""
    try:
        Approvals(settings.approvals_file(data_folder())).of("")
    except BrokerConfigError as error:
        yield _of(Severity.FAULT, error.message, error.remedy)
    try:
        webhook = Webhook.of(settings)
    except BrokerConfigError as error:
        yield _of(Severity.FAULT, error.message, error.remedy)
        return
    approves = settings.mode is GovernanceMode.APPROVE
    if webhook is None:
        if approves:
            remedy = "Set governance.webhook and BROKERSYNC_WEBHOOK_SECRET."
            yield _of(Severity.FAULT, 'governance.mode is "approve", and nobody is told of what is held.', remedy)
        return
    if notices is None:
        return
    try:
        tested, waiting = notices.was_tested(webhook.url), notices.waiting()
    except BrokerConfigError as error:
        yield _of(Severity.FAULT, error.message, error.remedy)
        return
    if approves and not tested:
        yield _of(Severity.WARNING, "No notice has arrived at the webhook yet.", _TEST)
    if waiting:
        message = f"Notices that wait for the webhook: {len(waiting)}, the oldest since {waiting[0].at}."
        yield _of(Severity.WARNING, message, _TEST)


def _of(severity: Severity, message: str, remedy: str) -> Finding:
    return Finding(area="governance", severity=severity, message=message, remedy=remedy)
