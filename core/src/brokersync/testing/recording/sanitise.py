"""From a session to a recording: what is private is replaced, removed or scaled, and what is left looked at again."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from random import Random
from typing import Final
from urllib.parse import urlsplit

import attrs

from brokersync.hosts import begins_with
from brokersync.manifest import Field, Manifest
from brokersync.redaction import Redactor
from brokersync.testing.recording.amounts import draw_factor, scaled
from brokersync.testing.recording.bodies import Number, Place, rewritten, value_within
from brokersync.testing.recording.capture import Exchanged, Session
from brokersync.testing.recording.kinds import Kind, Kinds
from brokersync.testing.recording.leaks import Leak, leaks_in, looks_secret
from brokersync.testing.recording.made_secrets import made_secret
from brokersync.testing.recording.recording import RecordedExchange, Recording, texts_of
from brokersync.testing.recording.requests import AskedWith
from brokersync.testing.recording.substitutes import Substitutes, tokens_of

_URL: Final = re.compile(r"https?://\S+")
# of one connection only, or of no meaning to any plugin
_DROPPED: Final = frozenset(
    {"connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding", "vary", "via", "alt-svc"}
    | {"server", "set-cookie", "set-cookie2", "strict-transport-security", "content-security-policy"}
)
_AS_THEY_ARE: Final = frozenset({"content-type", "date", "retry-after", "cache-control", "expires", "last-modified"})
_SHORTEST_SECRET: Final = 4
ELSEWHERE: Final = "https://elsewhere.invalid/"


@attrs.frozen(kw_only=True)
class Sanitised:
    """A recording, what became of which field how often, and all that still looks private in it."""

    recording: Recording
    summary: Mapping[Kind, Counter[str]]
    dropped: Sequence[str]
    leaks: Sequence[Leak]
    factor: int = attrs.field(repr=False)


class Sanitiser:
    """Makes a recording of one session. First everything is looked at, so that one thing is replaced alike everywhere.

    `factor` is what amounts are multiplied by; without one it is drawn.
    """

    def __init__(
        self, session: Session, manifest: Manifest, kinds: Kinds, random: Random, factor: int | None = None
    ) -> None:
        self._session, self._manifest, self._kinds = session, manifest, kinds
        self._substitutes = Substitutes(random)
        self._secrets = [one for one in session.secrets if len(one) >= _SHORTEST_SECRET]
        self._redact = Redactor(self._secrets)
        self._numbered: dict[str, str] = {}
        self._private: set[str] = set()
        self._amounts: list[str] = []
        self._told: set[str] = set()
        self._summary: dict[Kind, Counter[str]] = {kind: Counter() for kind in Kind}
        self._dropped: list[str] = []
        self._suspect: list[Leak] = []
        self._learn()
        self._substitutes.settle()
        self._factor = factor or draw_factor(self._amounts, random)
        self._asked = AskedWith(self._substitutes, kinds, self._secrets, session.fields.values(), self._told)

    def sanitised(self, plugin: str) -> Sanitised:
        """The recording of the session."""
        session, bodies, exchanges = self._session, {}, []
        for number, one in enumerate(session.exchanges, 1):
            exchange, body = self._exchange(one, number)
            exchanges.append(exchange)
            bodies[exchange.file] = body
        recording = Recording(
            key=session.key,
            environment=session.environment,
            at=session.at,
            plugin=plugin,
            hosts=_replayed_below(session.hosts),
            fields=self._fields(self._manifest.user_fields, session.fields),
            operator_fields=self._fields(self._manifest.operator_fields, session.operator_fields),
            consent=session.consent,
            exchanges=tuple(exchanges),
            bodies=bodies,
        )
        return Sanitised(
            recording=recording,
            summary=self._summary,
            dropped=self._dropped,
            leaks=[*self._suspect, *self.leaks(recording)],
            factor=self._factor,
        )

    def leaks(self, recording: Recording) -> list[Leak]:
        """What of the session still stands in any file of a recording, and what looks like a secret there."""
        made = self._substitutes.made
        originals = self._substitutes.originals - made
        return leaks_in(texts_of(recording), self._secrets, originals, self._private, made)

    def substitute(self, text: str) -> str:
        """What stands in place of an id of the session."""
        return self._substitutes.of(text)

    def _learn(self) -> None:
        for fields, values in (
            (self._manifest.user_fields, self._session.fields),
            (self._manifest.operator_fields, self._session.operator_fields),
        ):
            for field in fields:
                if _is_replaced(field, values.get(field.name, "")):
                    self._substitutes.learn(values[field.name])
        for one in self._session.exchanges:
            for name, value in one.answer_headers.items():
                if name not in _AS_THEY_ARE | _DROPPED:
                    self._look(Place(name, (one.path,)), value)
            rewritten(_text(one), self._look, (one.path,), one.answer_headers.get("content-type", ""))

    def _look(self, place: Place, value: str) -> str:
        """The first time: nothing is changed, and all that is to be replaced is learned."""
        if value_within(place, value, self._look) is not None or _URL.fullmatch(value):
            return value
        kind = self._kind(place, value)
        if kind in (Kind.ID, Kind.PRIVATE):
            self._substitutes.learn(value)
            if kind is Kind.PRIVATE:
                self._private.add(value)
        elif kind is Kind.AMOUNT:
            self._amounts.append(value)
        elif kind is Kind.KEPT:
            self._told.update(tokens_of(value))
        return value

    def _change(self, place: Place, value: str) -> str:
        """The second time: what is to stand there."""
        nested = value_within(place, value, self._change)
        if nested is not None:
            return nested
        if _URL.fullmatch(value):
            return self._address(value)
        kind = self._kind(place, value)
        if not place.is_key:
            self._summary[kind][self._shown(place)] += 1
        if kind is Kind.AMOUNT:
            return scaled(value, self._factor)
        if kind is Kind.SECRET:
            return self._secret(value)
        if kind is Kind.KEPT:
            if looks_secret(value) and not place.is_key:
                self._suspect.append(Leak(self._shown(place), "what is kept of it looks like a secret"))
            return value
        changed = self._substitutes.of(value)
        return Number(changed) if isinstance(value, Number) else changed

    def _kind(self, place: Place, value: str) -> Kind:
        if any(secret in value for secret in self._secrets):
            return Kind.SECRET
        return self._kinds.of(place, value)

    def _shown(self, place: Place) -> str:
        """A field as it may be told: paths and names may hold ids."""
        parts = [*place.inside[-1:], place.name]
        shown = [self._asked.path(one) if one.startswith("/") else self._change_key(one) for one in parts]
        return ".".join(shown)

    def _change_key(self, name: str) -> str:
        kind = self._kinds.of(Place(name, is_key=True), name)
        return name if kind is Kind.KEPT else self._substitutes.of(name)

    def _secret(self, value: str) -> str:
        if isinstance(value, Number):
            return Number("0")
        made = f"not-the-real-one-{len(self._numbered) + 1}-"
        return self._numbered.setdefault(value, made.ljust(len(value), "z"))

    def _address(self, url: str) -> str:
        """An address of the broker's as one of whoever replays it; any other leads nowhere."""
        for role, base in sorted(self._session.hosts.items(), key=lambda one: -len(one[1])):
            if begins_with(url, base) or begins_with(url, self._moved(role, base, url)):
                rest = urlsplit(url)
                query = f"?{rest.query}" if rest.query else ""
                path = rest.path.removeprefix(urlsplit(base).path)
                return f"{{{{host:{role}}}}}" + self._asked.address(path + query)
        return ELSEWHERE

    def _moved(self, role: str, base: str, url: str) -> str:
        """The base URL where the role may have moved to the host of this address, as the manifest allows it."""
        host = urlsplit(url).hostname or ""
        patterns = self._manifest.host_patterns.get(role, ())
        allowed = any(fnmatchcase(host, pattern.lower()) for pattern in patterns)
        return f"{urlsplit(url).scheme}://{urlsplit(url).netloc}{urlsplit(base).path}" if allowed else base

    def _exchange(self, one: Exchanged, number: int) -> tuple[RecordedExchange, str]:
        content_type = one.answer_headers.get("content-type", "")
        text = _text(one)
        body = rewritten(text, self._change, (one.path,), content_type)
        if body is None:
            self._dropped.append(
                f"the body of answer {number}, {one.method} {self._asked.path(one.path)}, which is no JSON, XML or CSV"
            )
            body = ""
        body = self._redact(body) if self._secrets else body
        slug = self._substitutes.replaced(_slug(one.path), self._substitutes.knows)
        exchange = RecordedExchange(
            method=one.method,
            role=one.role,
            path=self._asked.path(one.path),
            query=tuple(self._asked.pairs(one.query)),
            headers=self._asked.headers(one.headers),
            body=self._asked.body(one.body, one.body_type),
            body_type=one.body_type,
            status=one.status,
            answer_headers=self._answer_headers(one),
            file=f"{number:03}-{slug}.{_ending(body)}",
        )
        return exchange, body

    def _answer_headers(self, one: Exchanged) -> dict[str, str]:
        kept = {}
        for name, value in one.answer_headers.items():
            if name in _DROPPED:
                self._summary[Kind.SECRET if "cookie" in name else Kind.PRIVATE][f"header {name}"] += 1
            elif name in _AS_THEY_ARE:
                kept[name] = value
            else:
                kept[name] = self._change(Place(name, (one.path,)), value)
        return kept

    def _fields(self, fields: Sequence[Field], values: Mapping[str, str]) -> dict[str, str]:
        """What the login is replayed with."""
        given = {}
        for field in fields:
            value = values.get(field.name)
            if value is None:
                continue
            if field.secret:
                given[field.name] = made_secret(field.name, value, field.pattern)
            else:
                given[field.name] = self._substitutes.of(value) if _is_replaced(field, value) else value
        return given


def _is_replaced(field: Field, value: str) -> bool:
    if field.secret or not value or value == field.default:
        return False
    return field.format not in ("choice", "date")


def _replayed_below(hosts: Mapping[str, str]) -> dict[str, str]:
    """Roles that share a base URL share their path, since nobody can say which of them a request was for."""
    by_base = {base: role for role, base in sorted(hosts.items())}
    return {role: f"/{by_base[base]}{urlsplit(base).path}" for role, base in hosts.items()}


def _text(one: Exchanged) -> str:
    return one.answer.decode("utf-8", "replace")


def _slug(path: str) -> str:
    return "-".join(re.findall(r"[A-Za-z]+", path)[-3:]).lower() or "root"


def _ending(body: str) -> str:
    head = body.lstrip()[:1]
    return "json" if head in ("{", "[") and head else "xml" if head == "<" else "txt"
