"""An Activity statement of Interactive Brokers, as a user downloads it: a fill, a fill with its cancel, an odd row."""

from __future__ import annotations

_FILL = {
    "accountId": "U7", "currency": "USD", "assetCategory": "STK", "symbol": "ACME", "conid": "11", "multiplier": "1",
    "dateTime": "20260302;100000", "tradeDate": "20260302", "ibCommissionCurrency": "USD", "ibCommission": "-1",
    "transactionType": "ExchTrade", "buySell": "BUY", "quantity": "100", "tradePrice": "10.5",
}  # fmt: skip
_ROWS = (
    _FILL | {"tradeID": "71", "transactionID": "801", "ibExecID": "0000aa.00000001.01.01"},
    _FILL | {"symbol": "GONE", "tradeID": "72", "transactionID": "802", "ibExecID": "0000aa.00000002.01.01"},
    _FILL | {"symbol": "GONE", "transactionType": "TradeCancel", "buySell": "BUY (Ca.)", "quantity": "-100",
             "origTradeID": "72", "origTransactionID": "802", "transactionID": "803"},
    _FILL | {"symbol": "ODD", "transactionType": "Unheard", "transactionID": "804", "tradeID": "74"},
)  # fmt: skip


def statement() -> bytes:
    body = "".join("<Trade " + " ".join(f'{name}="{value}"' for name, value in row.items()) + " />" for row in _ROWS)
    return (
        '<FlexQueryResponse queryName="q" type="AF"><FlexStatements count="1"><FlexStatement accountId="U7"'
        ' fromDate="20260302" toDate="20260306" period="" whenGenerated="20260307">'
        f"<Trades>{body}</Trades></FlexStatement></FlexStatements></FlexQueryResponse>"
    ).encode()
