"""Fit the joint distribution of band powers and EMG that `simulator.mouse.tracks` draws from.

    python -m models.fit.signals ../shared/data/mouse_bandpower

Source: one zfhx3 mutant mouse, 20,958 epochs of 4 s scored by an expert, their band powers and
integrated EMG (SleepSign); davidmam/EEG-sleep-analysis (BSD-2), Katsageorgiou et al., PLoS Biol
16(5):e2003663 (2018), doi:10.1371/journal.pbio.2003663. Only the FIRST HALF is used.
"""

import argparse
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import RecordingError
from models.fit.band_powers import measure
from models.fit.tables import write_table
from models.simulator.mouse.animal import Animal
from models.simulator.mouse.eeg import add_eeg
from models.simulator.mouse.emg import add_emg
from models.simulator.mouse.tracks import (
    COLUMNS,
    EMG,
    SIGNALS_FILE,
    SignalStatistics,
    Table,
    Tracks,
)
from models.stages import MOUSE

SOURCE = (
    "first half of davidmam/EEG-sleep-analysis@795ffa61 baseline (BSD-2), one zfhx3 mutant mouse, "
    "doi:10.1371/journal.pbio.2003663"
)
EPOCH_S = 4.0
EMG_UNIT = 800.0
"""Integrated EMG of an epoch per µV of mean: 4 s at 200 samples a second, as SleepSign sums."""

_N_COURSE = 8  # epochs after an onset, and before an end, with a mean of their own
_RIDGE = 8.0  # as many epochs speak for no deviation
_LAGS = np.arange(1, 16)
_TIME_CONSTANTS_S = np.geomspace(4.0, 1200.0, 40)
_SFREQ = 256.0
_SAMPLED_S = 1600

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class ScoredPowers:
    """Epochs of 4 s that an expert has scored; the source leaves some out."""

    time_s: Array
    """(n_epochs,) onset of each, s."""
    log_powers: Array
    """(n_epochs, 6) logs of band powers, µV², and mean rectified EMG, µV."""
    stages: Index
    """(n_epochs,) index into Wake, NREM, REM."""

    def first(self, hours: float) -> "ScoredPowers":
        """Return what lies within the first hours."""
        return self[: int(np.searchsorted(self.time_s, self.time_s[0] + 3600 * hours))]

    def __getitem__(self, part: slice) -> "ScoredPowers":
        return ScoredPowers(self.time_s[part], self.log_powers[part], self.stages[part])


def read_band_powers(folder: Path) -> ScoredPowers:
    """Return all epochs of the dataset.

    Raises:
        RecordingError: the folder does not hold it.
    """
    path = folder / "baseline.npz"
    try:
        with np.load(path) as arrays:
            power, codes = arrays["power"].astype(np.float64), arrays["stage"].astype(np.int64)
            days = arrays["time"]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise RecordingError(f"expected band powers in {path}, found: {error}") from error
    power[:, EMG] /= EMG_UNIT
    return ScoredPowers(86400.0 * days, np.log(power), codes - 1)


def halves(scored: ScoredPowers) -> tuple[ScoredPowers, ScoredPowers]:
    """Return the first half, which is fitted, and the second, which is never fitted."""
    middle = len(scored.stages) // 2
    return scored[:middle], scored[middle:]


def fit(scored: ScoredPowers) -> SignalStatistics:
    """Fit epochs that follow each other; epochs left out of the source are passed over.

    Raises:
        RecordingError: a stage is missing or rare.
    """
    log_powers, stages = scored.log_powers, scored.stages
    counts = np.bincount(stages, minlength=len(MOUSE))
    if counts.min() < 100:
        raise RecordingError(f"expected 100 epochs of each stage, found {counts.tolist()}")
    bouts = np.append(0, np.cumsum(np.diff(stages) != 0))
    mean, slow, slow_s, fast, onset, ending = {}, {}, {}, {}, {}, {}
    for s, stage in enumerate(MOUSE):
        centre, onset[stage], ending[stage], rest = _fit_course(log_powers, stages, bouts, s)
        lasting, time_constants = _fit_slow(rest, bouts, stages == s)
        bias, sampling = _sampling(centre, s)
        mean[stage] = _rounded(centre - bias)
        slow[stage], slow_s[stage] = _table(lasting), _rounded(time_constants)
        quick = np.cov(rest[stages == s].T) - lasting - np.diag(sampling)
        fast[stage] = _table(_positive(quick))
    return SignalStatistics(
        source=SOURCE,
        n_epochs=dict(zip(MOUSE, counts.tolist(), strict=True)),
        epoch_s=EPOCH_S,
        mean=mean,
        slow=slow,
        slow_s=slow_s,
        fast=fast,
        onset=onset,
        ending=ending,
    )


def _fit_course(
    log_powers: Array, stages: Index, bouts: Index, s: int
) -> tuple[Array, dict[str, Table], dict[str, Table], Array]:
    """Regress one stage's epochs on the time since onset and before the end.

    Returns:
        The mean (6,), the courses by stage before and by stage after, and all epochs less
        what these explain, (n_epochs, 6); other stages' are 0.
    """
    design, keys = _design(stages, bouts, s)
    here = stages == s
    centre = log_powers[here].mean(axis=0)
    for _ in range(3):  # mean and courses explain each other's part
        target = np.vstack([log_powers[here] - centre, np.zeros((len(keys), len(COLUMNS)))])
        ridge = np.sqrt(_RIDGE) * np.eye(len(keys))
        courses = np.linalg.lstsq(np.vstack([design[here], ridge]), target, rcond=None)[0]
        centre = (log_powers[here] - design[here] @ courses).mean(axis=0)
    rest = np.zeros_like(log_powers)
    rest[here] = log_powers[here] - centre - design[here] @ courses
    tables: dict[str, dict[str, Table]] = {"onset": {}, "ending": {}}
    for kind, other in sorted({key[:2] for key in keys}):
        rows = [i for i, key in enumerate(keys) if key[:2] == (kind, other)]
        tables[kind][MOUSE[other]] = _table(courses[rows])
    return centre, tables["onset"], tables["ending"], rest


def _design(stages: Index, bouts: Index, s: int) -> tuple[Array, list[tuple[str, int, int]]]:
    """Return the indicators (n_epochs, n_keys) of each place in a course, and their keys."""
    n = len(stages)
    starts = np.flatnonzero(np.diff(bouts, prepend=-1))
    ends = np.append(starts[1:], n)
    others = [other for other in range(len(MOUSE)) if other != s]
    keys = [
        (kind, other, k)
        for kind in ("onset", "ending")
        for other in others
        for k in range(_N_COURSE)
    ]
    place = {key: i for i, key in enumerate(keys)}
    design = np.zeros((n, len(keys)))
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        for k in range(min(_N_COURSE, end - start) if stages[start] == s else 0):
            if start > 0:
                design[start + k, place["onset", int(stages[start - 1]), k]] = 1
            if end < n:
                design[end - 1 - k, place["ending", int(stages[end]), k]] = 1
    return design, keys


def _fit_slow(rest: Array, bouts: Index, here: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Fit what lasts longer than an epoch to the autocovariance within bouts.

    Returns:
        Covariance (6, 6) and time constants (6,), s.
    """
    pairs = [here[:-lag] & (bouts[:-lag] == bouts[lag:]) for lag in _LAGS]
    products = [rest[:-lag][ok].T @ rest[lag:][ok] for lag, ok in zip(_LAGS, pairs, strict=True)]
    weights = np.array([ok.sum() for ok in pairs], float)
    covariances = np.array(products) / np.maximum(weights, 1)[:, None, None]
    decays = np.exp(-_LAGS * EPOCH_S / _TIME_CONSTANTS_S[:, None])
    observed = np.diagonal(covariances, axis1=1, axis2=2)
    power = (weights * decays) @ observed / (weights * decays**2).sum(axis=1)[:, None]
    residual = observed - power[:, None] * decays[:, :, None]
    best = np.argmin((weights[:, None] * residual**2).sum(axis=1), axis=0)
    variances = np.maximum(power[best, np.arange(len(best))], 1e-4)
    first = 0.5 * (covariances[0] + covariances[0].T)
    scale = np.sqrt(np.maximum(np.diagonal(first), 1e-6))
    correlation = _positive(np.clip(first / np.outer(scale, scale), -0.95, 0.95), floor=1.0)
    return correlation * np.sqrt(np.outer(variances, variances)), _TIME_CONSTANTS_S[best]


def _sampling(centre: Array, s: int) -> tuple[Array, Array]:
    """Return bias and variance (6,) that measuring 4 s of noise of steady power has.

    They are those of this simulator's own signals, measured with `models.fit.band_powers`.
    """
    stages = np.tile(np.eye(len(MOUSE))[s], (_SAMPLED_S, 1))
    log_power = np.tile(centre[:EMG], (_SAMPLED_S, 1))
    activity = np.full(_SAMPLED_S, 0.8 if MOUSE[s] == "Wake" else 0.0)
    tracks = Tracks(
        stages=stages,
        log_power=log_power,
        log_emg=np.full(_SAMPLED_S, centre[EMG]),
        activity=activity,
        arousal=activity,
        wandering=np.zeros_like(log_power),
    )
    data = np.zeros((round(_SAMPLED_S * _SFREQ), 2), np.float32)
    streams: Iterator[np.random.Generator] = iter(np.random.default_rng(s).spawn(2))
    add_eeg(data[:, 0], next(streams), tracks, Animal.plain(), _SFREQ)
    add_emg(data, next(streams), tracks, Animal.plain(), _SFREQ)
    measured = measure(data, _SFREQ, EPOCH_S)[2:]  # filters settle
    return np.median(measured, axis=0) - centre, measured.var(axis=0)


def _positive(matrix: Array, floor: float | None = None) -> Array:
    """Return the nearest covariance matrix, or with `floor` a correlation matrix."""
    values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    nearest = (vectors * np.maximum(values, 1e-4)) @ vectors.T
    if floor is None:
        return np.asarray(nearest)
    scale = np.sqrt(np.diagonal(nearest))
    return np.asarray(nearest / np.outer(scale, scale))


def _rounded(values: Array) -> tuple[float, ...]:
    return tuple(np.round(values, 4).tolist())


def _table(rows: Array) -> Table:
    return tuple(_rounded(row) for row in rows)


def main() -> None:
    """Fit the first half of the dataset in the folder given; write the packaged statistics."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, help="holds baseline.npz")
    parser.add_argument("--out", type=Path, default=SIGNALS_FILE)
    arguments = parser.parse_args()
    first, _ = halves(read_band_powers(arguments.folder))
    write_table(arguments.out, fit(first))


if __name__ == "__main__":
    main()
