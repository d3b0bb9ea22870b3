"""`hypnod -m tests.rigs.fake_trial PID`: `engines.gpu.trial` on a device that is none.

`$FAKE_TRIAL` says what happens while the plans are built: `crash`, `wrong` (they compute something
else), or the path of a named pipe, which is read to its end before the first.
"""

import ctypes
import os
import sys
from pathlib import Path

from engines.gpu.trial import main
from tests.support.fake_gpu import FakeGpu, a_little_wrong


def become(network: bytes) -> bytes:
    """Return what becomes of a network."""
    fault = os.environ.get("FAKE_TRIAL", "")
    if fault == "crash":
        sys.stderr.write("the driver's last words\n")
        sys.stderr.flush()
        ctypes.string_at(0)
    elif fault == "wrong":
        return a_little_wrong(network)
    elif fault:
        Path(fault).read_bytes()
        del os.environ["FAKE_TRIAL"]
    return network


if __name__ == "__main__":
    gpu = FakeGpu()
    gpu.network = become
    with gpu.installed(Path(os.environ["CACHE_DIRECTORY"])):
        main()
