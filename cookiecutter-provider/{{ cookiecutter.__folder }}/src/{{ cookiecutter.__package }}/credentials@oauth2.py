"""What a user gives before they log in at the broker's own page: nothing."""

from __future__ import annotations

import attrs

from brokersync.plugin import BrokerCredentials


@attrs.frozen(kw_only=True)
class {{ cookiecutter.__class }}Credentials(BrokerCredentials):
    """A field that `provider.toml` comes to ask the user for gets a place here, under the same name."""
