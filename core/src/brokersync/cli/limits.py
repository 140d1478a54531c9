"""`brokersync limits`: what is in force, what of it is used, and who waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brokersync.cli.common import Common, finish, note, print_json, say
from brokersync.cli.exits import Exit
from brokersync.cli.limit_rows import COLUMNS, SHORT, WHOLE, limit_row
from brokersync.cli.session_rows import session_facts, show_sessions
from brokersync.cli.shared_limits import not_answering
from brokersync.errors import StoreError

if TYPE_CHECKING:
    from brokersync.config import Settings
    from brokersync.limits import RateLimit
    from brokersync.ratelimit.usage import Usage, Used
    from brokersync.registry import ProviderRegistry
    from brokersync.session_places import SessionPlaces

_UNSHARED = "Each process counts for itself. Name a Redis as `fleet.redis` to share the limits and to see what is used."


def limits(key: str | None = None, /, *, common: Common = Common()) -> int:
    """Show the limits of the installed brokers: what is in force, what of it is used, and who waits.

    Parameters
    ----------
    key
        The broker to show; all of them by default.
    """
    return finish(_limits(key, common), common)


async def _limits(key: str | None, common: Common) -> int:
    from brokersync.registry import ProviderRegistry

    settings = common.settings()
    registry = ProviderRegistry.installed(settings)
    keys = [key] if key is not None else sorted(row.key for row in registry.listing() if row.key and not row.reason)
    brokers = [_Broker(one, registry, settings) for one in keys]
    usage = await _usage(brokers, settings)
    places = await _places(brokers, common.place(settings))
    if common.json:
        facts = [one.facts(usage) | session_facts(one.manifest, places) for one in brokers]
        print_json({"shared": usage is not None, "brokers": facts})
        return Exit.DONE
    for one in brokers:
        one.show(usage)
        show_sessions(one.manifest, places)
    if not usage:
        note(_UNSHARED)
    return Exit.DONE


class _Broker:
    def __init__(self, key: str, registry: ProviderRegistry, settings: Settings) -> None:
        self.manifest = registry.manifest(key)
        self.own = settings.broker(self.manifest.key).limits
        self.limits: Sequence[RateLimit] = self.manifest.limits if self.own is None else self.own

    @property
    def set_by(self) -> str:
        return "plugin" if self.own is None else "configuration"

    def facts(self, usage: Mapping[str, Usage] | None) -> dict[str, Any]:
        from brokersync.converter import to_json

        key = self.manifest.key
        facts = {"broker": key, "set_by": self.set_by, "limits": to_json(self.limits)}
        return facts if usage is None else facts | {"usage": to_json(usage[key])}

    def show(self, usage: Mapping[str, Usage] | None) -> None:
        from brokersync.cli.tables import console, plain, show_table

        manifest = self.manifest
        title = f"{manifest.display_name} ({manifest.key}), set by the {self.set_by}"
        console().print(plain(title, "bold"))
        if not self.limits:
            say("No limit: calls go as they come.")
            return
        if usage is None:
            show_table(COLUMNS, [limit_row(one) for one in self.limits], whole=WHOLE, short=SHORT)
            return
        found = usage[manifest.key]
        rows = [(*limit_row(one.limit), _used(one)) for one in found.used]
        show_table((*COLUMNS, "used"), rows, whole=WHOLE, short=SHORT)
        _show_waits(found)


def _used(one: Used) -> str:
    return f"{one.most} by the fullest of {one.holders}" if one.holders > 1 else str(one.most)


def _show_waits(usage: Usage) -> None:
    from brokersync.cli.tables import duration_text

    if usage.waiting:
        say(f"{usage.waiting} wait for their place.")
    for one in usage.frozen:
        say(f"No calls of one {one.scope} for {duration_text(one.thaws_in)}: {one.reason}")
    for slowed in usage.slowed:
        say(f"One {slowed.scope} goes by {slowed.percent} % of its limits, since the broker refused more.")


async def _places(brokers: Sequence[_Broker], place: str | Path) -> dict[str, tuple[SessionPlaces, ...]] | None:
    """The sessions of each broker that counts them; `None` where there is no store that tells."""
    from brokersync.clock import SystemClock
    from brokersync.session_places import session_places
    from brokersync.store.place import store_at

    if _is_missing(place) or not any(one.manifest.sessions for one in brokers):
        return None
    try:
        store, _ = store_at(place, make=False)
        await store.open()
        try:
            now = SystemClock().now()
            return {one.manifest.key: await session_places(store, one.manifest, now) for one in brokers}
        finally:
            await store.close()
    except StoreError as error:
        note(f"The sessions in use are not known: {error.message}")
        return None


def _is_missing(place: str | Path) -> bool:
    return isinstance(place, Path) and not place.exists()


async def _usage(brokers: Sequence[_Broker], settings: Settings) -> dict[str, Usage] | None:
    if settings.fleet.redis is None:
        return None
    from brokersync.ratelimit.opening import open_redis
    from brokersync.ratelimit.outages import AWAY
    from brokersync.ratelimit.usage import usage_of

    redis = open_redis(settings.fleet.redis)
    try:
        return {one.manifest.key: await usage_of(redis, one.manifest.key, one.limits) for one in brokers}
    except AWAY as error:
        raise not_answering(error) from None
    finally:
        await redis.aclose()
