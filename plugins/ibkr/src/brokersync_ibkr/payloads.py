"""Bodies of the Flex service and of files: which kind they are, the service's own answers, and the XML parser."""

from __future__ import annotations

import re
from enum import Enum
from xml.parsers import expat

import attrs

_ANSWER_LIMIT = 1 << 16
_ROOT = re.compile(r"\s*(?:<\?.*?\?>\s*|<!--.*?-->\s*)*<(?P<doctype>!doctype\s+)?(?P<name>[^\s/>]+)", re.DOTALL | re.I)
# the first title of a Flex export as text, its control line, and the first line of an ordinary activity statement
_CSV = re.compile(r'"?(?:ClientAccountID|AccountId|BOF|BOA|BOS|HEADER|Statement)"?\s*[,;|\t]', re.IGNORECASE)


class FlexSyntaxError(Exception):
    """The text is not a statement's XML; `message` is one sentence with the place, and shows none of the content."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BodyKind(Enum):
    """What a body is, by its first bytes; its content type says nothing."""

    STATEMENT = "statement"
    SERVICE = "service"
    HTML = "html"
    CSV = "csv"
    EMPTY = "empty"
    OTHER_XML = "other_xml"
    OTHER = "other"


def kind_of(head: bytes) -> BodyKind:
    """The kind of a body whose first bytes are `head`."""
    text = _decoded(head).lstrip()
    if not text:
        return BodyKind.EMPTY
    if not text.startswith("<"):
        return BodyKind.CSV if _CSV.match(text) else BodyKind.OTHER
    found = _ROOT.match(text)
    if found is None:
        return BodyKind.OTHER
    name = found["name"]
    if name.lower() == "html":
        return BodyKind.HTML
    if found["doctype"]:
        return BodyKind.OTHER_XML
    return {"FlexQueryResponse": BodyKind.STATEMENT, "FlexStatementResponse": BodyKind.SERVICE}.get(
        name, BodyKind.OTHER_XML
    )


def _decoded(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", "replace")
    return head.decode("utf-8-sig", "replace")


@attrs.frozen(kw_only=True)
class ServiceAnswer:
    """A `FlexStatementResponse`; `message` is IBKR's text."""

    reference: str | None = None
    url: str | None = None
    code: str | None = None
    message: str = ""


def service_answer(body: bytes) -> ServiceAnswer:
    """The service's answer in `body`. Raises `FlexSyntaxError`."""
    texts: dict[str, str] = {}
    path: list[str] = []

    def begin(name: str, _: object) -> None:
        path.append(name)

    def text(data: str) -> None:
        if len(path) == 2:
            key = path[1].lower()
            texts[key] = texts.get(key, "") + data

    parser = new_parser()
    parser.StartElementHandler = begin
    parser.EndElementHandler = lambda _: path.pop() and None
    parser.CharacterDataHandler = text
    # a real answer has some 300 bytes
    parse(parser, body[:_ANSWER_LIMIT], 0, last=True)
    values = {name: value.strip() for name, value in texts.items()}
    return ServiceAnswer(
        reference=values.get("referencecode") or None,
        url=values.get("url") or None,
        code=values.get("errorcode") or None,
        message=values.get("errormessage", ""),
    )


def new_parser() -> expat.XMLParserType:
    """An expat parser that refuses document types."""
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_doctype
    return parser


def _refuse_doctype(*_: object) -> None:
    # entities are declared there and nowhere else: an expanding or reading one is refused before it is known
    raise FlexSyntaxError("The XML declares a document type, which no Flex statement does; it was not read.")


def parse(parser: expat.XMLParserType, chunk: bytes, done: int, *, last: bool) -> None:
    """Feed the parser, which has had `done` bytes before. Raises `FlexSyntaxError`."""
    try:
        parser.Parse(chunk, last)
    except expat.ExpatError as error:
        raise FlexSyntaxError(_sentence(parser, error, chunk, done)) from None
    except (LookupError, ValueError) as error:
        # expat itself raises these for an encoding it can not read; what a handler raises comes from a deeper frame
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            raise
        raise FlexSyntaxError("The file declares a character encoding that is not known.") from None


_CUT_OFF = frozenset({3, 5, 6, 20})  # no element, unclosed token, partial character, unclosed CDATA section
_BAD_ENCODING = frozenset({18, 19})


def _sentence(parser: expat.XMLParserType, error: expat.ExpatError, chunk: bytes, done: int) -> str:
    place = f"line {error.lineno}, column {error.offset + 1}"
    index = parser.ErrorByteIndex - done
    foreign_byte = error.code == expat.errors.codes[expat.errors.XML_ERROR_INVALID_TOKEN] and (
        0 <= index < len(chunk) and chunk[index] >= 0x80
    )
    if error.code in _BAD_ENCODING or foreign_byte:
        return f"The file is not in the character encoding that it declares ({place})."
    if error.code in _CUT_OFF:
        return f"The XML is cut off: it ends at {place}, before its last element is closed."
    return f"The XML is damaged at {place}."
