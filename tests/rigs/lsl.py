"""LSL for tests: a source in its own process, and waiting for what it brings about."""

import json
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

import hypnod
from daemon.config import StreamConfig, SubjectConfig
from daemon.lsl.inlet import Inlet
from models.signal.chunk import Chunk
from tests.rigs.forked import Forked


class Source:
    """An LSL outlet in its own process.

    Sample k of channel c is k + 1000 c unless data is given, k counting over restarts too.
    Timestamps default to k / sfreq after the source's LSL clock at its first push.

    With `faults`, as of `hypnod replay --fault`, it plays a simulated subject of `species` in real
    time instead; channels that are not named as its modalities, such as EEG, are noise. `began` is
    when it did, by its LSL clock, s. Outlets of the names in `twins` send the same.
    """

    def __init__(
        self,
        name: str,
        *,
        n_channels: int = 2,
        sfreq: float = 500.0,
        labels: Sequence[str] | None = ("EEG", "EMG"),
        units: Sequence[str] | str | None = "microvolts",
        source_id: str | None = None,
        kind: str = "EEG",
        dtype: str = "float32",
        within: Sequence[str] = (),
        faults: Sequence[str] | None = None,
        twins: Sequence[str] = (),
        species: str = "mouse",
    ) -> None:
        """Start it, `within` a command that runs the rest of its arguments."""
        self.spec: dict[str, Any] = {
            "name": name,
            "type": kind,
            "n_channels": n_channels,
            "sfreq": sfreq,
            "format": dtype,
            "source_id": uuid.uuid4().hex if source_id is None else source_id,
            "labels": None if labels is None else list(labels),
            "units": units if units is None or isinstance(units, str) else list(units),
            "faults": None if faults is None else list(faults),
            "twins": list(twins),
            "species": species,
        }
        self._within = list(within)
        self.sent = 0
        self._t0: float | None = None
        self._start()

    def _start(self) -> None:
        command = ["-m", "tests.rigs.source", json.dumps(self.spec)]
        self.process: Forked | subprocess.Popen[str]
        if self._within:
            self.process = subprocess.Popen(
                [*self._within, *hypnod.command(*command)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        else:
            pipe = subprocess.PIPE
            self.process = Forked(command, stdin=pipe, stdout=pipe, stderr=2)
        opened = self._reply()
        self.uid: str = opened.get("uid", "")
        self.began: float = opened.get("began", 0.0)

    def _reply(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the source's process ended"
        return json.loads(line)

    def _ask(self, do: str, **arguments: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()
        return self._reply()

    def clock(self) -> float:
        """The LSL clock of the source's process."""
        return float(self._ask("clock"))

    def wait_for_consumers(self, timeout: float = 60.0) -> None:
        assert self._ask("wait_for_consumers", timeout=timeout), "nobody connected"

    def have_consumers(self) -> bool:
        return bool(self._ask("have_consumers"))

    def push(
        self,
        n: int,
        *,
        timestamps: Sequence[float] | NDArray[np.float64] | None = None,
        data: NDArray[Any] | None = None,
    ) -> NDArray[np.float64]:
        """Push the next n samples as one chunk and return their timestamps."""
        if timestamps is None:
            self._t0 = self.clock() if self._t0 is None else self._t0
            timestamps = self._t0 + (self.sent + np.arange(n)) / (self.spec["sfreq"] or 500.0)
        times = np.asarray(timestamps, np.float64)
        rows = None if data is None else np.asarray(data).tolist()
        self._ask("push", first=self.sent, timestamps=times.tolist(), data=rows)
        self.sent += n
        return times

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the process as a crash does."""
        self.process.kill()
        self.close()

    def restart(self, **changes: Any) -> None:
        """Start a new process for the same stream, with `changes` to its spec."""
        self.kill()
        self.spec |= changes
        self._start()

    def close(self) -> None:
        """End the process as a program that quits does."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if self.process.poll() is None:
            self.thaw()
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def wait_until(condition: Callable[[], object], what: str, timeout: float = 60.0) -> None:
    """Return as soon as the condition holds; fail when it never does."""
    deadline = time.monotonic() + timeout
    idle = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout} s in vain: {what}"
        idle.wait(0.002)


def connect(inlet: Inlet, connection: int = 1) -> None:
    """Poll until the inlet's n-th connection stands; no sample may come by then."""

    def connected() -> bool:
        assert inlet.poll() is None
        return inlet.connection == connection and inlet.connected

    wait_until(connected, f"connection {connection}")


def collect(inlet: Inlet, n: int) -> Chunk:
    """Poll until n samples have come, and return them as one chunk."""
    chunks: list[Chunk] = []

    def complete() -> bool:
        chunk = inlet.poll()
        if chunk is not None:
            chunks.append(chunk)
        return sum(len(c.timestamps) for c in chunks) >= n

    wait_until(complete, f"{n} samples")
    return Chunk(
        np.concatenate([c.data for c in chunks]),
        np.concatenate([c.timestamps for c in chunks]),
        chunks[-1].arrived,
    )


def stream_config(name: str, **settings: Any) -> StreamConfig:
    """A stream of one subject, matched by the stream's name unless told otherwise."""
    subject = SubjectConfig(name="m01", channels={"eeg": "EEG", "emg": "EMG"})
    return StreamConfig(
        **{"name": "lab", "match": {"name": name}, "subjects": (subject,), **settings}
    )
