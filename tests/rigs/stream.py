"""A daemon's stream on a real outlet, fed with a signal that tells what time it was recorded.

The signal is a sum of many sines, a function of time alone, and never repeats: an epoch that
resembles the undisturbed signal's epoch of the same number holds the samples of that time.
"""

import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Self

import numpy as np
import pylsl
import pytest
from numpy.typing import NDArray

from daemon.config import Config, JournalConfig, PublishConfig, StagingConfig
from daemon.journal.writer import Journal
from daemon.messages import StreamMessage
from daemon.metrics import Metrics
from daemon.notify import Notifier
from daemon.outbox import Outbox, Round
from daemon.restart.resumption import Past
from daemon.sockets.publisher import Publisher
from daemon.state import StateWriter
from daemon.stream import Stream
from models.signal.chunk import Chunk
from models.signal.pipeline import EpochBatch
from tests.rigs.lsl import Source, stream_config, wait_until
from tests.support.signals import SPEC, pipeline

SFREQ = 512.0
OK, MISSING = "ok", "missing"
ALIKE = 0.9
"""Least correlation of two epochs of the same time; of other times it is below 0.5."""


def signal(time: NDArray[np.float64], n_channels: int = 2) -> NDArray[np.float64]:
    """Return EEG, EMG and whatever follows, in µV, at times in s; (n_samples, n_channels)."""
    rng = np.random.default_rng(5)
    frequency = rng.uniform(12.0, 45.0, (25, n_channels))
    phase = rng.uniform(0.0, 2 * np.pi, (25, n_channels))
    waves: NDArray[np.float64] = np.sin(2 * np.pi * time[:, None, None] * frequency + phase)
    return np.asarray(15.0 * waves.sum(axis=1))


@cache
def undisturbed(n_epochs: int) -> list[NDArray[np.float32]]:
    """Return the epochs of the signal, each (1, 2, n_times)."""
    pipe = pipeline()
    time = np.arange(round(n_epochs * SFREQ) + 1) / SFREQ
    pipe.push(Chunk(signal(time).astype(np.float32), time, 0.0))
    return [batch.epochs for batch in pipe.pop_ready()]


def within_other_host() -> list[str]:
    """Return the command that runs another on a host of another name."""
    return _possible(["unshare", "--uts", "sh", "-c", 'hostname otherhost; exec "$@"', "sh"])


def within_rebooted_machine() -> list[str]:
    """Return the command that runs another on a machine whose clock has begun near 0."""
    offset = 30 - round(pylsl.local_clock())
    return _possible(["unshare", "--time", "--monotonic", str(offset), "--fork", "--kill-child"])


def _possible(command: list[str]) -> list[str]:
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs the right to make namespaces: {error}")
    return command


class Rig:
    """A stream of a daemon, polled by the test.

    Args:
        name: of the LSL stream.
        staging, settings: of the config.
    """

    def __init__(self, name: str, staging: StagingConfig | None = None, **settings: object) -> None:
        self.batches: list[EpochBatch] = []
        self.said: list[StreamMessage] = []
        """What was published of the stream."""
        self.origin = 0.0
        self.config = stream_config(name, **settings)
        self.metrics = Metrics()
        self._resources = ExitStack()
        folder = Path(self._resources.enter_context(tempfile.TemporaryDirectory()))
        journal = Journal(JournalConfig(path=str(folder / "journal.sqlite")), self.metrics)
        publisher = Publisher(PublishConfig(bind="tcp://127.0.0.1:*"))
        outbox = Outbox(
            self._resources.enter_context(journal), self._resources.enter_context(publisher), self
        )
        notifier = Notifier({})
        self._resources.callback(notifier.close)
        states = StateWriter((self.config,), "session", outbox, self.metrics, notifier)
        config = Config(streams=(self.config,), staging=staging or StagingConfig())
        past = Past(None, 0, SPEC.n_context * SPEC.epoch_s)
        self.stream = Stream(self.config, config, SPEC, states, self.metrics, past.begin)

    def take(self, what: Round) -> None:
        """Remember what is published."""
        self.said += [m for m in what.messages if isinstance(m, StreamMessage)]

    def poll(self) -> None:
        self.stream.poll(pylsl.local_clock())
        while (batch := self.stream.pop()) is not None:
            self.batches.append(batch)
        assert self.stream.error is None, self.stream.error

    def until_epoch(self, number: int) -> None:
        """Poll until an epoch has been cut."""

        def cut() -> bool:
            self.poll()
            return len(self.batches) > number

        wait_until(cut, f"epoch {number}")

    def until_state(self, state: str, reason: str = "") -> None:
        """Poll until the stream is in a state for a reason that contains these words."""

        def reached() -> bool:
            self.poll()
            return self.said[-1].state == state and reason in self.said[-1].reason

        wait_until(reached, f"{state} {reason}")

    def until_connected(self, connection: int = 1) -> None:
        def connected() -> bool:
            self.poll()
            inlet = self.stream._inlet
            return inlet.connected and inlet.connection == connection

        wait_until(connected, f"connection {connection}")

    def push(
        self,
        source: Source,
        begin: float,
        end: float,
        *,
        channels: Sequence[int] = (0, 1),
        change: tuple[slice, int, float] | None = None,
    ) -> None:
        """Push the signal from `begin` to `end`, s since the origin, the first push's clock.

        Args:
            source: where.
            begin, end: s.
            channels: of the signal, in the order of the source's.
            change: samples and channel to set to a value.
        """
        self.origin = self.origin or source.clock()
        sfreq = source.spec["sfreq"]
        time = np.arange(round(begin * sfreq), round(end * sfreq)) / sfreq
        data = signal(time, max(channels) + 1)[:, list(channels)]
        if change is not None:
            samples, channel, value = change
            data[samples, channel] = value
        source.push(len(time), timestamps=self.origin + time, data=data)

    def reasons(self, modality: int = 0) -> list[str]:
        """Return what is known of each epoch."""
        return [str(batch.reasons[0, modality]) for batch in self.batches]

    def check_grid(self) -> None:
        """See that every epoch is there once, at its time, with the signal of that time."""
        assert [batch.hop for batch in self.batches] == list(range(len(self.batches)))
        origin = self.batches[0].onset
        assert origin == pytest.approx(self.origin, abs=1e-3)
        for k, batch in enumerate(self.batches):
            assert batch.onset == origin + k * SPEC.epoch_s
            for m in np.flatnonzero(batch.usable[0]):
                meant = undisturbed(len(self.batches))[k][0, m, 128:]
                alike = np.corrcoef(batch.epochs[0, m, 128:], meant)[0, 1]
                assert alike > ALIKE, f"epoch {k} is {alike:.2f} like the signal of its time"

    def count(self, metric: str) -> float:
        return self.metrics.registry.get_sample_value(metric, {"stream": self.config.name}) or 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stream.drain()
        self._resources.close()
