"""Made-up sessions with a made-up broker, with everything in them that must not be written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any
from urllib.parse import urlencode

import attrs
from hypothesis import strategies as st

from brokersync.manifest import AuthKind, Field, Manifest, SourceSpec
from brokersync.recorded_fields import RecordedFields
from brokersync.testing.recording.capture import Exchanged, Session
from brokersync.testing.recording.kinds import Kinds
from brokersync.testing.recording.sanitise import Sanitised, Sanitiser

AT = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)
HOST = "https://api.acme.example/v2"
MANIFEST = Manifest(
    key="acme",
    display_name="Acme",
    contract=0,
    environments=("live",),
    auth=(AuthKind.PASSWORD,),
    sources=(SourceSpec(name="history", precedence=10),),
    licence="MIT",
    docs="https://acme.example",
    support="https://acme.example",
    hosts={"api": HOST},
    host_patterns={"api": ("*.acme.example",)},
    user_fields=(
        Field(name="username", label="User", help="Your name there."),
        Field(name="password", label="Password", help="Your password there.", secret=True),
    ),
    recording=RecordedFields(harmless=("symbol", "side")),
)
KINDS = Kinds(harmless=MANIFEST.recording.harmless, vocabulary={"history", "me", "trades", "report", "format", "csv"})


@attrs.frozen(kw_only=True)
class Row:
    """A trade as the made-up broker tells it."""

    id: str
    order: str
    price: str
    fee: str
    quantity: int
    note: str

    def cells(self, account: str) -> dict[str, str]:
        cash = Decimal(self.price) * self.quantity - Decimal(self.fee)
        return {
            "id": self.id,
            "orderId": self.order,
            "account": account,
            "symbol": "MESZ6",
            "side": "BUY",
            "quantity": str(self.quantity),
            "price": self.price,
            "commission": self.fee,
            "netCash": str(cash),
            "executedAt": "2026-03-02T14:30:00Z",
            "remark": self.note,
        }


@attrs.frozen(kw_only=True)
class Facts:
    """What is private of a session."""

    account: str
    username: str
    password: str
    token: str
    person: str
    rows: tuple[Row, ...]

    @property
    def secrets(self) -> tuple[str, ...]:
        return self.password, self.token

    @property
    def ids(self) -> set[str]:
        return {self.account, *(row.id for row in self.rows), *(row.order for row in self.rows)}

    @property
    def amounts(self) -> set[str]:
        cells = [row.cells(self.account) for row in self.rows]
        return {cell[name] for cell in cells for name in ("price", "commission", "netCash") if Decimal(cell[name])}


_LETTERS = "bcdfghjklmnpqrstvwxz"
_NAMES = st.text(_LETTERS, min_size=8, max_size=12)
_AMOUNTS = st.decimals(min_value="1000.01", max_value="90000", places=2).map(str)
_ROWS = st.builds(
    Row,
    id=st.integers(10**9, 10**18).map(str),
    order=st.uuids(version=4).map(str),
    price=_AMOUNTS,
    fee=_AMOUNTS,
    quantity=st.integers(1, 50),
    note=st.builds("{} {}".format, _NAMES, _NAMES),
)
FACTS = st.builds(
    Facts,
    account=st.integers(10**6, 10**9).map(lambda number: f"U{number}"),
    username=_NAMES,
    # digits alone may stand in an id, which is then taken out as the password that it holds
    password=st.text(_LETTERS + "0123456789!&<\"'+/ ", min_size=10, max_size=20).filter(
        lambda text: len(text.strip()) == len(text) and not text.isdigit()
    ),
    token=st.text(_LETTERS + _LETTERS.upper() + "0123456789-_", min_size=24, max_size=60),
    person=st.builds("{} {}".format, _NAMES, _NAMES).map(str.title),
    rows=st.lists(_ROWS, min_size=1, max_size=6, unique_by=lambda row: row.id).map(tuple),
)


def session(facts: Facts) -> Session:
    """A login, an account, and its trades as JSON, XML and CSV."""
    account, auth = facts.account, {"Authorization": f"Bearer {facts.token}", "X-Account": facts.account}
    cells = [row.cells(account) for row in facts.rows]
    login = {"access_token": facts.token, "user": facts.person, "account": account, "echo": f"pw={facts.password}"}
    return Session(
        key="acme",
        environment="live",
        at=AT,
        hosts={"api": HOST},
        fields={"username": facts.username, "password": facts.password},
        operator_fields={},
        secrets=facts.secrets,
        requests=(),
        exchanges=(
            exchanged(
                "POST",
                "/me",
                json.dumps(login),
                body=urlencode({"username": facts.username, "password": facts.password}),
                answer_headers={"set-cookie": f"sid={facts.token}", "x-next": account},
            ),
            exchanged("GET", f"/trades/{account}", json.dumps(_as_numbers(cells)), headers=auth),
            exchanged("GET", f"/trades/{account}", _as_xml(cells), query=urlencode({"sig": facts.token}), headers=auth),
            exchanged("GET", "/report", _as_csv(cells), query=urlencode({"account": account, "format": "csv"})),
            exchanged("GET", "/report", json.dumps({"data": _as_csv(cells), "next": f"{HOST}/trades/{account}?t=1"})),
        ),
    )


def exchanged(method: str, path: str, answer: str, **more: Any) -> Exchanged:
    kind = "application/x-www-form-urlencoded" if more.get("body") else ""
    facts: dict[str, Any] = {"query": "", "headers": {}, "body": "", "body_type": kind, "answer_headers": {}, **more}
    return Exchanged(method=method, role="api", path=path, status=200, answer=answer.encode(), **facts)


def sanitised(of: Session, seed: int, kinds: Kinds = KINDS) -> Sanitised:
    return Sanitiser(of, MANIFEST, kinds, Random(seed)).sanitised("brokersync-acme 1.0")


def _as_numbers(cells: Sequence[Mapping[str, str]]) -> Any:
    return [{name: int(value) if name in ("id", "quantity") else value for name, value in row.items()} for row in cells]


def _as_xml(cells: Sequence[Mapping[str, str]]) -> str:
    from xml.etree import ElementTree

    root = ElementTree.Element("Trades")
    for row in cells:
        ElementTree.SubElement(root, "Trade", dict(row))
    return ElementTree.tostring(root, encoding="unicode")


def _as_csv(cells: Sequence[Mapping[str, str]]) -> str:
    lines = [",".join(cells[0]), *(",".join(row.values()) for row in cells)]
    return "\r\n".join(lines) + "\r\n"
