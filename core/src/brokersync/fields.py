"""The fields that a manifest declares: what a person gave, and the class that holds it, checked against them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import get_args, get_type_hints

import attrs

from brokersync.errors import BrokerConfigError, Fault
from brokersync.manifest import Field, Manifest
from brokersync.provider import ProviderSpec
from brokersync.secret import Secret
from brokersync.types import BrokerCredentials


def read_fields(
    fields: Sequence[Field], given: Mapping[str, str | Secret], *, provider: str, fault: Fault, path: str = ""
) -> dict[str, str]:
    """The values by name, defaults filled in; an optional field left blank and without default is left out.

    Text loses the blanks around it, secrets do not. Patterns are searched for, as JSON Schema does. Raises one
    `BrokerConfigError` that names every mistake, each field behind `path`, and shows no value.
    """
    mistakes = field_mistakes(fields, given)
    if mistakes:
        raise BrokerConfigError(
            f"The fields for {provider!r} are not right: {'; '.join(path + one for one in mistakes)}.",
            remedy=f"Its fields are: {', '.join(field.name for field in fields) or 'none'}.",
            provider=provider,
            fault=fault,
        )
    values = {field.name: _plain(given.get(field.name), field) for field in fields}
    return {name: value for name, value in values.items() if value is not None}


def field_mistakes(fields: Sequence[Field], given: Mapping[str, str | Secret]) -> list[str]:
    """A sentence for each mistake, which begins with the field's name and shows no value."""
    known = {field.name for field in fields}
    found = [f"{name} is unknown" for name in given if name not in known]
    told = ((field.name, _mistake(field, _plain(given.get(field.name), field))) for field in fields)
    return found + [f"{name} {mistake}" for name, mistake in told if mistake]


def _plain(value: str | Secret | None, field: Field) -> str | None:
    text = value.reveal() if isinstance(value, Secret) else value
    if text is None or not isinstance(text, str):
        return field.default if text is None else text
    return (text if field.secret else text.strip()) if text.strip() else field.default


def _mistake(field: Field, value: str | None) -> str:
    if value is None:
        return "is missing" if field.required else ""
    if not isinstance(value, str):
        return "must be text"
    if field.choices and value not in field.choices:
        return f"must be one of {', '.join(field.choices)}"
    if field.format == "integer" and not re.fullmatch(r"-?[0-9]+", value):
        return "must be a whole number"
    if field.format == "date" and not _is_date(value):
        return "must be a date like 2026-01-31"
    if field.pattern and not re.search(field.pattern, value):
        return f"does not look right; {field.help.rstrip('.')}"
    return ""


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def credentials_fault(spec: ProviderSpec, manifest: Manifest) -> str:
    """What keeps the class of credentials from being built out of the manifest's user fields."""
    kind = spec.credentials
    if kind is None:
        return "its manifest has user_fields, but its spec no credentials class" if manifest.user_fields else ""
    if not (isinstance(kind, type) and issubclass(kind, BrokerCredentials) and attrs.has(kind)):
        return "its credentials class is no attrs class derived from BrokerCredentials"
    arguments = {field.alias: field for field in attrs.fields(kind) if field.init}
    declared = {field.name for field in manifest.user_fields}
    if declared != set(arguments):
        apart = ", ".join(sorted(declared ^ set(arguments)))
        return f"the user_fields of its manifest and the fields of {kind.__name__} differ in: {apart}"
    hints = get_type_hints(kind)
    for field in manifest.user_fields:
        argument = arguments[field.name]
        hint = hints[argument.name]
        if field.secret is not (Secret in (hint, *get_args(hint))):
            return f"the field {field.name} must be secret in the manifest and a Secret in {kind.__name__}, or neither"
        if not field.required and field.default is None and argument.default is attrs.NOTHING:
            return f"the optional field {field.name} has no default, neither in the manifest nor in {kind.__name__}"
        if manifest.consent_fields and field.auth is not None and argument.default is attrs.NOTHING:
            return f"the field {field.name} is of one way to log in, and {kind.__name__} has no default for the others"
    return ""
