"""What the proofs of archives share: recordings, runs, schedulers and workers as processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypnod
from tests.support.archive import write_night
from tests.support.bundles import TINY, make_bundle

QUIET = os.environ | {
    "DASK_LOGGING__DISTRIBUTED": "critical",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "5s",  # by default minutes
    "DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "1s",  # 15 s
    "OMP_NUM_THREADS": "1",
}
_POLL_S = 0.05


class SkippedError(Exception):
    """A proof cannot be had here; its message says why."""


class Lab:
    """Recordings, a small bundle, and an archive of them to be."""

    def __init__(self, folder: Path, n: int, seconds: int = 60) -> None:
        self.recordings, self.out, self.n = folder / "lab", folder / "out", n
        for k in range(n):
            write_night(self.recordings / f"n{k:03}.edf", seconds, seed=k)
        self.bundle = make_bundle(folder, levels=False, **TINY)

    def command(self, *arguments: str) -> list[str]:
        """Return what scores the archive."""
        return hypnod.command(
            *("archive", "score", str(self.recordings), "--out", str(self.out)),
            *("--bundle", str(self.bundle), "--json", *arguments),
        )

    def start(self, *arguments: str, within: Sequence[str] = ()) -> "subprocess.Popen[str]":
        """Start to score it."""
        return subprocess.Popen(
            [*within, *self.command(*arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=QUIET,
            start_new_session=True,
        )

    def sidecars(self) -> dict[str, tuple[int, str]]:
        """Return when each recording that is done was, and the hash of its estimates."""
        found = {}
        for path in sorted(self.out.glob("lab/*.json")):
            said = json.loads(path.read_bytes())
            if said["state"] == "done":
                found[path.name] = (path.stat().st_mtime_ns, said["estimates"]["sha256"])
        return found

    def wait_for(self, n: int, process: "subprocess.Popen[str]") -> None:
        """Return when n are done."""
        wait_until(
            f"{n} recordings done",
            lambda: len(self.sidecars()) >= n or process.poll() is not None,
        )
        if process.poll() is not None:
            raise AssertionError(f"expected a run that goes on, found: {process.communicate()}")

    def finish(self, process: "subprocess.Popen[str]", code: int = 0) -> dict[str, Any]:
        """Wait for the end of a run, and return what it said."""
        said, errors = process.communicate(timeout=300)
        if process.returncode != code:
            raise AssertionError(f"expected exit code {code}, found {process.returncode}: {errors}")
        found: dict[str, Any] = json.loads(said) if said else {"error": errors.splitlines()[-1]}
        return found

    def check_whole(self, before: dict[str, tuple[int, str]]) -> None:
        """Raise AssertionError unless all is done, and what was done before was not done again."""
        after = self.sidecars()
        if len(after) != self.n:
            raise AssertionError(f"expected {self.n} done, found {len(after)}")
        again = [name for name, known in before.items() if after[name] != known]
        if again:
            raise AssertionError(f"expected {len(before)} to be left alone, found again: {again}")
        if left := [*self.out.rglob(".*.part")]:
            raise AssertionError(f"expected no drafts, found {left}")


def wait_until(what: str, done: Callable[[], bool], seconds: float = 120) -> None:
    """Return when something is so; raise TimeoutError when it does not become so."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"expected {what} within {seconds:g} s, found that it did not come")
        time.sleep(_POLL_S)


@contextmanager
def process(*command: str, within: Sequence[str] = ()) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process that is killed in the end, if nobody did before."""
    started = subprocess.Popen(
        [*within, *command], env=QUIET, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield started
    finally:
        if started.poll() is None:
            started.send_signal(signal.SIGCONT)
            started.kill()
        started.wait()


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def dask(which: str, *arguments: str) -> list[str]:
    """Return the command of Dask's scheduler or worker, which find hypnod."""
    module = f"distributed.cli.dask_{which}"
    start = f"import runpy, sys; sys.path.insert(0, {str(hypnod.HOME)!r}); "
    start += f"sys.argv = [{module!r}] + sys.argv[1:]; "
    start += f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    return [sys.executable, "-c", start, *arguments, "--no-dashboard"]
