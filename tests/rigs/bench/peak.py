"""What this processor can do at most: `python -m tests.rigs.bench.peak` prints it as JSON.

A process of its own, because the library that multiplies matrices takes its number of threads
from the environment when it is loaded.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec
import numpy as np

_SIZE = 1024
_COPIED = 64 << 20
_TIMES = 5


class Peak(msgspec.Struct, frozen=True, kw_only=True):
    """The best that was seen."""

    threads: int
    """Threads it was seen with."""
    gflops: float
    """Float32 operations of a large product of matrices, 1e9/s."""
    gb_per_s: float
    """Bytes read and written by a large copy, 1e9/s."""


def measure_peak(threads: int) -> Peak:
    """Measure the processor with so many threads; the copy always uses one."""
    variables = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    environment = os.environ | dict.fromkeys(variables, str(threads))
    command = [sys.executable, "-m", "tests.rigs.bench.peak", str(threads)]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    return msgspec.json.decode(done.stdout, type=Peak)


def main() -> None:
    """Print the peak of this process."""
    a = np.random.default_rng(0).standard_normal((_SIZE, _SIZE)).astype(np.float32)
    source = np.zeros(_COPIED, np.uint8)
    target = np.ones_like(source)
    peak = Peak(
        threads=int(sys.argv[1]),
        gflops=2 * _SIZE**3 / _fastest(lambda: a @ a) / 1e9,
        gb_per_s=2 * _COPIED / _fastest(lambda: np.copyto(target, source)) / 1e9,
    )
    sys.stdout.buffer.write(msgspec.json.encode(peak))


def _fastest(call: Callable[[], object]) -> float:
    times = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


if __name__ == "__main__":
    main()
