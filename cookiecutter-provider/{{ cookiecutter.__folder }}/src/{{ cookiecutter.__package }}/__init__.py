"""{{ cookiecutter.display_name }} for brokersync."""

from __future__ import annotations

from brokersync.plugin import ProviderSpec, hookimpl


@hookimpl
def brokersync_provider(broker: str) -> ProviderSpec | None:
    """The code behind the key `{{ cookiecutter.key }}`."""
    if broker != "{{ cookiecutter.key }}":
        return None
    # imported here, so that looking at the plugin costs nothing
{% if cookiecutter.auth_kind in ("password", "oauth2") %}
    from {{ cookiecutter.__package }}.adopting import adopt
{% endif %}
{% if cookiecutter.auth_kind == "oauth2" %}
    from {{ cookiecutter.__package }}.consent import {{ cookiecutter.__class }}Consent
{% endif %}
    from {{ cookiecutter.__package }}.credentials import {{ cookiecutter.__class }}Credentials
{% if cookiecutter.auth_kind != "password" %}
    from {{ cookiecutter.__package }}.diagnosis import diagnose
{% endif %}
    from {{ cookiecutter.__package }}.provider import {{ cookiecutter.__class }}Provider
    from {{ cookiecutter.__package }}.renormalise import renormalise
{% if cookiecutter.history_kind == "files" %}
    from {{ cookiecutter.__package }}.statements import {{ cookiecutter.__class }}Statements
{% endif %}

    return ProviderSpec(
        credentials={{ cookiecutter.__class }}Credentials,
        create={{ cookiecutter.__class }}Provider,
{% if cookiecutter.auth_kind == "oauth2" %}
        consent={{ cookiecutter.__class }}Consent,
{% endif %}
{% if cookiecutter.history_kind == "files" %}
        statements=lambda _: {{ cookiecutter.__class }}Statements(),
{% endif %}
{% if cookiecutter.auth_kind != "password" %}
        diagnose=diagnose,
{% endif %}
{% if cookiecutter.auth_kind in ("password", "oauth2") %}
        adopt=adopt,
{% endif %}
        renormalise=renormalise,
    )
