"""What Tradovate publishes of its API, as far as brokersync asks it: operations, names, types, what is required.

The facts are those of the OpenAPI description at partner.tradovate.com/openapi.json (retrieved on 21 August 2026, 350
operations, SHA-256 beginning 37caeccf4b09), as kept in github.com/SharurTrading/tradovate-rs, spec/official. They are
written down here in words of our own, and by nobody who looked at the plugin's sandbox. What differs from it:

* `cid` is text in the description and a number in every example of the broker's, so both are taken.
* every `id` is optional there, since the same shapes create entities; what is listed has one.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

_STATUS = "Active|Closed|Initiated|TemporaryLocked|UnconfirmedEmail"

# name:type, with ? behind what may be absent
SHAPES: Mapping[str, str] = {
    "AccessTokenRequest": """
        hibpCheck:bool? name:str password:str appId:str? appVersion:str? deviceId:str? cid:str|i64? sec:str?
        """,
    "AccessTokenResponse": f"""
        errorText:str? hibpHint:EmailAndPasswordCompromised|PasswordCompromised? accessToken:str? expirationTime:dt?
        passwordExpirationTime:dt? userStatus:{_STATUS}? userId:i64? name:str? hasLive:bool? hasSimPlus:bool?
        showKIDs:bool?
        """,
    "Account": """
        id:i64 name:str userId:i64 accountType:Customer|Employee|Giveup|House|Omnibus|Wash restricted:bool? closed:bool?
        clearingHouseId:i64 riskCategoryId:i64 autoLiqProfileId:i64 marginAccountType:Hedger|Speculator
        legalStatus:Corporation|GP|IRA|Individual|Joint|LLC|LLP|LP|PTR|Trust timestamp:dt evaluationSize:f64?
        readonly:bool? ccEmail:str? futuresDisabled:bool? swapEnabled:bool? ssfRiskDisclosureAcknowledgment:dt?
        spotMarginEnabled:bool?
        """,
    "Contract": "id:i64 name:str contractMaturityId:i64 timestamp:dt",
    "ContractMaturity": """
        id:i64 productId:i64 expirationMonth:i32 expirationDate:dt firstIntentDate:dt? underlyingId:i64? isFront:bool
        kalshiEventId:i64?
        """,
    "Currency": "id:i64 name:str symbol:str?",
    "Fill": """
        id:i64 orderId:i64 contractId:i64 timestamp:dt tradeDate:day action:Buy|Sell qty:i32 price:f64 active:bool
        finallyPaired:i32
        """,
    "FillFee": """
        id:i64 clearingFee:f64? clearingCurrencyId:i64? exchangeFee:f64? exchangeCurrencyId:i64? nfaFee:f64?
        nfaCurrencyId:i64? brokerageFee:f64? brokerageCurrencyId:i64? ipFee:f64? ipCurrencyId:i64? commission:f64?
        commissionCurrencyId:i64? orderRoutingFee:f64? orderRoutingCurrencyId:i64?
        """,
    "OAuthMeResponse": """
        errorText:str? userId:i64? name:str? fullName:str? email:str? emailVerified:bool? isTrial:bool?
        organizationName:str? currentAccountPlan:str? currentBalance:f64?
        """,
    "Order": """
        id:i64 accountId:i64 contractId:i64? spreadDefinitionId:i64? timestamp:dt action:Buy|Sell
        ordStatus:Canceled|Completed|Expired|Filled|PendingCancel|PendingNew|PendingReplace|Rejected|Suspended|Unknown|Working
        executionProviderId:i64? ocoId:i64? parentId:i64? linkedId:i64? admin:bool
        """,
    "Product": """
        id:i64 name:str currencyId:i64
        productType:CommonStock|Continuous|Cryptocurrency|Futures|MarketInternals|Options|Spread|Swap description:str
        exchangeId:i64 contractGroupId:i64 riskDiscountContractGroupId:i64?
        status:Inactive|Locked|ReadyForContracts|ReadyToTrade|Verified months:str? isSecured:bool? valuePerPoint:f64
        priceFormatType:Decimal|Fractional priceFormat:i32 tickSize:f64 postTradeCategoryId:i64?
        """,
    "User": f"""
        id:i64 name:str timestamp:dt email:str status:{_STATUS} professional:bool organizationId:i64?
        introducingPartnerId:i64?
        """,
}


@attrs.frozen
class Name:
    """One name of a shape."""

    name: str
    kind: str
    required: bool


@attrs.frozen
class Operation:
    """One operation: what it takes and gives, the names of shapes; `[...]` is a list of them."""

    gives: str
    body: str | None = None
    query: Mapping[str, str] = {}


# by method and path, which are the same in any case
OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("POST", "/auth/accesstokenrequest"): Operation("AccessTokenResponse", body="AccessTokenRequest"),
    ("GET", "/auth/renewaccesstoken"): Operation("AccessTokenResponse"),
    ("GET", "/auth/me"): Operation("OAuthMeResponse"),
    ("GET", "/user/list"): Operation("[User]"),
    ("GET", "/account/list"): Operation("[Account]"),
    ("GET", "/fill/list"): Operation("[Fill]"),
    ("GET", "/fillfee/list"): Operation("[FillFee]"),
    ("GET", "/order/list"): Operation("[Order]"),
    ("GET", "/order/items"): Operation("[Order]", query={"ids": "i64s"}),
    ("GET", "/contract/items"): Operation("[Contract]", query={"ids": "i64s"}),
    ("GET", "/contractmaturity/items"): Operation("[ContractMaturity]", query={"ids": "i64s"}),
    ("GET", "/product/items"): Operation("[Product]", query={"ids": "i64s"}),
    ("GET", "/currency/list"): Operation("[Currency]"),
}


def names(shape: str) -> tuple[Name, ...]:
    """The names of a shape, in the published order."""
    told = (word.partition(":") for word in SHAPES[shape].split())
    return tuple(Name(name, kind.removesuffix("?"), not kind.endswith("?")) for name, _, kind in told)
