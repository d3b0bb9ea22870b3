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
_IMPORTED = ["tests.rigs.forked", "tools.cli", "tools.run", "daemon.service", "onnxruntime"]


class Forked:
    """A process that runs `hypnod`, with what `subprocess.Popen` has of those used here.

    Args:
        arguments: of `hypnod`.
        environ: on top of this process's environment.
    """

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        _CONTEXT.set_forkserver_preload(_IMPORTED)
        read, write = os.pipe()
        self.stderr: IO[str] | None = os.fdopen(read, encoding="utf-8")
        self._process = _CONTEXT.Process(
            target=_run, args=(list(arguments), {**os.environ, **environ}, DupFd(write))
        )
        self._process.start()
        os.close(write)
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


def _run(arguments: Sequence[str], environ: Mapping[str, str], stderr: Any) -> None:
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    os.dup2(stderr.detach(), 2)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", closefd=False)
    sys.argv = ["hypnod", *arguments]
    try:
        hypnod.main()
    finally:
        atexit._run_exitfuncs()  # which a process of multiprocessing does not
