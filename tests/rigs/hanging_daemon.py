"""`hypnod -m tests.rigs.hanging_daemon HANG --config F`: the daemon, whose main loop can hang.

It hangs at the next tick for as long as a file HANG exists. Everything else is real.
"""

import sys
import time
from pathlib import Path

import daemon.service


class HangingService(daemon.service.Service):
    """A daemon that hangs."""

    hang: Path

    def on_tick(self) -> bool:
        while self.hang.exists():
            time.sleep(0.01)
        return super().on_tick()


if __name__ == "__main__":
    _, hang, _, config = sys.argv
    HangingService.hang = Path(hang)
    vars(daemon.service)["Service"] = HangingService
    daemon.service.run_service(Path(config))
