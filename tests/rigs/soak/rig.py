"""The processes of a soak: the daemon, started again after each kill, and the replays."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np

from tests.rigs.soak.plan import as_argument
from tools.daemon_process import ChildError, DaemonProcess
from tools.replay.fault_plan import Fault

AHEAD_S = 3.0
"""Recording time that a kill may hide, at most; with what the daemon has read, s."""
_LOOK_S = 2.0
_SETTLED_S = 10.0
"""Before that a process still fills its buffers."""
_PART = 0.1


class Life(msgspec.Struct, frozen=True):
    """The memory of one process of the daemon, resident, MB."""

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
        self.process.close()
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
    def memory(self) -> list[Life]:
        """Of each process that was watched for long enough."""
        lives = []
        for seen in self._seen:
            settled = np.array([each for each in seen if each[0] - seen[0][0] > _SETTLED_S])
            if len(settled):
                n = max(1, round(_PART * len(settled)))
                first, last = np.median(settled[:n, 1]), np.median(settled[-n:, 1])
                wall_s = float(settled[-1, 0] - seen[0][0])
                lives.append(Life(wall_s, float(first), float(last), float(settled[:, 1].max())))
        return lives

    def _start(self) -> DaemonProcess:
        folder = self._folder / f"life-{len(self._seen)}"
        folder.mkdir()
        self._seen.append([])
        process = DaemonProcess(self._config, folder, self._environ)
        process.wait_ready()
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.close()


class Replay:
    """`hypnod replay` of several streams, round and round, with what goes wrong in each.

    Args:
        recordings: what it plays; each stream has its file's name.
        duration_s: for how long, s of recording time.
        storms: what goes wrong in each.
        environ: on top of this process's environment.
    """

    def __init__(
        self,
        recordings: Sequence[Path],
        duration_s: float,
        storms: Sequence[Sequence[Fault]],
        environ: Mapping[str, str],
    ) -> None:
        folder = recordings[0].parent
        self._log, self._out = folder / "replay.log", folder / "replay.json"
        command = ["replay", *map(str, recordings), "--speed", "max", "--loop"]
        command += ["--ahead", f"{AHEAD_S:g}", "--duration", f"{duration_s:.3f}"]
        command += ["--no-markers", "--quiet", "--json"]
        for recording, storm in zip(recordings, storms, strict=True):
            for fault in storm:
                command += ["--fault", f"{recording.stem}/{as_argument(fault)}"]
        with self._log.open("wb") as log, self._out.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from tools.cli import main; main()", *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env={**os.environ, **environ},
            )

    @property
    def is_playing(self) -> bool:
        """Whether it goes on; raises ChildError where it failed."""
        code = self._process.poll()
        if code:
            text = self._log.read_text(encoding="utf-8", errors="replace")
            raise ChildError(f"expected the replay to play, found exit code {code}: {text[-2000:]}")
        return code is None

    @property
    def faults(self) -> list[str]:
        """The kinds of what went wrong, once it has ended."""
        streams = json.loads(self._out.read_bytes())["streams"]
        return [fault["kind"] for stream in streams for fault in stream["faults"]]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait()
