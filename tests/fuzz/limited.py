"""`python -m tests.fuzz.limited FILE…`: read recordings with little memory, one process each.

Prints for each a line of JSON: what was found or refused, and how much memory it took, MB.
"""

import json
import multiprocessing
import resource
import sys
from pathlib import Path

from models.errors import HypnodError
from models.recordings.open import open_recording

_MORE = 4 * 2**30
"""Address space beside what the imports took; memory that is written to is measured."""


def main() -> None:
    fork = multiprocessing.get_context("fork")
    used = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MORE, used + _MORE))
    for name in sys.argv[1:]:
        child = fork.Process(target=_read, args=(Path(name),))
        child.start()
        child.join()
        if child.exitcode:
            sys.exit(f"{name}: ended with {child.exitcode}")


def _read(path: Path) -> None:
    try:
        recording = open_recording(path)
        for _ in recording.chunks(100_000):
            pass
        found = f"{recording.n_samples} samples"
    except HypnodError as error:
        found = str(error)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({"found": found, "peak_mb": peak_mb}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
