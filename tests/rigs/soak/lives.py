"""The daemon of a soak, started again after each kill, and its memory."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np

from tools.daemon_process import DaemonProcess, write_config

_LOOK_S = 2.0
_SETTLED_S = 10.0
"""Before that a process still fills its buffers."""
_PART = 0.1


class Memory(msgspec.Struct, frozen=True):
    """Resident, of one process of the daemon, MB."""

    wall_s: float
    """How long it was watched."""
    first_mb: float
    """In the first tenth of its time, once it was up for 10 s."""
    last_mb: float
    """In the last tenth."""
    most_mb: float


class Lives:
    """The daemon: killed and started again with the same config and journal.

    Args:
        config: of the daemon.
        folder: for its files; each process gets a folder of its own in it.
        environ: on top of this process's environment.
    """

    def __init__(self, config: Mapping[str, Any], folder: Path, environ: Mapping[str, str]) -> None:
        self._config, self._folder, self._environ = config, folder, environ
        self._seen: list[list[tuple[float, float]]] = []
        self._looked = 0.0
        self.process = self._start()

    def kill(self) -> None:
        """End it as a power cut would, and start it again."""
        self._end()
        self.process = self._start()

    def stop(self) -> None:
        """End it in order, and start it again."""
        self.process.ask_to_stop()
        self.process.wait_stopped()
        self.kill()

    def look(self) -> None:
        """Take note of its memory now and then, and raise ChildError where it has ended."""
        now = time.monotonic()
        if now - self._looked < _LOOK_S:
            return
        self._looked = now
        self.process.check_alive()
        status = Path(f"/proc/{self.process.process.pid}/status").read_text(encoding="ascii")
        kb = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
        self._seen[-1].append((now, int(kb) / 1000))

    @property
    def memory(self) -> list[Memory]:
        """Of each process that was watched for long enough."""
        found = []
        for seen in self._seen:
            settled = np.array([each for each in seen if each[0] - seen[0][0] > _SETTLED_S])
            if len(settled):
                n = max(1, round(_PART * len(settled)))
                first, last = np.median(settled[:n, 1]), np.median(settled[-n:, 1])
                wall_s = float(settled[-1, 0] - seen[0][0])
                found.append(Memory(wall_s, float(first), float(last), float(settled[:, 1].max())))
        return found

    def _start(self) -> DaemonProcess:
        folder = self._folder / f"life-{len(self._seen)}"
        folder.mkdir()
        self._seen.append([])
        process = DaemonProcess(write_config(folder, self._config), self._environ)
        process.wait_ready()
        return process

    def _end(self) -> None:
        """End it, and keep what it wrote since it was ready."""
        self.process.close()
        file = self._folder / f"life-{len(self._seen) - 1}" / "daemon.log"
        file.write_text(self.process.rest(), encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._end()
