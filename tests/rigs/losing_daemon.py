"""`hypnod -m tests.rigs.losing_daemon LOST --config F`: the daemon, on a device that gets lost.

The device is the GPU's network and bookkeeping on the processor. It fails as soon as a file LOST
exists, halfway through a tick, after it has written into its ring. Everything else is real.
"""

import sys
from pathlib import Path

import daemon.service
from engines.base import Engine
from engines.bundle import Bundle
from engines.errors import EngineError
from engines.failover import FailoverEngine
from engines.onnxruntime import OnnxRuntimeEngine
from tests.support.ring import RingOnProcessor


class LosingRing(RingOnProcessor):
    """A GPU that is lost."""

    lost: Path

    def _tick(self, bucket: int) -> None:
        super()._tick(bucket)
        if self.lost.exists():
            self._host["probabilities"][:] = 0
            raise EngineError("GPU: cudaStreamQuery: expected success, found cudaErrorUnknown")


def open_device(
    bundle: Bundle,
    kind: str,
    *,
    n_rows: int,
    threads: int,
    hops_per_epoch: int,
    n_read: int,
    precision: str,
) -> Engine:
    """Open what `engines.select.open_engine` opens on a computer with a GPU."""
    spare = OnnxRuntimeEngine(bundle, n_rows, threads, hops_per_epoch, n_read)
    spare.warm_up()
    engine = FailoverEngine(LosingRing(bundle, n_rows, hops_per_epoch, n_read), spare)
    engine.why = "a GPU is there and passed the parity check"
    return engine


if __name__ == "__main__":
    _, lost, _, config = sys.argv
    LosingRing.lost = Path(lost)
    vars(daemon.service)["open_engine"] = open_device
    daemon.service.run_service(Path(config))
