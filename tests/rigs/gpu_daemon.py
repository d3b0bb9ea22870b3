"""`hypnod -m tests.rigs.gpu_daemon KIND LOST --config F`: the daemon, on a device that is none.

The device is `tests.support.fake_gpu`, which `tests.rigs.fake_trial` tries. It fails as soon as a
file LOST exists, in a tick, after it has written into its ring; with `$CRASH` it ends the daemon
while it is opened. Everything else is real.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import daemon.service
from engines import select
from engines.base import Engine
from engines.bundle import Bundle
from engines.gpu import later
from tests.support.fake_gpu import FakeGpu, RefusedError


def main() -> None:
    """Run the daemon on a computer that seems to have a GPU."""
    _, kind, lost, _, config = sys.argv
    gpu = FakeGpu()

    def after() -> None:
        if "CRASH" in os.environ:
            os.kill(os.getpid(), signal.SIGSEGV)
        if Path(lost).exists():
            for content, is_on_device in gpu.pieces.values():
                if not is_on_device:
                    content.fill(0)
            raise RefusedError(999)

    def open_kind(bundle: Bundle, _: str, **more: Any) -> Engine:
        return select.open_engine(bundle, kind, **more)

    gpu.after = after
    vars(later)["_TRIAL"] = "tests.rigs.fake_trial"
    vars(select).update(_version=lambda package: "11.4.0", load_driver=lambda: None)
    vars(daemon.service)["open_engine"] = open_kind
    with gpu.installed(Path(config).parent):
        daemon.service.run_service(Path(config))


if __name__ == "__main__":
    main()
