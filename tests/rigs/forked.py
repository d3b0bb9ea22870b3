"""`hypnod` in a process of its own, forked from one that has imported what it runs.

Imports take most of a command's time, and the tests start hundreds.
"""

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.reduction import DupFd
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, Self

import pytest

import hypnod

_CONTEXT = multiprocessing.get_context("forkserver")
_IMPORTED = [
    "tests.rigs.forked",
    "daemon.service",
    "matplotlib.backends.backend_agg",
    "onnxruntime",
    "pylsl",
    "serial",
    "tools.arm",
    "tools.bench.floor",
    "tools.cli",
    "tools.doctor",
    "tools.init",
    "tools.rehearse.command",
    "tools.replay.command",
    "tools.run",
    "tools.simulate",
    "tools.watch",
    "tools.web.command",
    "tools.web.server",
]

_STARTERS = (
    "tools.bench.daemon",
    "tools.bench.trigger",
    "tools.daemon_process",
    "tools.replay.process",
)


class Forked:
    """A process that runs `hypnod`, with what `subprocess.Popen` has of those used here.

    Args:
        arguments: of `hypnod`.
        environ: on top of this process's environment.
        cwd: the folder that it runs in.
        stdin, stdout, stderr: files or their descriptors, `subprocess.PIPE` or `DEVNULL`.
    """

    def __init__(
        self,
        arguments: Sequence[object],
        environ: Mapping[str, str] | None = None,
        *,
        cwd: Path | None = None,
        stdin: IO[Any] | int = subprocess.DEVNULL,
        stdout: IO[Any] | int = subprocess.DEVNULL,
        stderr: IO[Any] | int = subprocess.PIPE,
    ) -> None:
        _CONTEXT.set_forkserver_preload(_IMPORTED)
        self.args = [*map(str, arguments)]
        self.stdin, *ends = _ends(stdin, "r")
        self.stdout, out = _ends(stdout, "w")
        self.stderr, err = _ends(stderr, "w")
        ends += out, err
        given = (self.args, {**os.environ, **(environ or {})}, cwd or Path.cwd())
        self._process = _CONTEXT.Process(target=_run, args=(*given, [DupFd(end) for end in ends]))
        self._process.start()
        for end in ends:
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
            with suppress(ProcessLookupError):  # the server that forked it was told first
                os.kill(self.pid, sig)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def communicate(self) -> tuple[str, str]:
        """Return what it writes to its pipes until it has ended."""
        with ThreadPoolExecutor() as pool:
            out, err = pool.map(lambda p: p.read() if p else "", (self.stdout, self.stderr))
        self._close()
        return out, err

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._close()

    def _close(self) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait()


def run(
    *arguments: object,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    says: str = "",
    check: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run `hypnod` to its end, as `subprocess.run` would.

    Args:
        arguments: of `hypnod`.
        cwd: the folder that it runs in.
        environ: on top of this process's environment.
        says: what it reads from its standard input.
        check: raise CalledProcessError where it fails.

    Raises:
        CalledProcessError: it failed, and that was not expected.
    """
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as stdin,
        tempfile.TemporaryFile("w+", encoding="utf-8") as stdout,
        tempfile.TemporaryFile("w+", encoding="utf-8") as stderr,
    ):
        stdin.write(says)
        stdin.seek(0)
        with Forked(
            arguments, environ, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr
        ) as process:
            code = process.wait()
        stdout.seek(0)
        stderr.seek(0)
        done = subprocess.CompletedProcess(process.args, code, stdout.read(), stderr.read())
    if check:
        done.check_returncode()
    return done


@contextmanager
def forked_children() -> Iterator[None]:
    """Let the tools that start `hypnod` fork it, too; what they read of it is text."""
    with pytest.MonkeyPatch.context() as patch:
        for module in _STARTERS:
            patch.setattr(f"{module}.subprocess", _AS_SUBPROCESS)
        yield


def _popen(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    text: bool = True,
    stdin: IO[Any] | int = subprocess.DEVNULL,
    stdout: IO[Any] | int = 1,
    stderr: IO[Any] | int = 2,
) -> Forked:
    start = hypnod.command()
    assert [*command[: len(start)]] == start
    return Forked(command[len(start) :], env, stdin=stdin, stdout=stdout, stderr=stderr)


_AS_SUBPROCESS = SimpleNamespace(**{**vars(subprocess), "Popen": _popen})


def _ends(stream: IO[Any] | int, mode: str) -> tuple[IO[str] | None, int]:
    """Return our end of a pipe, if it is one, and a descriptor of its own end, to be closed."""
    if stream == subprocess.PIPE:
        read, write = os.pipe()
        if mode == "r":
            return os.fdopen(write, "w", encoding="utf-8"), read
        return os.fdopen(read, encoding="utf-8"), write
    if stream == subprocess.DEVNULL:
        return None, os.open(os.devnull, os.O_RDWR)
    return None, os.dup(stream if isinstance(stream, int) else stream.fileno())


def _run(
    arguments: Sequence[str], environ: Mapping[str, str], cwd: Path, streams: Sequence[Any]
) -> None:
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    os.chdir(cwd)
    for number, stream in enumerate(streams):
        os.dup2(stream.detach(), number)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", closefd=False)
    sys.argv = ["hypnod", *arguments]
    try:
        hypnod.main()
    finally:
        atexit._run_exitfuncs()  # which a process of multiprocessing does not
