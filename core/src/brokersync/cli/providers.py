"""`brokersync providers`: which brokers are installed, and what each needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokersync.cli.common import Common, note, print_json, show_error
from brokersync.cli.exits import Exit
from brokersync.cli.levels import known_levels, level_cell, level_facts, level_sentence
from brokersync.cli.limit_rows import COLUMNS, SHORT, WHOLE, limit_row
from brokersync.errors import BrokerError

if TYPE_CHECKING:
    from brokersync.manifest import Field, Manifest, SourceSpec
    from brokersync.registry import ProviderListing, ProviderRegistry

_NONE_INSTALLED = "No broker is installed. Get one with, for example: pip install {example}"


def providers(key: str | None = None, /, *, common: Common = Common()) -> int:
    """List the installed brokers, or show one of them.

    Parameters
    ----------
    key
        The broker to show in full: its fields, sources and limits.
    """
    from brokersync.registry import ProviderRegistry

    try:
        settings = common.settings()
        registry = ProviderRegistry.installed(settings)
        for name in (*settings.governance.deny, *(settings.governance.allow or ())):
            if registry.broker_of(name) is None:
                note(f"governance.deny or governance.allow names {name!r}, which is no known broker.")
        return _list(registry, common) if key is None else _show(registry.manifest(key), registry, common)
    except BrokerError as error:
        return show_error(error, common)


def _list(registry: ProviderRegistry, common: Common) -> int:
    rows = registry.listing()
    levels = known_levels(rows)
    if common.json:
        print_json({"providers": [_row(row) | {"verified": level_facts(levels.get(row.key))} for row in rows]})
        return Exit.DONE
    if not rows:
        from brokersync.catalogue import catalogue

        known = sorted(entry.distribution for entry in catalogue().values())
        note(_NONE_INSTALLED.format(example=known[0] if known else "brokersync-BROKER"))
        return Exit.DONE
    from brokersync.cli.tables import show_table

    show_table(
        ("broker", "distribution", "version", "verified", "state"),
        [
            (
                row.key or "?",
                row.distribution,
                row.version,
                level_cell(levels.get(row.key)),
                state_text(row.state.value, row.reason),
            )
            for row in rows
        ],
    )
    return Exit.DONE


def state_text(state: str, reason: str) -> str:
    """Whether a broker can be used, and why not."""
    return f"{state}: {reason}" if reason else state


def _row(row: ProviderListing) -> dict[str, Any]:
    return {
        "key": row.key,
        "distribution": row.distribution,
        "version": row.version,
        "state": row.state.value,
        "reason": row.reason,
    }


def _show(manifest: Manifest, registry: ProviderRegistry, common: Common) -> int:
    from brokersync.converter import to_json
    from brokersync.manifest import numbered

    level = known_levels(registry.listing()).get(manifest.key)

    if common.json:
        print_json(to_json(manifest) | {"form": manifest.form(), "verified": level_facts(level)})
        return Exit.DONE
    from brokersync.cli.tables import console, plain, show_table

    out = console()
    out.print(plain(f"{manifest.display_name} ({manifest.key})", "bold"))
    out.print(plain(f"environments: {', '.join(manifest.environments)}   licence: {manifest.licence}"))
    out.print(plain(level_sentence(level, manifest.claims, manifest.key)))
    if manifest.labels:
        names = ", ".join(f"{label.display_name} ({label.key})" for label in manifest.labels)
        out.print(plain(f"the same service is sold as: {names}"))
    for step in numbered(manifest.setup):
        out.print(plain(step))
    if manifest.consents:
        out.print(plain(f"log in at its own page: brokersync connect {manifest.key} --oauth"))
    show_table(("field", "", "what it is"), [_field(field) for field in manifest.user_fields])
    if manifest.operator_fields:
        told = [_field(field) for field in manifest.operator_fields]
        show_table(("operator's field", "", "what it is"), told)
    show_table(("source", "history", "asked for"), [_source(source) for source in manifest.sources])
    show_table(COLUMNS, [limit_row(limit) for limit in manifest.limits], whole=WHOLE, short=SHORT)
    if manifest.maintenance:
        show_table(
            ("closed for maintenance", "on", "where this comes from"),
            [
                (f"{one.start} to {one.end} {one.zone}", ", ".join(one.days) or "every day", one.source or "not said")
                for one in manifest.maintenance
            ],
        )
    return Exit.DONE


def _field(field: Field) -> tuple[str, str, str]:
    needed = "secret" if field.secret else "" if field.required else "optional"
    return field.name, needed, f"{field.label}. {field.help}"


def _source(source: SourceSpec) -> tuple[str, str, str]:
    if source.files:
        return source.name, "what the file holds", "by `brokersync import`"
    window = f", at most {source.longest_window.days} days at once" if source.longest_window else ""
    return source.name, source.retention.value, f"per {source.scope.value}, by {source.selects_by.value} time{window}"
