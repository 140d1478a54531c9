"""What core itself keeps and reports."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import attrs

from brokersync.dispositions import Disposition
from brokersync.types import AuthResult, BrokerAccount, QuarantinedRow, TimeWindow, TradeBooking

_NONE: Mapping[str, int] = MappingProxyType({})
_NO_COUNTS: Mapping[str, str] = MappingProxyType({})


class ConnectionState(StrEnum):
    """`needs_user` asks the owner to act and is withdrawn when the login works again.

    `needs_operator`: a plugin or the configuration is wrong. `paused`: by the owner, until `resume`.
    """

    ACTIVE = "active"
    NEEDS_USER = "needs_user"
    NEEDS_OPERATOR = "needs_operator"
    PAUSED = "paused"


class SpanState(StrEnum):
    """`lost` can never be had any more; `unavailable` never existed at the broker."""

    FINAL = "final"
    PROVISIONAL = "provisional"
    LOST = "lost"
    UNAVAILABLE = "unavailable"


class ChangeKind(StrEnum):
    """What became of a trade's key. A trade that the broker cancels is modified, or added as a cancelled one."""

    ADDED = "added"
    MODIFIED = "modified"
    REMOVED = "removed"


class ChangeCause(StrEnum):
    """What made a change: the broker's answer, a correction, a late fee, a newer plugin, a file, or its erasure."""

    BROKER = "broker"
    CORRECTION = "correction"
    LATE_FEE = "late_fee"
    PLUGIN = "plugin"
    FILE = "file"
    ERASED = "erased"


@attrs.frozen(kw_only=True)
class Connection:
    """One configured login of an owner; credentials and tokens stand in its grant.

    `reason` says why it is in its `state`, and `remedy` what may be done. `next_at` is when it is to be synced next,
    and `deadline` until when, before history that vanishes is lost. `refusals` counts the doubtful refusals in a row
    since `doubted_since`, `logins_refused` those of the stored credentials since the login last worked, by whichever
    connection of the login they were sent, `failures` the syncs in a row since `failing_since` that got no answer,
    `logins` how often its user logged in again. Until `logs_in_from` another connection of the login tries it first.
    With `one_login` the grant serves the other environments too. `asked_before` are reason and remedy of a question to
    its user that was open when it was paused. The broker asked for silence until `silent_until`.
    """

    connection_id: str
    owner: str
    provider: str
    environment: str
    label: str
    identity: str
    created_at: datetime
    since: datetime | None = None
    state: ConnectionState = ConnectionState.ACTIVE
    reason: str | None = None
    remedy: str | None = None
    last_synced_at: datetime | None = None
    next_at: datetime | None = None
    deadline: datetime | None = None
    refusals: int = 0
    doubted_since: datetime | None = None
    logins_refused: int = 0
    logs_in_from: datetime | None = None
    failures: int = 0
    failing_since: datetime | None = None
    one_login: bool = False
    logins: int = 0
    asked_before: tuple[str, str] | None = None
    silent_until: datetime | None = None

    @property
    def grant_environment(self) -> str:
        """The environment of its grant; empty where one login serves them all."""
        return "" if self.one_login else self.environment


@attrs.frozen(kw_only=True)
class Lease:
    """The right of one worker to do something until `expires_at`.

    `fence` grows whenever the right passes on; what a former holder still wants to commit is refused by it.
    """

    name: str
    owner: str
    holder: str
    fence: int
    expires_at: datetime


@attrs.frozen(kw_only=True)
class Era:
    """The time between two erasings of an owner's history at a broker; what was begun in one is not written later."""

    owner: str
    provider: str
    mark: str


@attrs.frozen(kw_only=True)
class Grant:
    """The tokens of one login identity. `environment` is empty where one login serves all.

    `generation` grows with each replacement. `renewing_since` stays while an outcome is not known, `refused_since`
    while the refresh token is refused then. `taken_over`: fingerprints of foreign tokens; `made_at` in which `session`.
    """

    owner: str
    provider: str
    identity: str
    environment: str
    generation: int
    auth: AuthResult
    renewing_since: datetime | None = None
    refused_since: datetime | None = None
    taken_over: tuple[str, ...] = ()
    made_at: datetime | None = None
    session: Lease | None = None


@attrs.frozen(kw_only=True)
class AccountKey:
    """Where an account's history is kept, whoever connects to it."""

    owner: str
    provider: str
    environment: str
    account_id: str


@attrs.frozen(kw_only=True)
class Span:
    """A stretch of an account's history in one source, and what is known of it."""

    window: TimeWindow
    state: SpanState


@attrs.frozen(kw_only=True)
class OpenRequest:
    """A request that was begun and not finished: where to go on. `account` is empty when it is for the whole login.

    `begun_at` is when its first answer was asked for, for `accounts`, each as environment/id; `attempts` counts the
    syncs since that could not move it on; `gave_rows` says whether its pages held any. `counts` are those of the rows
    without an id before `cursor`, without which nobody goes on from there; `made_at` bounds what the rest proves.
    """

    connection_id: str
    source: str
    account: str
    window: TimeWindow
    cursor: str | None
    begun_at: datetime | None = None
    resume_at: datetime | None = None
    attempts: int = 0
    accounts: tuple[str, ...] | None = None
    gave_rows: bool = False
    counts: Mapping[str, str] = attrs.field(default=_NO_COUNTS, hash=False)
    made_at: datetime | None = None


@attrs.frozen(kw_only=True)
class FailedWindow:
    """A window whose request keeps failing: in how many syncs, and what was wrong the last time.

    In none where nothing is held against the window itself, but others are to be asked before its account is again; or
    where it is only not ready, and then `at` is when that was told first; or in a note of `sync/untold_notes.py`, where
    `failures` counts otherwise. `not_before` is the time until when the broker wants not to be asked.
    """

    window: TimeWindow
    failures: int
    reason: str
    at: datetime
    not_before: datetime | None = None


@attrs.frozen(kw_only=True)
class Change:
    """One entry of the feed; positions grow in the order of commit.

    With `merged_into` a removed key was found to be another trade's, which has what was known under it.
    """

    position: int
    kind: ChangeKind
    cause: ChangeCause
    key: AccountKey
    trade_id: str
    revision: int
    at: datetime
    merged_into: str | None = None


@attrs.frozen(kw_only=True)
class SpanReport:
    """What a sync asked of one source of one account, and what of it was proved."""

    source: str
    account_id: str
    environment: str
    requested: TimeWindow
    covered: tuple[TimeWindow, ...] = ()


@attrs.frozen(kw_only=True)
class LostSpan:
    """A span that a sync found to be lost in one source of one account, and how it can be had all the same."""

    source: str
    account_id: str
    environment: str
    window: TimeWindow
    repair: str


@attrs.frozen(kw_only=True)
class SyncReport:
    """What one sync did.

    `rows` counts the raw rows that were read, and `dispositions` what became of them: the counts add up to `rows`.
    `fetched` counts bookings read; `added`, `modified`, `removed` count trades; `unchanged` counts bookings that were
    known already. `waiting` counts the cancels whose target this sync did not bring. `requests`, `retries` and `waits`
    are the broker's part, `waited` the time spent waiting for it.
    """

    owner: str
    provider: str
    connection_id: str | None
    started_at: datetime
    duration: timedelta = timedelta(0)
    pages: int = 0
    rows: int = 0
    fetched: int = 0
    added: int = 0
    modified: int = 0
    removed: int = 0
    unchanged: int = 0
    quarantined: int = 0
    waiting: int = 0
    requests: int = 0
    retries: int = 0
    waits: int = 0
    waited: timedelta = timedelta(0)
    dispositions: Mapping[str, int] = _NONE
    spans: tuple[SpanReport, ...] = ()
    lost: tuple[LostSpan, ...] = ()
    skipped: Mapping[str, int] = _NONE
    unmapped: Mapping[str, int] = _NONE
    problems: tuple[Mapping[str, Any], ...] = ()


@attrs.frozen(kw_only=True)
class Done:
    """The sync read all that can be read now."""

    report: SyncReport


@attrs.frozen(kw_only=True)
class Deferred:
    """The sync stopped without holding a worker: go on `until` then. What was read is committed.

    With `for_all` no other connection of this process gets further at the broker before then.
    """

    until: datetime
    reason: str
    report: SyncReport
    for_all: bool = False


@attrs.frozen(kw_only=True)
class Disconnected:
    """What the end of a connection did: whether the broker was told, and how many accounts and trades were erased."""

    revoked: bool = False
    accounts: int = 0
    trades: int = 0


@attrs.frozen(kw_only=True)
class Forgotten:
    """How many rows of an owner went, per table, and where bytes of them may still be, in sentences."""

    rows: Mapping[str, int]
    remains: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Pruned:
    """How much was old enough to go: raw rows, reports of syncs, entries of the feed."""

    raw: int = 0
    logs: int = 0
    feed: int = 0


@attrs.frozen(kw_only=True)
class KeptBooking:
    """A booking as the store holds it; `version` counts the different contents its source gave for it.

    `as_of` is when the broker made what the content was read from, where it says so.
    """

    source: str
    precedence: int
    version: int
    booking: TradeBooking
    as_of: datetime | None = None


@attrs.frozen(kw_only=True)
class NumberedRow(QuarantinedRow):
    """One of several rows of a reading that are equal and have no id; the first of them needs no number."""

    number: int


@attrs.frozen(kw_only=True)
class PageCommit:
    """One page on its way into the store, with what follows from it for coverage and for going on.

    `next_request` replaces what is kept of the request, `ends_request` deletes it; with neither it stays as it is. What
    was begun of another window gives way to one that `begins`. `finished` is the window that ended with this page, so
    that the same round does not read it again; `again_from` says from when on that round reads what is covered, too.
    With a `lease` the page is committed only while that is held, and with an `era` while that lasts. `cause` is that of
    every change, where it is known before; `origin` says where the bookings were read, `as_of` when the broker made
    that, `alike` which of those that look the same one without an id is. `renewed` were read anew and stay as old.
    """

    owner: str
    provider: str
    source: str
    at: datetime
    cause: ChangeCause | None = None
    origin: Mapping[str, Any] = MappingProxyType({})
    as_of: datetime | None = None
    lease: Lease | None = None
    era: Era | None = None
    connection_id: str | None = None
    request_account: str = ""
    bookings: tuple[TradeBooking, ...] = ()
    alike: Mapping[str, int] = _NONE
    renewed: tuple[str, ...] = ()
    accounts: tuple[BrokerAccount, ...] = ()
    spans: tuple[tuple[AccountKey, Span], ...] = ()
    quarantined: tuple[QuarantinedRow, ...] = ()
    next_request: OpenRequest | None = None
    begins: bool = False
    ends_request: bool = False
    finished: TimeWindow | None = None
    again_from: datetime | None = None
    bookmark: str | None = None


@attrs.frozen(kw_only=True)
class PageOutcome:
    """What a page changed in the store; `dispositions` and `fates`: what each booking, in its order, did and became.

    `waiting` counts the cancels that wait for their target since this page, less those that waited and wait no more.
    `covered_before` is what the source had said of the accounts that the page speaks of, by environment/id.
    """

    added: int = 0
    modified: int = 0
    removed: int = 0
    unchanged: int = 0
    quarantined: int = 0
    waiting: int = 0
    dispositions: tuple[str, ...] = ()
    fates: tuple[Disposition, ...] = ()
    covered_before: Mapping[str, tuple[Span, ...]] = MappingProxyType({})
