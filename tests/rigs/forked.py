"""`hypnod` in a process of its own, forked from one that has imported what it runs.

Imports take most of a daemon's start, and the tests start hundreds.
"""

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.reduction import DupFd
from typing import IO, Any

import hypnod

_CONTEXT = multiprocessing.get_context("forkserver")
_IMPORTED = [
    *("tests.rigs.forked", "tools.cli", "tools.run", "daemon.service", "onnxruntime"),
    *("tools.web.command", "tools.web.server"),
]


class Forked:
    """A process that runs `hypnod`, with what `subprocess.Popen` has of those used here.

    Args:
        arguments: of `hypnod`.
        environ: on top of this process's environment.
        read: what it writes that is read here: of "stdout" and "stderr".
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        read: Sequence[str] = ("stderr",),
    ) -> None:
        _CONTEXT.set_forkserver_preload(_IMPORTED)
        self.stdout: IO[str] | None = None
        self.stderr: IO[str] | None = None
        ends = {}
        for name in read:
            ours, ends[name] = os.pipe()
            setattr(self, name, os.fdopen(ours, encoding="utf-8"))
        its = {name: DupFd(end) for name, end in ends.items()}
        self._process = _CONTEXT.Process(
            target=_run, args=(list(arguments), {**os.environ, **environ}, its)
        )
        self._process.start()
        for end in ends.values():
            os.close(end)
        self.pid = self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        """Its exit code; below 0 the signal that killed it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return `returncode`."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code once it has ended; raises TimeoutExpired."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("hypnod", timeout or 0.0)
        return self.returncode

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)


def _run(arguments: Sequence[str], environ: Mapping[str, str], ends: Mapping[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    for name, number in (("stdout", 1), ("stderr", 2)):
        if name in ends:
            os.dup2(ends[name].detach(), number)
        setattr(sys, name, os.fdopen(number, "w", buffering=1, encoding="utf-8", closefd=False))
    sys.argv = ["hypnod", *arguments]
    try:
        hypnod.main()
    finally:
        atexit._run_exitfuncs()  # which a process of multiprocessing does not
