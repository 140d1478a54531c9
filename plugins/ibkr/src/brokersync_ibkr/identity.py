"""Which ids a row has, and which of them it shares with the other rows of its execution."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from hashlib import sha256
from typing import NamedTuple

from brokersync.plugin import IdQuality
from brokersync_ibkr.instruments import RowError
from brokersync_ibkr.numbers import NULLS
from brokersync_ibkr.vocabulary import RowKind

_NO_ID = NULLS | {"0"}
_LONGEST_REVISION = 3
_ROW = "row:"


class RowIds(NamedTuple):
    """The identity of one row, in the contract's terms."""

    booking_id: str
    trade_id: str
    aliases: tuple[str, ...]
    refs: tuple[str, ...]
    loose_refs: tuple[str, ...]
    order: tuple[int, ...]
    quality: IdQuality

    @property
    def is_of_content(self) -> bool:
        """Whether nothing but what the row says tells it from others."""
        return self.booking_id.startswith(_ROW)

    def booked_on(self, day: date) -> RowIds:
        """The ids of a row that its content alone does not place: equal ones of other days stand in other windows."""
        end = "@" + day.isoformat()
        name = self.booking_id + end
        return self._replace(
            booking_id=name,
            trade_id=name if self.trade_id == self.booking_id else self.trade_id,
            loose_refs=tuple([ref + end if ref.startswith(_ROW) else ref for ref in self.loose_refs]),
        )


class Content(NamedTuple):
    """What a correction of a row's fees or texts leaves as it is, in one spelling whatever the query's formats."""

    account_id: str
    contract: str | None
    symbol: str
    at: datetime
    quantity: Decimal
    price: Decimal

    def key(self) -> str:
        return self._key(self.contract or self.symbol)

    def key_without_contract(self) -> tuple[str, ...]:
        """What it is called where a query does not tell its contract's number."""
        return (self._key(self.symbol),) if self.contract else ()

    def _key(self, contract: str) -> str:
        told = (self.account_id, contract, self.at.isoformat(), plain(self.quantity), plain(self.price))
        return _ROW + sha256("\n".join(told).encode()).hexdigest()[:32]

    def trade_row(self, trade: str, quantity: Decimal) -> str:
        """A row of a trade where no id of its own tells it from the trade's other rows.

        Without the contract: one query names it by number, another one by symbol.
        """
        return f"tr:{trade}:{plain(quantity)}:{plain(self.price)}"

    def cancel_key(self, trade: str) -> str:
        """A cancel of which nothing tells more than the trade that it takes back."""
        return f"ca:tr:{trade}:{plain(self.quantity)}:{plain(self.price)}"

    def fraction_refs(self) -> tuple[str, ...]:
        """What a fraction's payment and its cancel have in common; they share no id."""
        told = (self.at.isoformat(), plain(abs(self.quantity)), plain(self.price))
        contracts = dict.fromkeys(filter(None, (self.contract, self.symbol)))
        return tuple(":".join(("frac", self.account_id, contract, *told)) for contract in contracts)


def ids_of(fields: Mapping[str, str], kind: RowKind, content: Content) -> RowIds:
    """The ids of a row with the attributes of an Activity statement."""
    return _ids_of_cancel(fields, kind, content) if kind.cancels else _ids_of_trade(fields, kind, content)


def _ids_of_trade(fields: Mapping[str, str], kind: RowKind, content: Content) -> RowIds:
    transaction, execution, trade = _id(fields, "transactionID"), _id(fields, "ibExecID"), _id(fields, "tradeID")
    # a row that is booked anew without an execution id comes behind the first of its trade, as its transaction id says
    base, revision = split_execution_id(execution) if execution else (None, 1)
    refs = _refs(fields, kind, base, trade)
    loose = content.fraction_refs() if kind.of_fraction else ()
    row_of_trade = content.trade_row(trade, content.quantity) if trade else None
    if base and trade and "trade:" + trade not in refs:
        # two executions were seen under one trade id; a cancel or a row that has only the trade id still finds its own
        loose = (*loose, "trade:" + trade)
    aliases: tuple[str, ...] = ()
    quality = IdQuality.BROKER
    if transaction:
        booking_id = "tx:" + transaction
        aliases = ("ex:" + execution,) if execution else ()
    elif execution:
        booking_id = "ex:" + execution
    elif row_of_trade:
        booking_id = row_of_trade
    else:
        booking_id, quality = content.key(), IdQuality.SYNTHETIC
        loose = (*loose, *content.key_without_contract())
    if row_of_trade:
        # what tells the row from the trade's others is its own name only where it has no execution id
        if base:
            loose = (*loose, row_of_trade)
        elif transaction:
            aliases = (*aliases, row_of_trade)
    return RowIds(
        booking_id, refs[0] if refs else booking_id, aliases, refs, loose, _order(revision, transaction), quality
    )


def _ids_of_cancel(fields: Mapping[str, str], kind: RowKind, content: Content) -> RowIds:
    """The ids of a cancel, which has one of its own in Activity statements only: else what it takes back names it."""
    transaction, execution, trade = _id(fields, "transactionID"), _id(fields, "ibExecID"), _id(fields, "tradeID")
    booked, original = _id(fields, "origTransactionID"), _id(fields, "origTradeID") or trade
    base, revision = split_execution_id(execution) if execution else (None, 0)
    refs = _refs(fields, kind, base, trade)
    if original:
        refs = (*refs, content.trade_row(original, content.quantity.copy_negate()))
    loose = content.fraction_refs() if kind.of_fraction else ()
    if base and trade and "trade:" + trade not in refs:
        loose = (*loose, "trade:" + trade)
    # a cancel may repeat the execution id of what it takes back
    told = (("tx:", transaction), ("ca:tx:", booked), ("ca:ex:", execution))
    names = tuple(prefix + text for prefix, text in told if text)
    quality = IdQuality.BROKER
    if not names:
        # a trade that was booked anew may be taken back again, so equal ones are counted
        names, quality = (content.cancel_key(original) if original else content.key(),), IdQuality.SYNTHETIC
        loose = loose if original else (*loose, *content.key_without_contract())
    return RowIds(names[0], names[0], names[1:], refs, loose, _order(revision, transaction), quality)


def refuse_unsure(ids: RowIds) -> None:
    """Raise `RowError` for a row that only its symbol tells from others; other queries tell its contract's number."""
    error = RowError("it has no id, and no number of its contract to be known by: tick Conid in the query")
    error.row_id = ids.booking_id
    raise error


def _order(revision: int, transaction: str | None) -> tuple[int, ...]:
    return revision, int(transaction) if transaction and transaction.isdecimal() else 0


def named(fields: Mapping[str, str]) -> str | None:
    """The booking id of a row by an id that is its own alone; the others need more of the row than that."""
    transaction, execution = _id(fields, "transactionID"), _id(fields, "ibExecID")
    return "tx:" + transaction if transaction else "ex:" + execution if execution else None


def split_execution_id(execution: str) -> tuple[str, int]:
    """An execution id without its last part, and that part: it counts the revisions of one execution."""
    head, _, last = execution.rpartition(".")
    if "." in head and last.isdecimal() and len(last) <= _LONGEST_REVISION:
        return head, int(last)
    return execution, 0


def _refs(fields: Mapping[str, str], kind: RowKind, base: str | None, trade: str | None) -> tuple[str, ...]:
    refs = ["exec:" + base] if base else []
    if trade and not base:
        refs.append("trade:" + trade)
    if kind.cancels or kind is RowKind.CORRECTION:
        original, transaction = _id(fields, "origTradeID"), _id(fields, "origTransactionID")
        if original and original != trade:
            refs.append("trade:" + original)
        if transaction:
            refs.append("tx:" + transaction)
    return tuple(refs)


def _id(fields: Mapping[str, str], name: str) -> str | None:
    text = fields.get(name)
    return None if text is None or text in _NO_ID else text


def plain(value: Decimal) -> str:
    """One spelling for equal numbers: `1`, `1.0` and `1.00` are the same quantity."""
    if not value:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
