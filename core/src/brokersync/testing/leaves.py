"""Elements of XML whose values are the texts of elements of their own, as rows: `<Fill><Id>7</Id></Fill>`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, MutableMapping
from typing import final
from xml.etree import ElementTree


@final
class Leaves(MutableMapping[str, str]):
    """The texts of the elements right below one, by their names; what is set there is set in the element.

    An element with attributes, with others inside, or of a name that comes again is none of its cells.
    """

    def __init__(self, element: ElementTree.Element) -> None:
        self._element = element
        counts = Counter(child.tag for child in element)
        self._cells = {child.tag: child for child in element if counts[child.tag] == 1 and _is_leaf(child)}

    @property
    def has_others(self) -> bool:
        """Whether more is in the element than its cells."""
        return len(self._element) > len(self._cells)

    def __getitem__(self, name: str) -> str:
        return self._cells[name].text or ""

    def __setitem__(self, name: str, value: str) -> None:
        if name not in self._cells:
            self._cells[name] = ElementTree.SubElement(self._element, name)
        self._cells[name].text = str(value)

    def __delitem__(self, name: str) -> None:
        self._element.remove(self._cells.pop(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._cells)

    def __len__(self) -> int:
        return len(self._cells)


def leaves_of(elements: Iterable[ElementTree.Element]) -> list[Leaves]:
    """One for each, where they have no attributes, and all of them have such texts."""
    rows = [Leaves(one) for one in elements if not one.attrib]
    return rows if all(rows) else []


def _is_leaf(element: ElementTree.Element) -> bool:
    return not len(element) and not element.attrib
