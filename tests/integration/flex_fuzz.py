"""Flex documents of random content in random XML: whatever a writer of XML may do without changing what it says."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from xml.sax.saxutils import quoteattr

import attrs

_PLAIN_TEXT = "ABCDEFGHIJKLMNOPQRSTUVWXYZ abcdefghijklmnopqrstuvwxyz0123456789.,;:/-+()*'\"&<>\n\t"
_FOREIGN_TEXT = "äöüßéñçÆ"
_WIDE_TEXT = "株式会社Ωж€\U0001f4b9"
_BLANKS = ("", " ", "\n", "\r\n", "\t", "\r", " \n  ")
_ENCODINGS = {
    "utf-8": _FOREIGN_TEXT + _WIDE_TEXT,
    "utf-8-sig": _FOREIGN_TEXT + _WIDE_TEXT,
    "utf-16": _FOREIGN_TEXT + _WIDE_TEXT,
    "iso-8859-1": _FOREIGN_TEXT,
    "windows-1252": _FOREIGN_TEXT + "€",
    "us-ascii": "",
}
_CATEGORIES = (
    *("STK", "STK", "STK", "STK", "OPT", "OPT", "OPT", "FUT", "FOP", "FSOPT", "CASH", "CFD", "FXCFD", "BOND", "BILL"),
    *("FUND", "WAR", "IOPT", "CRYPTO", "CMDTY", "MOON"),
)
_KINDS = (
    *("ExchTrade", "ExchTrade", "ExchTrade", "ExchTrade", "BookTrade", "DvpTrade"),
    *("TradeCancel", "TradeCorrect", "FracShare", "FracShareCancel"),
)
_CODES = (
    *("P", "O", "C", "A", "Ca", "Ep", "Ex", "L", "LF", "ML", "AFx", "D", "R", "RI", "Ri", "FP", "RP", "T", "Co"),
    *("GEA", "Zz"),
)
_UNKNOWN = ("initialInvestment", "somethingNew", "another.new-one", "größe")
_SUMS = ("Order", "Lot", "SymbolSummary", "AssetSummary", "WashSale", "Brand-New")


@attrs.frozen
class Fuzzed:
    """A document, and how it was written down."""

    text: str
    encoding: str

    @property
    def body(self) -> bytes:
        return self.text.encode(self.encoding)


class FuzzedDocuments:
    """Makes documents; `chance` alone decides what comes."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._letters = ""
        self._date, self._time, self._between = "", "", ""
        self._kind = ""

    def document(self, rows: int) -> Fuzzed:
        """A document with about so many rows in its trades sections."""
        chance = self._chance
        encoding = chance.choice(list(_ENCODINGS))
        self._letters = _ENCODINGS[encoding]
        self._date = chance.choice(["%Y%m%d", "%Y-%m-%d", "%d-%b-%y"])
        self._time = chance.choice(["%H%M%S", "%H:%M:%S"])
        self._between = chance.choice([";", ",", " ", ", ", ""])
        self._kind = chance.choice(["AF", "AF", "TCF"])
        statements = []
        while rows > 0:
            some = chance.randint(1, rows)
            statements.append(self._statement(some))
            rows -= some
        inside = self._blank().join(statements)
        declared = {"utf-8-sig": "UTF-8", "utf-16": "UTF-16"}.get(encoding, encoding.upper())
        prolog = f'<?xml version="1.0" encoding="{declared}"?>' if encoding != "utf-8" or chance.random() < 0.5 else ""
        text = (
            f'{prolog}{self._blank()}{self._odd()}<FlexQueryResponse queryName="fuzz" type="{self._kind}">'
            f'<FlexStatements count="7">{inside}</FlexStatements></FlexQueryResponse>{self._blank()}{self._odd()}'
        )
        return Fuzzed(text, encoding)

    def _statement(self, rows: int) -> str:
        head = self._element(
            "FlexStatement",
            {"accountId": "U4711001", "fromDate": "20240102", "toDate": "20241231", "whenGenerated": "20250103;060000"},
            closed=False,
        )
        confirmations = self._kind == "TCF"
        section = "TradeConfirms" if confirmations else "Trades"
        made = [self._row(confirmations) for _ in range(rows)]
        inside = "".join(row + self._blank() + self._odd() for row in made)
        others = "<CashTransactions><CashTransaction amount='1' /></CashTransactions>" * self._chance.randrange(2)
        return f"{head}{others}<{section}{self._some(' ')}>{self._blank()}{inside}</{section}>{others}</FlexStatement>"

    def _row(self, confirmation: bool) -> str:
        chance = self._chance
        if chance.random() < 0.1:
            return self._element(chance.choice(_SUMS), self._values(confirmation) | {"levelOfDetail": "SUM"})
        values = self._values(confirmation)
        values["levelOfDetail"] = chance.choice(["EXECUTION", "EXECUTION", "", "ORDER"])
        for name in _UNKNOWN:
            if chance.random() < 0.05 and name.isascii():
                values[name] = self._text()
        for name in list(values):
            if name not in ("accountId", "tradeID", "transactionID", "execID") and chance.random() < 0.03:
                del values[name]
        return self._element("TradeConfirm" if confirmation else "Trade", values)

    def _values(self, confirmation: bool) -> dict[str, str]:
        chance = self._chance
        kind = chance.choice(_KINDS)
        quantity = self._number()
        side = "SELL" if quantity.startswith("-") else "BUY"
        cancelled = " (Ca.)" if kind.endswith("Cancel") and chance.random() < 0.5 else ""
        day = date(2024, 1, 2) + timedelta(days=chance.randrange(360))
        at = datetime(day.year, day.month, day.day, chance.randrange(24), chance.randrange(60), chance.randrange(60))
        category = chance.choice(_CATEGORIES)
        option = "OP" in category
        ids = [str(chance.randrange(10**9, 10**11)) for _ in range(4)]
        values = {
            "accountId": chance.choice(["U4711001", "U4711001", "DU815", "U4711001F"]),
            "currency": chance.choice(["USD", "EUR", "JPY"]),
            "assetCategory": category,
            "subCategory": chance.choice(["", "ETF", "COMMON"]),
            "symbol": self._text(),
            "description": self._text(),
            "conid": chance.choice(["", ids[3], ids[3]]),
            "isin": chance.choice(["", "US9SBX001003"]),
            "securityID": "594918104",
            "securityIDType": chance.choice(["", "CUSIP", "ISIN"]),
            "listingExchange": chance.choice(["", "--", "NYSE"]),
            "underlyingSymbol": chance.choice(["", self._text()]),
            "multiplier": chance.choice(["1", "100", "0.1", "", "0", "1,000"]),
            "strike": self._number().lstrip("-") if option else chance.choice(["", "0"]),
            "expiry": self._day(day) if option or category == "FUT" else "",
            "putCall": chance.choice("CP") if option else "",
            "tradeID": ids[0],
            "transactionID": ids[1],
            "ibExecID": chance.choice(["", f"{chance.randrange(16**8):08x}.{chance.randrange(16**8):08x}.01.01"]),
            "ibOrderID": chance.choice([ids[2], ids[1], "0", ""]),
            "origTradeID": "" if kind == "ExchTrade" else ids[2],
            "reportDate": self._day(day),
            "tradeDate": chance.choice([self._day(day), self._day(day + timedelta(days=1)), ""]),
            "dateTime": self._moment(at),
            "transactionType": kind,
            "exchange": chance.choice(["ARCA", "--"]),
            "buySell": side + cancelled,
            "quantity": quantity,
            "tradePrice": self._number().lstrip("-"),
            "taxes": chance.choice(["0", "", "-0.35", "N/A"]),
            "ibCommission": chance.choice(["-1", "0.0021", "", "0", "-1,234.5", self._number()]),
            "ibCommissionCurrency": chance.choice(["USD", "EUR"]),
            "netCash": self._number(),
            "openCloseIndicator": chance.choice(["O", "C", "C;O", "", "-", "?"]),
            "notes": chance.choice([";", ","]).join(chance.sample(_CODES, chance.randrange(4))),
            "accruedInt": chance.choice(["0", "", "-12.5"]),
        }
        if chance.random() < 0.1:
            values |= {"dateTime": self._day(at.date()), "tradeTime": at.strftime(self._time)}
        if chance.random() < 0.05:
            name = chance.choice(["quantity", "tradePrice", "dateTime", "ibCommission", "buySell", "multiplier"])
            values[name] = chance.choice(["soon", "1,23", "12.5.1", "0x10", "20241399;101010", "--"])
        return _as_confirmation(values) if confirmation else values

    def _number(self) -> str:
        chance = self._chance
        whole = chance.choice([chance.randrange(10), chance.randrange(10**4), chance.randrange(10**9)])
        digits = "".join(chance.choice("0123456789") for _ in range(chance.choice([0, 0, 1, 2, 8, 12])))
        told = f"{whole:,}" if chance.random() < 0.1 else str(whole)
        return chance.choice(["", "", "-"]) + told + (f".{digits}" if digits else "")

    def _day(self, day: date) -> str:
        return day.strftime(self._date)

    def _moment(self, at: datetime) -> str:
        zone = self._chance.choice(["", "", "", " EDT", " EST"])
        return at.strftime(self._date + self._between + self._time) + zone

    def _text(self) -> str:
        letters = _PLAIN_TEXT + self._letters if self._chance.random() < 0.3 else _PLAIN_TEXT[:26]
        return "X" + "".join(self._chance.choice(letters) for _ in range(self._chance.randrange(12)))

    # how it is written

    def _element(self, name: str, values: Mapping[str, str], *, closed: bool = True) -> str:
        names = list(values)
        if self._chance.random() < 0.1:
            self._chance.shuffle(names)
        wild = self._chance.random() < 0.3
        told = "".join(self._attribute(one, values[one], wild=wild) for one in names)
        if not closed:
            return f"<{name}{told}>"
        return f"<{name}{told}{self._some(' ')}/>" if self._chance.random() < 0.9 else f"<{name}{told}></{name}>"

    def _attribute(self, name: str, value: str, *, wild: bool) -> str:
        if not wild:
            return f" {name}={quoteattr(value)}"
        before, around, quote = (
            self._chance.choice(_BLANKS[1:]),
            self._chance.choice(_BLANKS),
            self._chance.choice("'\""),
        )
        letters = "".join(self._letter(one, quote) for one in value)
        return f"{before}{name}{around}={around}{quote}{letters}{quote}"

    def _letter(self, letter: str, quote: str) -> str:
        named = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;", '"': "&quot;"}
        if letter in "&<" or letter == quote or (letter in named and self._chance.random() < 0.5):
            return named[letter]
        if self._chance.random() < 0.05:
            return self._chance.choice([f"&#{ord(letter)};", f"&#x{ord(letter):x};", f"&#0{ord(letter)};"])
        return letter

    def _blank(self) -> str:
        return self._chance.choice(_BLANKS)

    def _some(self, text: str) -> str:
        return text if self._chance.random() < 0.5 else ""

    def _odd(self) -> str:
        """What may stand between elements and says nothing."""
        if self._chance.random() < 0.95:
            return ""
        return self._chance.choice(["<!-- <Trade quantity='1' /> -->", "<?note <Trade /> ?>", "<!---->"])


def _as_confirmation(values: Mapping[str, str]) -> dict[str, str]:
    names = {
        "ibExecID": "execID",
        "ibOrderID": "orderID",
        "tradePrice": "price",
        "ibCommission": "commission",
        "ibCommissionCurrency": "commissionCurrency",
        "taxes": "tax",
        "notes": "code",
    }
    told = {names.get(name, name): value for name, value in values.items() if name != "transactionID"}
    return told | {"execID": told["execID"] or f"0000aa.{values['tradeID']}.01.01"}
