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


def browse(html, folder, *options):
    """Run it on a page, without a window."""
    command = [
        *(find_chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *(f"--user-data-dir={folder / 'profile'}", *options, html.as_uri()),
    ]
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=60)


def check_reads_as_meant(html, folder):
    """What a browser makes of the file, written out again, has the same elements and no more."""
    found = browse(html, folder, "--dump-dom", "--enable-logging=stderr", "--v=0")
    ours, theirs = Page(html.read_text("utf-8")), Page(found.stdout)
    assert theirs.text == ours.text
    assert [t for t in theirs.tags if t != "head"] == [t for t in ours.tags if t != "head"]
    assert "CONSOLE" not in found.stderr
