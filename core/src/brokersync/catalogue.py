"""Known brokers, installed or not, and how to get one that is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from brokersync.errors import BrokerNotInstalledError

_SHOWN = 20
_US = "brokersync project"


@attrs.frozen(kw_only=True)
class CatalogueEntry:
    """A broker this project knows of, the distribution that holds its plugin, and who owns that.

    `labels` are the keys of those who sell the same service under a name of their own.
    """

    display_name: str
    distribution: str
    owner: str
    labels: tuple[str, ...] = attrs.field(default=(), converter=tuple)


def catalogue() -> Mapping[str, CatalogueEntry]:
    """All known brokers by key."""
    import tomllib
    from importlib.resources import files

    text = files("brokersync").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return {key: CatalogueEntry(**facts) for key, facts in sorted(tomllib.loads(text).items())}


def known_as(name: str) -> str | None:
    """The key of the known broker of this key or label."""
    known = catalogue()
    return name if name in known else next((key for key, one in known.items() if name in one.labels), None)


def is_ours(key: str, distribution: str) -> bool:
    """Whether the distribution is the one that this project makes for a broker, by its name."""
    entry = catalogue().get(key)
    return entry is not None and (entry.distribution, entry.owner) == (distribution.lower(), _US)


def not_installed(key: str, installed: Sequence[str], unreadable: Iterable[str] = ()) -> BrokerNotInstalledError:
    """The error for a broker that nothing installed offers; it says how to get it, or which one was meant."""
    known = dict(catalogue())
    known |= {label: entry for entry in known.values() for label in entry.labels if label not in known}
    advice = [_get(key, known) if key in known else _meant(key, installed, known), _have(installed, known)]
    broken = ", ".join(unreadable)
    if broken:
        advice.append(f"Installed but unreadable: {broken}.")
    return BrokerNotInstalledError(
        f"No installed plugin offers the broker {key!r}.", remedy=" ".join(filter(None, advice)), provider=key
    )


def _get(key: str, known: Mapping[str, CatalogueEntry]) -> str:
    return f"Get it with `pip install {known[key].distribution}`."


def _meant(key: str, installed: Sequence[str], known: Mapping[str, CatalogueEntry]) -> str:
    from difflib import get_close_matches

    found = get_close_matches(key.strip().lower(), sorted({*installed, *known}), n=3)
    if not found:
        return ""
    names = " or ".join(repr(name) for name in found)
    return " ".join([f"Did you mean {names}?", *(_get(name, known) for name in found[:1] if name not in installed)])


def _have(installed: Sequence[str], known: Mapping[str, CatalogueEntry]) -> str:
    if installed:
        more = f" and {len(installed) - _SHOWN} more" if len(installed) > _SHOWN else ""
        return f"Installed: {', '.join(installed[:_SHOWN])}{more}."
    ways = ", ".join(f"`pip install {entry.distribution}` ({entry.display_name})" for entry in known.values())
    return f"No broker is installed yet; each comes on its own: {ways}."
