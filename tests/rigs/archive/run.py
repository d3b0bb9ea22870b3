"""Prove that an archive loses nothing and doubles nothing, whatever becomes of who works at it.

python -m tests.rigs.archive.run [NAME…]
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from tests.rigs.archive.faults import killed_run, lost_scheduler, stopped_worker
from tests.rigs.archive.hosts import three_hosts
from tests.rigs.archive.parts import SkippedError
from tests.rigs.archive.slurm import slurm

PROOFS: dict[str, Callable[[Path], str]] = {
    "killed-run": killed_run,
    "lost-scheduler": lost_scheduler,
    "stopped-worker": stopped_worker,
    "three-hosts": three_hosts,
    "slurm": slurm,
}


def main() -> int:
    """Run the proofs that are named, or all; return 1 where one fails."""
    console, failed = Console(soft_wrap=True, highlight=False, markup=False), 0
    for name in sys.argv[1:] or PROOFS:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="hypnod-archive-") as folder:
            try:
                said = PROOFS[name](Path(folder))
            except SkippedError as why:
                said = f"skipped: {why}"
            except (AssertionError, TimeoutError) as error:
                failed, said = 1, f"FAILED: {error}"
        console.print(f"{name} ({time.monotonic() - began:.0f} s): {said}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
