from __future__ import annotations

from typing import Any

import pytest

from brokersync_ibkr.payloads import BodyKind, FlexSyntaxError, kind_of, service_answer


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", BodyKind.EMPTY),
        (b" \n\t", BodyKind.EMPTY),
        (b"<FlexQueryResponse queryName='x'>", BodyKind.STATEMENT),
        (b"\xef\xbb\xbf<FlexQueryResponse>", BodyKind.STATEMENT),
        ("<FlexQueryResponse>".encode("utf-16"), BodyKind.STATEMENT),
        (b"\r\n<?xml version='1.0'?>\n<!-- hello --><FlexQueryResponse>", BodyKind.STATEMENT),
        (b"<FlexStatementResponse timestamp=''>", BodyKind.SERVICE),
        (b"<html><body>", BodyKind.HTML),
        (b"<!DOCTYPE HTML PUBLIC>", BodyKind.HTML),
        (b"<!DOCTYPE FlexQueryResponse [<!ENTITY a 'b'>]>", BodyKind.OTHER_XML),
        (b"<rss><channel/></rss>", BodyKind.OTHER_XML),
        (b'"ClientAccountID","CurrencyPrimary"', BodyKind.CSV),
        (b"ClientAccountID|AssetClass", BodyKind.CSV),
        (b'"BOF","U4711001","made up"', BodyKind.CSV),
        (b"Statement,Header,Field Name,Field Value", BodyKind.CSV),
        (b"date,amount\n1,2", BodyKind.OTHER),
        (b"\x89PNG\r\n", BodyKind.OTHER),
        (b"{}", BodyKind.OTHER),
        (b"<", BodyKind.OTHER),
    ],
)
def test_a_body_is_known_by_its_first_bytes(head: bytes, kind: BodyKind) -> None:
    assert kind_of(head) is kind


def test_a_service_answer_is_read_whatever_its_spelling(flex: Any) -> None:
    answer = service_answer(flex.accepted(reference="12345678901234567890"))
    assert answer.reference == "12345678901234567890"
    assert answer.url == "https://gdcdyn.interactivebrokers.com/AccountManagement/FlexWebService/GetStatement"
    upper = service_answer(
        b'<?xml version="1.0"?>\n<FlexStatementResponse timestamp="x">\n <Status> Success </Status>\n'
        b"<ReferenceCode>\n77\n</ReferenceCode><Url>https://x/y?a=1&amp;b=2</Url></FlexStatementResponse>"
    )
    assert (upper.reference, upper.url, upper.code) == ("77", "https://x/y?a=1&b=2", None)


@pytest.mark.parametrize("status", ["Fail", "Warn", "Success"])
def test_the_code_decides_and_not_the_status(flex: Any, status: str) -> None:
    answer = service_answer(flex.refused(1019, "In progress &amp; so on", status))
    assert (answer.code, answer.message, answer.reference) == ("1019", "In progress & so on", None)


@pytest.mark.parametrize(
    "body", [b"<FlexStatementResponse>", b"<!DOCTYPE a [<!ENTITY b 'c'>]><FlexStatementResponse/>"]
)
def test_a_damaged_service_answer_is_refused(body: bytes) -> None:
    with pytest.raises(FlexSyntaxError):
        service_answer(body)
