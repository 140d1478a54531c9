"""The secrets that a plugin was given, kept out of what its errors say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from enum import Enum
from typing import Any, Final, TypeAlias

import attrs

from brokersync.errors import BrokerError
from brokersync.manifest import Field
from brokersync.redaction import Redactor, shows
from brokersync.secret import Secret
from brokersync.types import AuthResult, BrokerAccount, Challenge, TradePage

# a mask for every "a" of a text hides nothing and tells the secret
_SHORTEST: Final = 4
# a shorter one, a year or the number of an account, may stand by chance in what is stored in clear
_SHORTEST_BY_NO_CHANCE: Final = 16
# a provider that serves many logins forgets those of long ago
_MOST: Final = 200
_Redact: TypeAlias = Callable[[str], str]


class ConcealedError(Exception):
    """Stands in a traceback for an exception of a plugin's whose own text holds a secret."""


class KnownSecrets:
    """The secrets that a plugin's provider could know of late, and what is said without them."""

    def __init__(self) -> None:
        self._values: dict[Secret, None] = {}

    def learn(self, values: Iterable[Secret | str | None]) -> None:
        """These are secrets, too; one of less than four characters is not looked for."""
        for value in values:
            secret = Secret(value) if isinstance(value, str) else value
            if isinstance(secret, Secret) and len(secret.reveal()) >= _SHORTEST:
                self._values.pop(secret, None)
                self._values[secret] = None
        for oldest in list(self._values)[:-_MOST]:
            del self._values[oldest]

    def shown(self, text: str) -> str:
        """The text without any of them."""
        return self._redact(text)

    def shown_page(self, page: TradePage) -> TradePage:
        """The page without any of them in what the plugin says of its rows; the rows are as they came."""
        if not (page.quarantined or page.skipped or page.unmapped):
            return page
        redact = self._redact
        return attrs.evolve(
            page,
            quarantined=tuple(attrs.evolve(row, reason=_masked(row.reason, redact)) for row in page.quarantined),
            skipped=_counted(page.skipped, redact),
            unmapped=_counted(page.unmapped, redact),
        )

    def conceal(self, error: BaseException, secrets: Iterable[Secret | str | None] = ()) -> None:
        """Take them out of all texts of an error, which stays the same one, and of those that led to it.

        `secrets` are those of this call: where many logins share a provider, theirs may have been forgotten meanwhile.
        """
        self.learn(secrets)
        _mask(error, self._redact)
        _conceal_chain(error, self._redact)

    def conceal_what_led_to(self, error: BaseException, secrets: Iterable[Secret | str | None] = ()) -> None:
        """As `conceal`, for an error that itself shows none."""
        self.learn(secrets)
        _conceal_chain(error, self._redact)

    @property
    def _redact(self) -> _Redact:
        return Redactor(secret.reveal() for secret in self._values)


def secrets_of(auth: AuthResult | None) -> tuple[Secret, ...]:
    """The secrets of a login."""
    values = () if auth is None else (auth.access_token, auth.refresh_token, *auth.secrets.values())
    return tuple(value for value in values if value)


def kept_fault(value: AuthResult | TradePage | Iterable[BrokerAccount], secrets: Iterable[Secret]) -> str:
    """What is wrong where a plugin put one of the secrets into what core stores unsealed; else nothing.

    The rows of a page are the broker's and stay as they came.
    """
    values = [value for value in (secret.reveal() for secret in secrets) if len(value) >= _SHORTEST_BY_NO_CHANCE]
    for name, text in _kept_in_clear(value) if values else ():
        if any(shows(text, value) for value in values):
            return (
                f"{name} holds a secret of the login and would be stored in clear; keep the secret out, and put it in"
                " anew from `auth` at each request"
            )
    return ""


def secrets_in(fields: Iterable[Field], values: Mapping[str, Any]) -> tuple[Any, ...]:
    """The values of those fields that the manifest calls secret."""
    return tuple(values[field.name] for field in fields if field.secret and field.name in values)


def _kept_in_clear(value: AuthResult | TradePage | Iterable[BrokerAccount]) -> Iterator[tuple[str, str]]:
    if isinstance(value, AuthResult):
        yield "its identity", value.identity
    elif isinstance(value, TradePage):
        yield "its cursor", value.cursor or ""
        yield "its bookmark", value.bookmark or ""
        yield from _kept_in_clear(value.accounts)
    else:
        yield from (("an account", repr(account)) for account in value)


def _counted(counts: Mapping[str, int], redact: _Redact) -> Mapping[str, int]:
    found: Counter[str] = Counter()
    for name, count in counts.items():
        found[_masked(name, redact)] += count
    return dict(found)


def _stand_in(error: BaseException, redact: _Redact) -> BaseException:
    if isinstance(error, BrokerError):
        _mask(error, redact)
    elif any(_shows_any(part, redact) for part in _parts(error)):
        for part in _parts(error):
            _mask(part, redact)
        said = [type(error).__name__, *(text for part in _parts(error) for text in _texts(part, str))]
        shown = ConcealedError(redact(": ".join(filter(None, said)))).with_traceback(error.__traceback__)
        shown.__cause__, shown.__context__ = error.__cause__, error.__context__
        shown.__suppress_context__ = error.__suppress_context__
        return shown
    return error


def _conceal_chain(first: BaseException, redact: _Redact) -> None:
    # what was met, with what stands in for it: a chain may lead to one exception twice
    met = {id(first): (first, first)}
    todo = [first]
    while todo:
        error = todo.pop()
        suppressed = error.__suppress_context__
        linked = [(name, getattr(error, name)) for name in ("__context__", "__cause__")]
        linked += [("", part) for part in _parts(error) if part is not error]
        for name, other in linked:
            if other is not None and id(other) not in met:
                met[id(other)] = other, _stand_in(other, redact)
                todo.append(met[id(other)][1])
            if name and other is not None:
                setattr(error, name, met[id(other)][1])
        error.__suppress_context__ = suppressed


def _parts(error: BaseException) -> Iterator[BaseException]:
    """An exception, and those that it is a group of."""
    yield error
    for part in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        yield from _parts(part)


def _shows_any(error: BaseException, redact: _Redact) -> bool:
    shown = any(redact(text) != text for text in _texts(error, str, repr))
    return shown or _masked(error.args, redact) is not error.args


def _texts(error: BaseException, *shows: Callable[[object], str]) -> Iterator[str]:
    """What a traceback shows of an exception."""
    for show in shows:
        with suppress(Exception):  # a plugin's own text may fail; then it shows nothing
            yield show(error)
    yield from map(str, getattr(error, "__notes__", ()))


def _mask(error: BaseException, redact: _Redact) -> None:
    error.args = tuple(_masked(value, redact) for value in error.args)
    vars(error).update({name: _masked(value, redact) for name, value in vars(error).items()})


def _masked(value: Any, redact: _Redact) -> Any:
    """The same object where it shows no secret."""
    if value is None or isinstance(value, Enum | int):
        return value
    masked: Any
    if isinstance(value, str):
        masked = redact(value)
    elif isinstance(value, Challenge):
        asked = {name: _masked(getattr(value, name), redact) for name in ("kind", "message", "url", "fields")}
        masked = attrs.evolve(value, **asked)
    elif isinstance(value, Mapping):
        masked = {_masked(name, redact): _masked(one, redact) for name, one in value.items()}
    elif isinstance(value, list | tuple):
        masked = [_masked(one, redact) for one in value]
        masked = masked if isinstance(value, list) else tuple(masked)
    else:
        masked = value
        with suppress(Exception):  # a plugin's own text may fail; then it shows nothing
            text = f"{value} {value!r}"
            masked = value if redact(text) == text else redact(str(value))
        return masked
    return value if masked == value else masked
