"""`hypnod -m tests.rigs.losing_daemon LOST --config F`: the daemon, on a device that gets lost.

The device is `tests.support.fake_gpu`. It fails as soon as a file LOST exists, in a tick, after it
has written into its ring. Everything else is real.
"""

import sys
from pathlib import Path

import daemon.service
from engines.base import Engine
from engines.bundle import Bundle
from engines.failover import FailoverEngine
from engines.onnxruntime import OnnxRuntimeEngine
from tests.support.fake_gpu import FakeGpu, RefusedError, open_without_gpu


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
    gpu = FakeGpu()
    device = open_without_gpu(bundle, n_rows, hops_per_epoch, n_read, gpu=gpu)

    def after() -> None:
        if Path(sys.argv[1]).exists():
            device._host["probabilities"][:] = 0
            raise RefusedError(999)

    gpu.after = after
    engine = FailoverEngine(device, spare)
    engine.why = "a GPU is there and passed the parity check"
    return engine


if __name__ == "__main__":
    *_, config = sys.argv
    vars(daemon.service)["open_engine"] = open_device
    daemon.service.run_service(Path(config))
