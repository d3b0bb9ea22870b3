"""Recordings of an archive."""

from collections.abc import Sequence
from pathlib import Path

import edfio
import numpy as np

from models.simulator.simulate import simulate_recording

SFREQ = 256


def write_night(
    path: Path,
    seconds: int = 12,
    labels: Sequence[str] = ("EEG", "EMG"),
    unit: str = "uV",
    seed: int = 0,
    scale: float = 1.0,
) -> Path:
    """Write simulated mice, two channels each."""
    mice = simulate_recording(
        seed=seed, duration_s=seconds, sfreq=SFREQ, n_subjects=(len(labels) + 1) // 2
    )
    data = mice.data.T[: len(labels)].astype(np.float64) * scale
    path.parent.mkdir(parents=True, exist_ok=True)
    edfio.Edf(
        [
            edfio.EdfSignal(x, SFREQ, label=label, physical_dimension=unit)
            for x, label in zip(data, labels, strict=True)
        ],
        data_record_duration=1,
    ).write(path)
    return path
