"""What a user gives to log in."""

from __future__ import annotations

import attrs

from brokersync.plugin import BrokerCredentials, Secret


@attrs.frozen(kw_only=True)
class {{ cookiecutter.__class }}Credentials(BrokerCredentials):
    """The fields that `provider.toml` asks the user for, under the same names."""

    api_key: Secret
