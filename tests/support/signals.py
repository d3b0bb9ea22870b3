"""Small signals and stream configs that many tests share."""

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.config import StagingConfig, StreamConfig, SubjectConfig
from models.signal.chunk import Chunk, StreamDescription
from models.signal.pipeline import EpochBatch, Pipeline
from models.signal.quality import QualityLimits
from models.signal.relative import relative_of
from models.spec import ModelSpec
from tests.support.bundles import mouse_spec

SPEC = mouse_spec()
LEVELS = msgspec.structs.replace(SPEC, relative=relative_of("mouse"))
"""The same, but that a net is given levels in place of samples."""


def stream_config(n_subjects: int = 1, **options: Any) -> StreamConfig:
    """A stream `cage` with subjects m1, m2, … on channels EEG1, EMG1, EEG2, …"""
    subjects = tuple(
        SubjectConfig(name=f"m{i}", channels={"eeg": f"EEG{i}", "emg": f"EMG{i}"})
        for i in range(1, n_subjects + 1)
    )
    return StreamConfig(name="cage", match={"name": "cage"}, subjects=subjects, **options)


def description(n_subjects: int = 1, sfreq: float = 512.0, unit: str = "µV") -> StreamDescription:
    labels = [f"{m}{i}" for i in range(1, n_subjects + 1) for m in ("EEG", "EMG")]
    return StreamDescription("cage", tuple(labels), (unit,) * len(labels), sfreq)


def pipeline(
    n_subjects: int = 1,
    sfreq: float = 512.0,
    hop_s: float | None = None,
    unit: str = "µV",
    spec: ModelSpec = SPEC,
    *,
    no_brain: bool = False,  # `noise` is what it is for
) -> Pipeline:
    return Pipeline(
        stream_config(n_subjects),
        spec,
        description(n_subjects, sfreq, unit),
        quality=QualityLimits(no_brain=no_brain),
        hop_s=hop_s,
        stall_s=StagingConfig().stall_s,
    )


def noise(n_samples: int, n_subjects: int = 1, seed: int = 0) -> NDArray[np.float32]:
    """White noise of 50 µV on all channels."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 50, (n_samples, 2 * n_subjects)).astype(np.float32)


def chunks(
    data: NDArray[np.float32], timestamps: NDArray[np.float64], sizes: list[int]
) -> Iterator[Chunk]:
    """Cut a recording into chunks of the given sizes, again and again until it ends."""
    first = i = 0
    while first < len(data):
        last = first + sizes[i % len(sizes)]
        yield Chunk(data[first:last], timestamps[first:last], float(first))
        first, i = last, i + 1


def run(
    pipe: Pipeline, data: NDArray[np.float32], timestamps: NDArray[np.float64], sizes: list[int]
) -> list[EpochBatch]:
    batches = []
    for chunk in chunks(data, timestamps, sizes):
        pipe.push(chunk)
        batches += pipe.pop_ready()
    return batches
