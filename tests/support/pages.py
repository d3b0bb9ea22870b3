"""Pages of HTML, as a parser and as a real browser read them."""

import shutil
import subprocess
from html.parser import HTMLParser

import pytest


class Page(HTMLParser):
    """What a page holds: its elements, attributes and text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.cells = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        self.texts.append(data)
        if self.cells and self.lasttag in ("td", "th", "a"):
            self.cells[-1] += data

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def find_chromium():
    """Return the browser, or skip the test."""
    return shutil.which("chromium") or pytest.skip("needs Debian's chromium")


def browse(chromium, html, folder, *options):
    """Run it on a page, without a window."""
    command = [
        *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *(f"--user-data-dir={folder / 'profile'}", *options, html.as_uri()),
    ]
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=60)
