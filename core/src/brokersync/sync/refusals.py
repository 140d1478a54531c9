"""Whether a refusal speaks of the login, or of the one account that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Set

from brokersync.errors import BrokerAuthError, BrokerRateLimitError, BrokerRetryableError, LimitScope
from brokersync.manifest import SourceScope
from brokersync.sync.plan import Ask
from brokersync.sync.report import ReportBuilder


class Refusals:
    """Hears the refusals of one sync.

    `listed` are the accounts that the broker has just listed for the login; `None` where it has not answered that.
    `login_refused` tells whether it has refused to make or renew a token.
    """

    def __init__(
        self, *, listed: Set[tuple[str, str]] | None, login_refused: Callable[[], bool], report: ReportBuilder
    ) -> None:
        self._listed, self._login_refused, self._report = listed, login_refused, report
        self._refused: set[tuple[str, str]] = set()

    def is_the_accounts_own(self, ask: Ask, error: BrokerAuthError) -> bool:
        """Whether the broker, which does not say what it refuses, has answered this login all the same.

        A list of accounts is no such answer where every one of them is refused.
        """
        if error.certain or ask.source.scope is SourceScope.LOGIN or self._login_refused():
            return False
        self._refused.update((one.environment, one.account_id) for one in ask.accounts)
        refuses_all = bool(self._listed) and self._refused.issuperset(self._listed or ())
        return self._report.has_pages or (self._listed is not None and not refuses_all)


def is_limit_of_the_account(error: BrokerRetryableError) -> bool:
    """Whether a limit is known to be that of one account, so that others may be asked."""
    scope = error.scope if isinstance(error, BrokerRateLimitError) else None
    return LimitScope.ACCOUNT in (scope, error.freeze)
