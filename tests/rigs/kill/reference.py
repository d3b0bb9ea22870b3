"""What a daemon that nobody killed would have said of the samples that the killed one received.

Any sample of the signal can be made again from its number.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from daemon.config import StagingConfig, StreamConfig
from daemon.stager import Estimate, Stager, hops_per_epoch
from engines.bundle import Bundle
from engines.select import open_engine
from models.signal.chunk import Chunk, StreamDescription
from models.signal.pipeline import Pipeline
from models.signal.quality import QualityLimits
from models.spec import ModelSpec

SUBJECTS = ("m1", "m2")


def labels_of(spec: ModelSpec) -> tuple[str, ...]:
    """Return the labels of the source's channels: all of the first subject, then the second."""
    numbers = range(1, len(SUBJECTS) + 1)
    return tuple(f"{m.upper()}{number}" for number in numbers for m in spec.modalities)


@dataclass(frozen=True, slots=True)
class Stretch:
    """What one process of the daemon staged."""

    first: int
    """The first sample that it received."""
    first_hop: int
    last_hop: int
    warm: bool


@dataclass(frozen=True, slots=True)
class Signal:
    """Everything that the source sends, in the end.

    Args:
        seed: of the values.
        t0: timestamp of sample 0, s.
        sfreq: sampling rate, Hz.
        n_channels: of the stream.
    """

    seed: int
    t0: float
    sfreq: float
    n_channels: int

    def times(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the timestamps (n,) of samples, s."""
        return self.t0 + numbers / self.sfreq

    def values(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return samples (n, n_channels), µV: noise whose amplitude changes every second."""
        block = round(self.sfreq)
        out = np.empty((len(numbers), self.n_channels), np.float32)
        for second in np.unique(numbers // block):
            rng = np.random.default_rng([self.seed, int(second)])
            level = rng.uniform(20, 80, self.n_channels)
            noise = rng.normal(0, level, (block, self.n_channels))
            here = numbers // block == second
            out[here] = noise[numbers[here] % block]
        return out


def reference(
    stretches: Sequence[Stretch],
    signal: Signal,
    stream: StreamConfig,
    bundle: Bundle,
    staging: StagingConfig,
) -> Iterator[Estimate]:
    """Stage, without an interruption, what the daemon received, as often as it started anew."""
    stretches = list(stretches)
    while stretches:
        after = enumerate(stretches[1:], 1)
        warm = next((i for i, stretch in after if not stretch.warm), len(stretches))
        yield from _stage(stretches[:warm], signal, stream, bundle, staging)
        stretches = stretches[warm:]


def _stage(
    stretches: Sequence[Stretch],
    signal: Signal,
    stream: StreamConfig,
    bundle: Bundle,
    staging: StagingConfig,
) -> Iterator[Estimate]:
    """Stage stretches that went on from one another."""
    spec = bundle.spec
    hops = hops_per_epoch(staging.hop_s, spec)
    hop_s = spec.epoch_s / hops
    labels, sfreq = labels_of(spec), signal.sfreq
    description = StreamDescription(stream.name, labels, ("uV",) * len(labels), sfreq)
    quality = QualityLimits(no_brain=False)  # `Signal` has none
    start = partial(Pipeline, stream, spec, description, hop_s=staging.hop_s)
    start = partial(start, quality=quality, stall_s=staging.stall_s)
    pipeline = start()
    pipeline.count_from(stretches[0].first_hop)
    origin = signal.t0 + stretches[0].first / sfreq
    n_rows = len(SUBJECTS)
    with open_engine(bundle, "onnxruntime", n_rows=n_rows, hops_per_epoch=hops) as engine:
        stager = Stager(engine, {stream.name: list(SUBJECTS)}, staging, bundle.manifest.grammar)
        end, after = origin, None
        for stretch in stretches:
            too_short = stretch.first / sfreq + signal.t0 - end < stream.jitter_s
            if after is not None and (too_short or hops > 1):
                # Too few samples are missing to be a gap, but a restart starts the filters anew,
                # and with a short hop it has lost the first samples of the next epochs.
                pipeline = start()
                pipeline.recall(after)
            end = origin + (stretch.last_hop - stretches[0].first_hop) * hop_s + spec.epoch_s
            # with a short hop the first sample after a restart tells that others are missing
            stop = max(round((end - signal.t0) * sfreq), stretch.first + (hops > 1))
            numbers = np.arange(stretch.first, stop)
            parts = np.array_split(numbers, len(numbers) // 500 + 1)
            for part in filter(len, parts):  # none where it staged but what was missing
                times = signal.times(part)
                pipeline.push(Chunk(signal.values(part), times, float(times[-1])))
                batches = [b for b in pipeline.pop_ready() if b.hop <= stretch.last_hop]
                after = batches[-1].after if batches else after
                yield from stager.stage(batches)
            # As long after the end as it takes to give up what is missing before it.
            overdue = pipeline.pop_ready(end + staging.stall_s)
            batches = [b for b in overdue if b.hop <= stretch.last_hop]
            after = batches[-1].after if batches else after
            yield from stager.stage(batches)
        yield from stager.flush()
