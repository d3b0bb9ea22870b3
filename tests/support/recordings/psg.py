"""Polysomnographies of people, written in the layouts of public collections; noise, not sleep."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import edfio
import numpy as np

from models.simulator.noise import pink_noise

EPOCH_S = 30
_UV = {"W": 5.0, "N1": 10.0, "N2": 20.0, "N3": 40.0, "R": 80.0}
"""Amplitude of a channel by stage, so that a net can learn something."""


def write_psg(
    path: Path,
    rates: Mapping[str, float],
    stages: Sequence[str],
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Write a channel of noise, µV, for each label and rate, as long as the stages; return them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {
        label: signal_of(stages, rate, seed + i) for i, (label, rate) in enumerate(rates.items())
    }
    signals = [
        edfio.EdfSignal(
            data[label], rate, label=label, physical_dimension="uV", physical_range=(-500, 500)
        )
        for label, rate in rates.items()
    ]
    edfio.Edf(
        signals,
        recording=edfio.Recording(startdate=datetime(2001, 1, 1).date()),
        starttime=datetime(2001, 1, 1, 22).time(),
        data_record_duration=1,
    ).write(path)
    return data


def signal_of(stages: Sequence[str], sfreq: float, seed: int) -> np.ndarray:
    """Return pink noise, as a brain may be, whose amplitude follows the stages, µV."""
    amplitude = np.repeat([_UV.get(stage, 5.0) for stage in stages], round(EPOCH_S * sfreq))
    noise = pink_noise(np.random.default_rng(seed), len(amplitude))
    return np.clip(amplitude * noise, -499, 499)


def write_stages(path: Path, bouts: Sequence[tuple[float, float | None, str]]) -> None:
    """Write an EDF+ of annotations alone: onset, duration, text."""
    edfio.Edf(
        [],
        annotations=[edfio.EdfAnnotation(*bout) for bout in bouts],
        recording=edfio.Recording(startdate=datetime(2001, 1, 1).date()),
        starttime=datetime(2001, 1, 1, 22).time(),
    ).write(path)


def epochs(stages: Sequence[str], spelt: str = "Sleep stage {}") -> list[tuple[float, float, str]]:
    """Return the bouts of a stage an epoch."""
    return [(EPOCH_S * i, EPOCH_S, spelt.format(stage)) for i, stage in enumerate(stages)]
