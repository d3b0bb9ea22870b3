"""A night whose band powers and EMG are a real mouse's, epoch by epoch, under simulated waves.

    python -m models.fit.semireal ../shared/data/mouse_bandpower --out semireal

writes `zfhx3.edf` (EEG, EMG) and `zfhx3.csv` (the expert's stages) for `hypnod evaluate`. It
follows the SECOND half of the scored mouse, which the simulator was not fitted to.

What is real: the five band powers and the EMG of each 4 s epoch, their order, and the expert's
stages. What is not: the shape of the waves within a band and an epoch, their phases, heart
beats, twitches. These follow the stage that the powers and the EMG themselves suggest under
`models.simulator.mouse.tracks`' statistics of the first half, never the expert's stage, so no label
enters the signals.
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import edfio
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.errors import RecordingError
from models.fit.band_powers import measure
from models.fit.signals import EPOCH_S, Array, ScoredPowers, halves, read_band_powers
from models.recordings.hypnogram import Hypnogram
from models.recordings.writers import replacing, write_csv
from models.simulator.mouse.animal import Animal
from models.simulator.mouse.eeg import add_eeg
from models.simulator.mouse.emg import add_emg
from models.simulator.mouse.tracks import COLUMNS, EMG, Tracks, mouse_signals
from models.stages import MOUSE

SUBJECT = "zfhx3"

_ROUNDS = 6  # of synthesising, measuring and correcting
_STEP = 0.8  # of what is missing is corrected at once: neighbouring epochs share frames
_MAX_STEP = 1.0
_SCATTER = 0.1  # variance, log power, of measuring 4 s


@dataclass(frozen=True)
class Semireal:
    """A synthesised night and what it was asked to follow."""

    data: NDArray[np.float32]
    """(n_samples, 2) µV: EEG, EMG."""
    asked: Array
    """(n_epochs, 6) log band powers and log EMG of every 4 s, gaps interpolated."""
    hypnogram: Hypnogram
    """The expert's stages of 4 s; epochs that were left out of the source have none."""


def synthesise(scored: ScoredPowers, *, sfreq: float = 512.0, seed: int = 0) -> Semireal:
    """Synthesise signals whose measured band powers and EMG are those of real epochs.

    Args:
        scored: consecutive epochs; any that the source leaves out are interpolated.
        sfreq: sampling rate, Hz, whole.
        seed: of waves and electrodes.

    Raises:
        RecordingError: the rate is not whole, or too low for the bands.
    """
    if sfreq != round(sfreq) or sfreq < 210:
        raise RecordingError(f"expected a whole sampling rate of at least 210 Hz, found {sfreq:g}")
    place = np.round((scored.time_s - scored.time_s[0]) / EPOCH_S).astype(np.int64)
    every = np.arange(place[-1] + 1)
    asked = np.stack([np.interp(every, place, column) for column in scored.log_powers.T], axis=1)
    animal = _electrodes(asked, seed)
    shares = suggested_stages(asked)
    corrected = asked.copy()
    data = _render(corrected, shares, animal, sfreq, seed)
    for _ in range(_ROUNDS):
        missing = asked - measure(data, sfreq, EPOCH_S)
        corrected += np.clip(_STEP * missing, -_MAX_STEP, _MAX_STEP)
        data = _render(corrected, shares, animal, sfreq, seed)
    stages = tuple(MOUSE[s] for s in scored.stages.tolist())
    onsets = place * EPOCH_S
    hypnogram = Hypnogram(onsets, np.full(len(onsets), EPOCH_S), stages)
    return Semireal(data, asked, hypnogram)


def suggested_stages(log_powers: Array) -> Array:
    """Return the probability of each stage, (n_epochs, 3), given powers and EMG alone.

    Normal distributions of the fitted first half, smoothed over about three epochs.
    """
    statistics = mouse_signals()
    log_likelihood = np.empty((len(log_powers), len(MOUSE)))
    for s, stage in enumerate(MOUSE):
        covariance = np.array(statistics.slow[stage]) + np.array(statistics.fast[stage])
        covariance += _SCATTER * np.eye(len(COLUMNS))
        deviation = log_powers - np.array(statistics.mean[stage])
        distance = (deviation @ np.linalg.inv(covariance) * deviation).sum(axis=1)
        rarity = np.log(statistics.n_epochs[stage])
        log_likelihood[:, s] = rarity - 0.5 * (distance + np.linalg.slogdet(covariance)[1])
    smooth = ndimage.gaussian_filter1d(log_likelihood, 1.0, axis=0, mode="nearest")
    odds = np.exp(smooth - smooth.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def _electrodes(asked: Array, seed: int) -> Animal:
    """Draw an animal whose electrodes add little to what is asked for."""
    animal = Animal.draw(np.random.default_rng(seed))
    quiet_uv = float(np.exp(np.quantile(asked[:, EMG], 0.02)))
    return replace(
        animal,
        eeg_uv=float(np.sqrt(np.exp(np.median(asked[:, :EMG], axis=0)).sum())),
        highpass_hz=0.3,
        emg_uv=quiet_uv,
        heart_uv=2.0 * quiet_uv,
        breath_uv=quiet_uv,
        floor_uv=0.1 * quiet_uv,
        mains_uv=0.0,
        leak=0.01,
        cross=0.02,
    )


def _render(
    log_powers: Array, shares: Array, animal: Animal, sfreq: float, seed: int
) -> NDArray[np.float32]:
    """Return the signals, (n_samples, 2) µV, whose tracks pass through the epochs' values."""
    n_seconds = round(len(log_powers) * EPOCH_S)
    middles = (np.arange(len(log_powers)) + 0.5) * EPOCH_S
    seconds = np.arange(n_seconds) + 0.5
    values, stages = (
        np.stack([np.interp(seconds, middles, column) for column in table.T], axis=1)
        for table in (log_powers, shares)
    )
    calm, lively = (mouse_signals().mean[stage][EMG] for stage in ("NREM", "Wake"))
    activity = np.clip((values[:, EMG] - calm) / (lively - calm), 0, 1.5) * stages[:, 0]
    powers = values[:, :EMG]
    tracks = Tracks(
        stages, powers, values[:, EMG], activity, arousal=activity, wandering=np.zeros_like(powers)
    )
    data = np.zeros((round(n_seconds * sfreq), 2), np.float32)
    rngs: Iterator[np.random.Generator] = iter(np.random.default_rng(seed).spawn(2))
    add_eeg(data[:, 0], next(rngs), tracks, animal, sfreq)
    add_emg(data, next(rngs), tracks, animal, sfreq)
    return data


def agreement(night: Semireal, sfreq: float) -> Array:
    """Return the correlation, (6,), of the log powers and EMG asked for with those measured."""
    measured = measure(night.data, sfreq, EPOCH_S)
    pairs = zip(night.asked.T, measured.T, strict=True)
    return np.array([np.corrcoef(asked, found)[0, 1] for asked, found in pairs])


def write(folder: Path, night: Semireal, sfreq: float) -> Path:
    """Write the recording and its hypnogram into a folder; return the recording's path.

    Raises:
        RecordingError: the place cannot be written to.
    """
    signals = []
    for label, x in zip(("EEG", "EMG"), night.data.T, strict=True):
        limit = math.ceil(np.abs(x).max())
        signals.append(
            edfio.EdfSignal(
                x.astype(np.float64),
                sfreq,
                label=label,
                transducer_type="synthesised from real band powers",
                physical_dimension="uV",
                physical_range=(-limit, limit),
            )
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordingError(f"{folder}: expected a folder to write to, found: {error}") from error
    path = folder / f"{SUBJECT}.edf"
    with replacing(path) as draft:
        edfio.Edf(signals, data_record_duration=1).write(draft)
    write_csv(path.with_suffix(".csv"), night.hypnogram)
    return path


def main() -> None:
    """Synthesise the second half of the dataset in the folder given."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, help="holds baseline.npz")
    parser.add_argument("--out", type=Path, required=True, help="folder for zfhx3.edf and .csv")
    parser.add_argument("--hours", type=float, default=12.0, help="from its begin; default: all")
    parser.add_argument("--sfreq", type=float, default=512.0, help="Hz; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    _, second = halves(read_band_powers(arguments.folder))
    night = synthesise(second.first(arguments.hours), sfreq=arguments.sfreq, seed=arguments.seed)
    path = write(arguments.out, night, arguments.sfreq)
    found = ", ".join(
        f"{name} {r:.3f}"
        for name, r in zip(COLUMNS, agreement(night, arguments.sfreq), strict=True)
    )
    print(f"{path}: correlation of asked and measured: {found}")  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
