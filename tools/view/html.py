"""The parts of a page: elements whose text is escaped by the library that writes them.

Whatever is shown comes from elsewhere, a subject's name too, so no HTML is put together by hand.
"""

from collections.abc import Iterable, Sequence
from xml.etree import ElementTree as ET

Element = ET.Element

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What a browser lets the page do: no script, nothing from elsewhere, whatever is in it."""


def add(parent: Element, tag: str, text: str = "", **attributes: object) -> Element:
    """Append an element and return it; `class_` is class, and `_` is `-` in other attributes."""
    named = {_name(key): str(value) for key, value in attributes.items()}
    child = ET.SubElement(parent, tag, named)
    child.text = text or None
    return child


def add_table(
    parent: Element,
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Element]],
) -> Element:
    """Append a table whose rows begin with what they are of, and return it."""
    table = add(add_wide(parent, caption.partition(".")[0]), "table")
    add(table, "caption", caption)
    head = add(add(table, "thead"), "tr")
    for column in columns:
        add(head, "th", column, scope="col")
    body = add(table, "tbody")
    for first, *others in rows:
        row = add(body, "tr")
        _fill(add(row, "th", scope="row"), first)
        for other in others:
            _fill(add(row, "td"), other)
    return table


def add_wide(parent: Element, name: str) -> Element:
    """Append what a narrow screen scrolls sideways, by keyboard too, and return it."""
    return add(parent, "div", class_="wide", tabindex=0, role="group", aria_label=name)


def new_page(title: str, style: str) -> tuple[Element, Element]:
    """Return an empty page, and what its content goes into."""
    page = Element("html", {"lang": "en"})
    head = add(page, "head")
    add(head, "meta", charset="utf-8")
    add(head, "meta", http_equiv="Content-Security-Policy", content=_POLICY)
    add(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    add(head, "meta", name="color-scheme", content="light dark")
    add(head, "title", title)
    add(head, "style", style)
    return page, add(add(page, "body"), "main")


def encode(page: Element) -> bytes:
    """Return the file of a page."""
    text: str = ET.tostring(page, "unicode", method="html")
    return f"<!DOCTYPE html>\n{text}\n".encode()


def link(text: str, target: str) -> Element:
    """Return a link within the page."""
    found = Element("a", {"href": f"#{target}"})
    found.text = text
    return found


def _fill(cell: Element, content: str | Element) -> None:
    if isinstance(content, str):
        cell.text = content
    else:
        cell.append(content)


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")
