"""What a user gives: the token of the Flex Web Service, and the ids of the queries that it may run."""

from __future__ import annotations

import attrs

from brokersync.plugin import BrokerCredentials, Secret


@attrs.frozen(kw_only=True)
class FlexCredentials(BrokerCredentials):
    """The fields that `provider.toml` asks the user for, under the same names."""

    token: Secret
    activity_query_id: str
    confirmations_query_id: str | None = None
    expires_on: str | None = None
