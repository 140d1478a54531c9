"""One page's transaction: lease, accounts, bookings and trades, quarantine, coverage, cursor, feed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial, reduce

from brokersync.records import PageCommit, PageOutcome, Span
from brokersync.store.accounts import Names, describe, link, numbers_of
from brokersync.store.booking import BookedPage, book
from brokersync.store.coverage import change_coverage, make_way
from brokersync.store.eras import check_era
from brokersync.store.feed import publish
from brokersync.store.leases import check_lease
from brokersync.store.protocol import PageRules
from brokersync.store.quarantine import put_in_quarantine
from brokersync.store.rows import made_at, request_text, sortable
from brokersync.store.sql import Put, Script, execute

_REQUEST = ("connection_id", "source", "account")


def commit_page(page: PageCommit, rules: PageRules) -> Script[PageOutcome]:
    """Everything of one page; the driver opened the transaction and ends it.

    Raises `LeaseLostError` and `ErasedError`.
    """
    yield from check_era(page.era)
    if page.lease is not None:
        yield from check_lease(page.lease)
    numbers = yield from _account_numbers(page)
    booked = yield from book(page, rules, numbers)
    quarantined = yield from put_in_quarantine(page)
    covered_before = yield from _cover(page, rules, numbers)
    if page.connection_id is not None:
        yield from _keep_request(page, rules, (page.connection_id, page.source, page.request_account))
    # last: from here on other writers of the feed wait for the end of this transaction
    yield from publish(page.owner, page.at, booked.changes)
    return _outcome(booked, quarantined, covered_before)


def _outcome(booked: BookedPage, quarantined: int, covered_before: Mapping[str, tuple[Span, ...]]) -> PageOutcome:
    return PageOutcome(
        added=booked.count("added"),
        modified=booked.count("modified"),
        removed=booked.count("removed"),
        unchanged=booked.unchanged,
        quarantined=quarantined,
        waiting=booked.waiting,
        dispositions=booked.dispositions,
        fates=booked.fates,
        covered_before=covered_before,
    )


def _account_numbers(page: PageCommit) -> Script[dict[Names, int]]:
    told = {(account.environment, account.account_id): account for account in page.accounts}
    booked = {(booking.environment, booking.account_id) for booking in page.bookings}
    covered = {(key.environment, key.account_id) for key, _ in page.spans}
    numbers = yield from numbers_of(page.owner, page.provider, {*told, *booked, *covered})
    yield from describe(numbers, told, made_at(page))
    if page.connection_id is not None and numbers:
        yield from link(page.connection_id, numbers.values())
    return numbers


def _cover(page: PageCommit, rules: PageRules, numbers: Mapping[Names, int]) -> Script[dict[str, tuple[Span, ...]]]:
    spans: dict[Names, list[Span]] = {}
    for key, span in page.spans:
        spans.setdefault((key.environment, key.account_id), []).append(span)
    known: dict[str, tuple[Span, ...]] = {}
    for name, new in spans.items():
        cover = partial(reduce, rules.cover, new)
        known["/".join(name)] = yield from change_coverage(numbers[name], page.source, cover)
    return known


def _keep_request(page: PageCommit, rules: PageRules, key: tuple[str, str, str]) -> Script[None]:
    if page.begins and (window := page.next_request.window if page.next_request else page.finished):
        yield from make_way(*key, window, rules.reopen)
    if page.ends_request:
        yield from execute("DELETE FROM open_requests WHERE connection_id = ? AND source = ? AND account = ?", *key)
        if page.finished is not None:
            starts, ends = sortable(page.finished.start), sortable(page.finished.end)
            yield Put(
                "finished_windows",
                (*_REQUEST, "starts", "ends", "at", "again_from"),
                [(*key, starts, ends, sortable(page.at), page.again_from and sortable(page.again_from))],
                key=(*_REQUEST, "starts"),
                replace=True,
            )
    elif page.next_request is not None:
        row = (*key, request_text(page.next_request))
        yield Put("open_requests", (*_REQUEST, "data"), [row], key=_REQUEST, replace=True)
    if page.bookmark is not None:
        row = (*key, page.bookmark)
        yield Put("bookmarks", (*_REQUEST, "bookmark"), [row], key=_REQUEST, replace=True)
