"""What ends a run, or holds it up, and what becomes of the archive then."""

import os
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

from tests.rigs.archive.parts import Lab, dask, free_port, process, wait_until
from tools.cluster.errors import ClusterError


def killed_run(folder: Path) -> str:
    """The run itself is killed: its workers end, and the next one goes on."""
    lab = Lab(folder, 24)
    run = lab.start("--workers", "2")
    lab.wait_for(6, run)
    run.kill()
    run.communicate()
    wait_until("the end of its workers", lambda: not _alive(session=run.pid))
    before = lab.sidecars()
    told = lab.finish(lab.start("--workers", "2"))
    lab.check_whole(before)
    return f"killed after {len(before)} of {lab.n}, its workers ended; {told['done']} done after"


def lost_scheduler(folder: Path) -> str:
    """The scheduler is killed: the run says so, and the next one goes on."""
    lab, at = Lab(folder, 24), f"tcp://127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        scheduler = stack.enter_context(process(*_scheduler(at)))
        for _ in range(2):
            stack.enter_context(process(*_worker(at)))
        run = lab.start("--scheduler", at)
        lab.wait_for(6, run)
        scheduler.kill()
        told = lab.finish(run, code=ClusterError.exit_code)
    before = lab.sidecars()
    lab.finish(lab.start("--workers", "2"))
    lab.check_whole(before)
    return f"lost after {len(before)} of {lab.n}: {told['error']}"


def stopped_worker(folder: Path) -> str:
    """A worker stands still, as one does that waits for a disk: what it had is done by another."""
    lab, at = Lab(folder, 24), f"tcp://127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        stack.enter_context(process(*_scheduler(at)))
        first = stack.enter_context(process(*_worker(at, "--no-nanny")))
        stack.enter_context(process(*_worker(at, "--no-nanny")))
        run = lab.start("--scheduler", at)
        lab.wait_for(6, run)
        os.kill(first.pid, signal.SIGSTOP)
        lab.finish(run)
    lab.check_whole({})
    return f"all {lab.n} done by the other one"


def _alive(session: int) -> list[str]:
    """Return which processes of a session are there."""
    found = subprocess.run(
        ["ps", "--sid", str(session), "-o", "stat="], capture_output=True, text=True, check=False
    )
    return [line for line in found.stdout.split() if not line.startswith("Z")]


def _scheduler(at: str) -> list[str]:
    return dask("scheduler", "--host", at)


def _worker(at: str, *arguments: str) -> list[str]:
    return dask("worker", at, "--nthreads", "1", "--death-timeout", "60", *arguments)
