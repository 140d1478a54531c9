"""{{ cookiecutter.display_name }} for brokersync."""

from __future__ import annotations

from brokersync.plugin import ProviderSpec, hookimpl


@hookimpl
def brokersync_provider(broker: str) -> ProviderSpec | None:
    """The code behind the key `{{ cookiecutter.key }}`."""
    if broker != "{{ cookiecutter.key }}":
        return None
    # imported here, so that looking at the plugin costs nothing
    from {{ cookiecutter.__package }}.credentials import {{ cookiecutter.__class }}Credentials
    from {{ cookiecutter.__package }}.provider import {{ cookiecutter.__class }}Provider
    from {{ cookiecutter.__package }}.renormalise import renormalise

    credentials = {{ cookiecutter.__class }}Credentials
    return ProviderSpec(credentials=credentials, create={{ cookiecutter.__class }}Provider, renormalise=renormalise)
