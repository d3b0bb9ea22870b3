"""Recordings of an archive."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.simulator.mouse.simulate import SimulatedMice
from tests.support.recordings.edf import write_channels

SFREQ = 256
_RIGHTS = "-dac_override,-dac_read_search"


def write_night(
    path: Path,
    seconds: int = 12,
    labels: Sequence[str] = ("EEG", "EMG"),
    unit: str = "uV",
    seed: int = 0,
    scale: float = 1.0,
) -> Path:
    """Write simulated mice, two channels each."""
    mice = SimulatedMice(
        seed=seed, duration_s=seconds, sfreq=SFREQ, n_subjects=(len(labels) + 1) // 2
    ).record()
    data = mice.data.T[: len(labels)].astype(np.float64) * scale
    return write_channels(path, data, labels, SFREQ, unit)


def run_without_rights(*words: str) -> subprocess.CompletedProcess[str]:
    """Run hypnod as one who may not read what is closed: root gives up that right."""
    able = ["setpriv", "--bounding-set", _RIGHTS, "--inh-caps", _RIGHTS] if os.getuid() == 0 else []
    command = [*able, sys.executable, "-m", "hypnod", *words]
    return subprocess.run(command, check=False, capture_output=True, text=True)
