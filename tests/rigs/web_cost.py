"""`make web-cost`: what the page costs with 64 subjects at an epoch a second, in one run.

The daemon stages in real time; its processor time, that of the page's server and that of the
browser's main thread are taken over spells that follow each other, without the page and with it, so
that whatever else the machine does is in all of them. Then the daemon is killed, and the time until
the page says so is taken.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import hypnod
from engines.bundle import open_bundle
from tests.rigs.daemon import clients_of
from tools.bench.daemon import RACK, configure, play, simulate
from tools.daemon_process import ChildError, DaemonProcess, confined_lsl, write_config
from tools.shared.measure import describe_machine

SUBJECTS = 64
GOAL_SERVER, GOAL_BROWSER = 0.25, 0.20
_SPELL_S = 20.0
_ROUNDS = 2
_SETTLE_S = 5.0
_TICKS = os.sysconf("SC_CLK_TCK")
_SCREEN: Any = {"width": 1920, "height": 1080}


def used_s(*pids: int) -> float:
    """Return the processor time that processes have used, s."""
    total = 0
    for pid in pids:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
        total += int(stat[11]) + int(stat[12])
    return total / _TICKS


@contextmanager
def serving(daemon: DaemonProcess) -> Iterator[tuple[str, int]]:
    """Run `hypnod web`; yield its address and its process."""
    where = ("--connect", daemon.endpoint, "--catch-up", daemon.catch_up, "--port", "0", "--json")
    with subprocess.Popen(hypnod.command("web", *where), stdout=subprocess.PIPE, text=True) as web:
        try:
            said = web.stdout.readline() if web.stdout else ""
            yield json.loads(said)["url"], web.pid
        finally:
            web.terminate()


class Meter:
    """Takes the shares of a core that the daemon, its servers, the page's and the browser use.

    Args:
        daemon: is running.
    """

    def __init__(self, daemon: DaemonProcess) -> None:
        pid = daemon.process.pid
        self._pids = {"daemon": [pid], "its servers": [*clients_of(pid).values()]}
        self.rows: list[tuple[str, dict[str, float]]] = []

    def spell(
        self, what: str, web: int | None = None, main_thread: Callable[[], float] | None = None
    ) -> None:
        """Measure for a while."""
        time.sleep(_SETTLE_S)
        pids = self._pids | ({} if web is None else {"hypnod web": [web]})

        def look() -> dict[str, float]:
            found = {name: used_s(*each) for name, each in pids.items()}
            if main_thread is not None:
                found["main thread"] = main_thread()
            return found

        began, before = time.monotonic(), look()
        time.sleep(_SPELL_S)
        after, took = look(), time.monotonic() - began
        self.rows.append((what, {name: (after[name] - before[name]) / took for name in after}))


def measure(folder: Path, console: Console) -> tuple[Meter, float]:
    """Return the shares of a core, and after how long the page says that the daemon is lost, s."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  for tests alone

    bundle = open_bundle(None)
    environ = confined_lsl(folder)
    recording = simulate(bundle.spec, folder, SUBJECTS)
    names = [f"m{k:02}" for k in range(1, SUBJECTS + 1)]
    config = configure(bundle, "onnxruntime", RACK, names)
    with ExitStack() as stack:
        daemon = stack.enter_context(DaemonProcess(write_config(folder, config), environ))
        daemon.wait_ready()
        stack.enter_context(play(recording, bundle.spec, RACK, environ))
        daemon.event("stream", state="STAGING")
        meter = Meter(daemon)
        driver = stack.enter_context(sync_playwright())
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        stack.callback(browser.close)
        for _ in range(_ROUNDS):
            console.print("without the page …")
            meter.spell("without")
            with serving(daemon) as (url, web):
                page = browser.new_page(viewport=_SCREEN)
                page.goto(url)
                page.locator(".confidence", has_text="%").nth(SUBJECTS // 2).wait_for()
                thread = _main_thread(page)
                console.print("with the page open …")
                meter.spell("64 tiles", web, thread)
                _check_fresh(page)
                page.goto(f"{url}#/{names[0]}")
                page.get_by_role("img", name="EEG, live").wait_for()
                console.print("with an animal open …")
                meter.spell("an animal, live signals", web, thread)
                page.close()
        with serving(daemon) as (url, _):
            page = browser.new_page(viewport=_SCREEN)
            page.goto(url)
            page.locator(".confidence", has_text="%").nth(SUBJECTS // 2).wait_for()
            began = time.monotonic()
            daemon.process.kill()
            page.get_by_role("alert").wait_for()
            lost_s = time.monotonic() - began
            page.close()
    return meter, lost_s


def _check_fresh(page: Any) -> None:
    """Raise ChildError unless every tile shows a stage of now: a page at rest costs nothing."""
    fresh = page.locator(".age", has_text=re.compile(r"^[0-3] s ago$")).count()
    staged = page.locator(".stage:not([data-stage=''])").count()
    if (fresh, staged) != (SUBJECTS, SUBJECTS):
        raise ChildError(
            f"expected {SUBJECTS} tiles with a stage of now, found {staged} with one, {fresh} fresh"
        )


def _main_thread(page: Any) -> Callable[[], float]:
    """Return what tells for how long a page's main thread has worked, s."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def worked() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return float(next(m["value"] for m in metrics if m["name"] == "TaskDuration"))

    return worked


def main() -> int:
    """Measure, show it, and say whether the goals are reached."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="hypnod-web-cost-") as folder:
        meter, lost_s = measure(Path(folder), console)
    columns = ("daemon", "its servers", "hypnod web", "main thread")
    table = Table(title=f"{SUBJECTS} subjects at an epoch a second: % of a core")
    for name in ("", *columns):
        table.add_column(name, justify="right" if name else "left")
    for what, shares in meter.rows:
        cells = (f"{100 * shares[name]:.1f}" if name in shares else "" for name in columns)
        table.add_row(what, *cells)
    console.print(table)
    machine = describe_machine()
    console.print(f"lost is shown {lost_s:.2f} s after the daemon is killed; {machine}")
    worst = {name: max(each.get(name, 0.0) for _, each in meter.rows) for name in columns[2:]}
    good = worst["hypnod web"] < GOAL_SERVER and worst["main thread"] < GOAL_BROWSER and lost_s < 3
    console.print("goals reached" if good else "goals not reached")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
