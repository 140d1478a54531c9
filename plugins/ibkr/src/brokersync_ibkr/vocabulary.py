"""IBKR's words: row elements, attributes, transaction types, asset categories and note codes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import Final

from brokersync.plugin import AssetClass, BookingEffect, TradeEvent


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ACTIVITY_TYPE: Final = "AF"
CONFIRMATION_TYPE: Final = "TCF"

# what a query of each type is called, and the field that the user gives its id in
QUERIES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        ACTIVITY_TYPE: ("Activity", "activity_query_id"),
        CONFIRMATION_TYPE: ("Trade Confirmation", "confirmations_query_id"),
    }
)

TRADE_SECTIONS: Final = frozenset({"Trades", "TradeConfirms"})
FILL_ELEMENTS: Final = frozenset({"Trade", "TradeConfirm"})
# cash rows that change what trades have cost; they name none, so they are costs of the account
CASH_SECTION: Final = "CashTransactions"
COST_ADJUSTMENTS: Final = frozenset({"Commission Adjustments", "Other Fees"})
# sums and tax lots that stand beside the fills with the same attributes
SUMMARY_ELEMENTS: Final = frozenset({"Order", "Lot", "WashSale", "SymbolSummary", "AssetSummary"})
FILL_LEVEL: Final = "EXECUTION"
SUMMARY_LEVELS: Final = frozenset({"ORDER", "CLOSED_LOT", "WASH_SALE", "SYMBOL_SUMMARY", "ASSET_SUMMARY"})


class RowKind(Enum):
    """What a fill row does."""

    TRADE = auto()
    BOOK = auto()
    CORRECTION = auto()
    FRACTION = auto()
    CANCEL = auto()
    FRACTION_CANCEL = auto()

    def __init__(self, _: object) -> None:
        self.cancels = self.name.endswith("CANCEL")
        self.of_fraction = self.name.startswith("FRACTION")
        self.effect = BookingEffect.NEW
        if self.cancels:
            self.effect = BookingEffect.CANCEL
        elif self.name == "CORRECTION":
            self.effect = BookingEffect.REPLACE


ROW_KINDS: Final[Mapping[str | None, RowKind]] = MappingProxyType(
    {
        None: RowKind.TRADE,
        "ExchTrade": RowKind.TRADE,
        "DvpTrade": RowKind.TRADE,
        "BookTrade": RowKind.BOOK,
        "TradeCorrect": RowKind.CORRECTION,
        "FracShare": RowKind.FRACTION,
        "TradeCancel": RowKind.CANCEL,
        "FracShareCancel": RowKind.FRACTION_CANCEL,
    }
)

ASSET_CLASSES: Final[Mapping[str, AssetClass]] = MappingProxyType(
    {
        "STK": AssetClass.STOCK,
        "OPT": AssetClass.OPTION,
        "FSOPT": AssetClass.OPTION,
        "FUT": AssetClass.FUTURE,
        "FOP": AssetClass.FUTURE_OPTION,
        "FSFOP": AssetClass.FUTURE_OPTION,
        "CASH": AssetClass.FOREX,
        "FXCFD": AssetClass.FOREX,
        "BOND": AssetClass.BOND,
        "BILL": AssetClass.BOND,
        "CFD": AssetClass.CFD,
        "FUND": AssetClass.FUND,
        "WAR": AssetClass.WARRANT,
        "IOPT": AssetClass.WARRANT,
        "CRYPTO": AssetClass.CRYPTO,
        "CMDTY": AssetClass.METAL,
    }
)
DERIVATIVES: Final = frozenset(
    {
        AssetClass.OPTION,
        AssetClass.FUTURE,
        AssetClass.FUTURE_OPTION,
        AssetClass.CFD,
        AssetClass.WARRANT,
        AssetClass.OTHER,
    }
)
OPTION_CATEGORIES: Final = frozenset({"OPT", "FSOPT", "FOP", "FSFOP"})
# only here is netCash the cash of the trade: elsewhere it is zero, variation margin or the commission alone
CASH_SETTLED_CATEGORIES: Final = frozenset({"STK", "OPT", "FOP", "WAR", "IOPT", "BOND", "BILL", "FUND"})

# note codes are case-sensitive; an event's code wins over those after it
EVENT_CODES: Final[tuple[tuple[str, TradeEvent], ...]] = (
    ("Ep", TradeEvent.EXPIRATION),
    ("Ex", TradeEvent.EXERCISE),
    ("AEx", TradeEvent.EXERCISE),
    ("MEx", TradeEvent.EXERCISE),
    ("A", TradeEvent.ASSIGNMENT),
    ("LF", TradeEvent.LIQUIDATION),
    ("L", TradeEvent.LIQUIDATION),
    ("T", TradeEvent.TRANSFER),
)
TAG_CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "P": "partial",
        "AFx": "auto_fx",
        "R": "dividend_reinvestment",
        "RI": "recurring_investment",
        "FP": "fractional",
        "RP": "fractional",
        "L": "margin_liquidation",
        "LF": "loss_flattening",
        "GEA": "offsetting_positions",
        "Co": "corrected",
        "M": "manual_entry",
        "B": "buy_in",
        "Al": "allocation",
        "Aw": "away_trade",
        "ETF": "etf_creation_redemption",
    }
)
KNOWN_CODES: Final = (
    frozenset(code for code, _ in EVENT_CODES)
    | frozenset(TAG_CODES)
    | _words("ADR Adj Bo C CD CP Ca Cx D G HC HFI HFR I IA INV LD LI LT Lo ML MLG MLL MSG MSL O PI Po Pr RED Re Ri SI")
    | _words("SL SO SS ST SY")
)
# executions that IBKR makes itself to convert currencies carry one of these in front of their id
AUTO_FX_PREFIXES: Final = ("CUSTHSFX.", "FXSMLCUS.")

# what a Trade Confirmation calls differently from an Activity statement
CONFIRMATION_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "execID": "ibExecID",
        "orderID": "ibOrderID",
        "price": "tradePrice",
        "amount": "tradeMoney",
        "commission": "ibCommission",
        "commissionCurrency": "ibCommissionCurrency",
        "tax": "taxes",
        "code": "notes",
        "settleDate": "settleDateTarget",
    }
)

# without these ids two statements may tell one trade and nobody could know; under the names of Client Portal. A book
# entry has no execution id, and a confirmation no transaction id
ACTIVITY_IDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"Trade ID": ("tradeID",), "Transaction ID": ("transactionID",)}
)
CONFIRMATION_IDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"Trade ID": ("tradeID",), "Exec ID": ("execID", "ibExecID")}
)

DATE_ATTRIBUTES: Final = (
    "dateTime",
    "tradeDate",
    "reportDate",
    "settleDateTarget",
    "settleDate",
    "expiry",
    "orderTime",
    "openDateTime",
    "origTradeDate",
)

_INSTRUMENT_ATTRIBUTES = """
    assetCategory subCategory symbol description conid securityID securityIDType cusip isin figi sedol listingExchange
    underlyingConid underlyingSymbol underlyingSecurityID underlyingListingExchange issuer issuerCountryCode multiplier
    strike expiry putCall principalAdjustFactor serialNumber deliveryType commodityType fineness weight
"""
_ROW_ATTRIBUTES = """
        accountId acctAlias model currency tradeID reportDate tradeDate tradeTime dateTime orderTime
    transactionType exchange     buySell quantity proceeds netCash netCashInBase netCashWithBillable taxes
    closePrice openCloseIndicator origTradePrice     origTradeDate origTradeID origOrderID origTransactionID
    clearingFirmID transactionID brokerageOrderID orderReference     volatilityOrderLink exchOrderId extExecID
    openDateTime holdingPeriodDateTime whenRealized whenReopened levelOfDetail     changeInPrice
    changeInQuantity orderType traderID isAPIOrder accruedInt relatedTradeID relatedTransactionID rtn
    initialInvestment positionActionID settleDateTarget fxRateToBase
"""
_ACTIVITY_ATTRIBUTES = """
    tradePrice tradeMoney ibCommission ibCommissionCurrency cost fifoPnlRealized capitalGainsPnl fxPnl mtmPnl notes
    ibOrderID ibExecID
"""
_CONFIRMATION_ATTRIBUTES = """
    execID orderID price amount commission commissionCurrency tax salesTax tradeCharge otherTax code settleDate blockID
    allocatedTo rfqID brokerExecutionCommission brokerClearingCommission thirdPartyExecutionCommission
    thirdPartyClearingCommission thirdPartyRegulatoryCommission otherCommission
"""
KNOWN_ATTRIBUTES: Final = _words(
    _INSTRUMENT_ATTRIBUTES + _ROW_ATTRIBUTES + _ACTIVITY_ATTRIBUTES + _CONFIRMATION_ATTRIBUTES
)

KNOWN_SECTIONS: Final = TRADE_SECTIONS | _words(
    """
    AccountInformation Adjustments CFDCharges CashReport CashTransactions ChangeInDividendAccruals ChangeInNAV
    ChangeInPositionValues ClientFees ClientFeesDetail CommissionCredits ComplexPositions ConversionRates
    CorporateActions DebitCardActivities DepositsOnHold EquitySummaryInBase FIFOPerformanceSummaryInBase
    FdicInsuredDepositsByBank FxLots FxPositions FxTransactions HKIPOOpenSubscriptions HKIPOSubscriptionActivity
    HardToBorrowDetails HardToBorrowMarkupDetails IBGNoteTransactions IncentiveCouponAccrualDetails InterestAccruals
    MTDYTDPerformanceSummary MTMPerformanceSummaryInBase NetStockPositionSummary OpenDividendAccruals OpenPositions
    OptionEAE PendingExcercises PriorPeriodPositions RoutingCommissions SLBActivities SLBCollaterals SLBFees
    SLBOpenContracts SalesTaxes SecuritiesInfo SoftDollars StmtFunds StockGrantActivities TierInterestDetails
    TradeTransfers TransactionTaxes Transfers UnbookedTrades UnbundledCommissionDetails UnsettledTransfers
    """
)
