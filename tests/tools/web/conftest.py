"""The page as a person has it: `hypnod web` in its own process, and Debian's Chromium."""

import json
import shutil
import signal
import subprocess
from contextlib import contextmanager

import pytest

from tests.rigs.forked import Forked
from tests.support.talker import Talker

CHROMIUM = shutil.which("chromium")
TIMEOUT_MS = 30_000
PHONE, SCREEN = {"width": 390, "height": 844}, {"width": 1920, "height": 1080}


@contextmanager
def serve(*options, environ=None):
    """Run `hypnod web` on a free port; yield its process, with its `url`."""
    process = Forked(
        ["web", "--json", "--port", "0", *options], environ, stdout=subprocess.PIPE, stderr=2
    )
    try:
        process.url = json.loads(process.stdout.readline())["url"]
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        process.stdout.close()


@contextmanager
def serve_from(talker, *options):
    with serve("--connect", talker.binds[0], "--catch-up", talker.binds[1], *options) as server:
        yield server


@pytest.fixture(scope="module")  # while it is there, its event loop has this thread
def browser():
    if CHROMIUM is None:
        pytest.skip("needs Debian's package chromium")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright, to drive Chromium")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Open pages; at the end none may have complained, or asked anybody but its server."""
    pages, complaints = [], []

    def open_one(url, viewport=SCREEN, **options):
        page = browser.new_page(viewport=viewport, **options)
        page.set_default_timeout(TIMEOUT_MS)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda told: _note(complaints, told))
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        pages.append((page, asked, url.partition("#")[0]))
        return page

    yield open_one
    for page, asked, url in pages:
        page.close()
        assert {address for address in asked if not address.startswith(url)} == set()
    assert complaints == []


def _note(complaints, told):
    if told.type == "error" and "Failed to load resource" not in told.text:
        complaints.append(told.text)


@pytest.fixture(scope="module")
def talker(tmp_path_factory):
    """Four animals: one is well, one has lost its EMG, one both, one drifts."""
    path = tmp_path_factory.mktemp("talker") / "journal.sqlite"
    with Talker(path, ["m1", "m2", "m3", "m4"], past=1200) as talker:
        talker.changes["m2"] = {"validity": {"eeg": "ok", "emg": "flat"}, "pathway": "eeg"}
        talker.changes["m3"] = {
            "stage": "ART",
            "validity": {"eeg": "mains", "emg": "mains"},
            "probabilities": {},
            "evidence": {},
            "confidence": 0.0,
            "pathway": None,
            "reason": "eeg mains, emg mains",
        }
        talker.changes["m4"] = {"drift": 1.7}
        yield talker


@pytest.fixture(scope="module")
def server(talker):
    with serve_from(talker) as server:
        yield server
