"""Elements of XML as rows: attributes, and the texts of elements of their own, as in `<Fill><Id>7</Id></Fill>`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, MutableMapping, Sequence
from itertools import chain
from typing import final
from xml.etree import ElementTree


@final
class Leaves(MutableMapping[str, str]):
    """The attributes of an element and the texts of those right below it, by name; what is set here is set there.

    `texts` are the names of elements that are cells: but for one with attributes, with others inside, or of a name that
    comes again. What has another name is an attribute, where rows of the table have some.
    """

    def __init__(self, element: ElementTree.Element, texts: frozenset[str], *, have_attributes: bool) -> None:
        self._element = element
        self._texts = texts
        self._have_attributes = have_attributes
        counts = Counter(child.tag for child in element)
        self._cells = {
            child.tag: child for child in element if child.tag in texts and counts[child.tag] == 1 and _is_leaf(child)
        }

    def as_in(self, element: ElementTree.Element) -> Leaves:
        """Another element of the same table."""
        return Leaves(element, self._texts, have_attributes=self._have_attributes)

    @property
    def has_others(self) -> bool:
        """Whether more is in the element than its cells."""
        return len(self._element) > len(self._cells)

    def __getitem__(self, name: str) -> str:
        if name in self._cells:
            return self._cells[name].text or ""
        return self._element.attrib[name]

    def __setitem__(self, name: str, value: str) -> None:
        if self._have_attributes and name not in self._texts:
            self._element.attrib[name] = str(value)
            return
        if name not in self._cells:
            self._cells[name] = ElementTree.SubElement(self._element, name)
        self._cells[name].text = str(value)

    def __delitem__(self, name: str) -> None:
        if name in self._cells:
            self._element.remove(self._cells.pop(name))
        else:
            del self._element.attrib[name]

    def __iter__(self) -> Iterator[str]:
        return chain(self._element.attrib, self._cells)

    def __len__(self) -> int:
        return len(self._element.attrib) + len(self._cells)


def leaves_of(elements: Sequence[ElementTree.Element]) -> list[Leaves]:
    """One for each, where some have such texts: all of them, where none has attributes."""
    attributes = {name for one in elements for name in one.attrib}
    # beside attributes an element without a text may as well be a list that is empty
    texts = {
        child.tag
        for one in elements
        for child in one
        if _is_leaf(child) and (not attributes or (child.text or "").strip())
    } - attributes
    rows = [Leaves(one, frozenset(texts), have_attributes=bool(attributes)) for one in elements] if texts else []
    return rows if attributes or all(rows) else []


def _is_leaf(element: ElementTree.Element) -> bool:
    return not len(element) and not element.attrib
