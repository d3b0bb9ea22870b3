"""Hold simulated signals against real ones: a raw mouse, and the scored mouse's second half.

    python -m models.fit.compare_signals ../shared/data

draws docs/simulator-signals.png and writes the numbers of docs/simulator.md beside it as JSON.
The raw mouse has no expert's stages: a rule stands in (`rule_stages`). Needs matplotlib.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from models.fit.band_powers import measure
from models.fit.compare_plot import draw
from models.fit.signals import EPOCH_S, Array, Index, ScoredPowers, halves, read_band_powers
from models.recordings.open import open_recording
from models.simulator.mouse.animal import Animal
from models.simulator.mouse.eeg import add_eeg
from models.simulator.mouse.emg import add_emg
from models.simulator.mouse.simulate import SimulatedMice
from models.simulator.mouse.tracks import COLUMNS, EMG, draw_tracks
from models.stages import MOUSE

FIGURE = Path("docs/simulator-signals.png")

_SFREQ = 500.0
_N_ANIMALS = 24
_HOURS = 0.75
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_CALM, _MOVING = 0.15, 0.4  # log EMG over its median


@dataclass(frozen=True)
class Epochs:
    """One animal's 4 s epochs."""

    log_powers: Array
    """(n_epochs, 6) as `models.fit.band_powers.measure` gives them."""
    stages: Index
    """(n_epochs,) index into Wake, NREM, REM; -1 where not clear."""
    spectra: Array
    """(n_epochs, 2, n_freqs) power density of EEG and EMG, µV²/Hz."""


def rule_stages(log_powers: Array) -> Index:
    """Return Wake where muscles move and NREM where they are calm and delta is high, else -1.

    Moving: log EMG at least 0.4 above its median. Calm: at most 0.15 above, with delta above
    its median. REM is not attempted.
    """
    tone = log_powers[:, EMG] - np.median(log_powers[:, EMG])
    deep = log_powers[:, 0] > np.median(log_powers[:, 0])
    stages = np.full(len(tone), -1)
    stages[(tone < _CALM) & deep] = MOUSE.index("NREM")
    stages[tone > _MOVING] = MOUSE.index("Wake")
    return stages


def read_raw(path: Path) -> Epochs:
    """Return the raw mouse, staged by `rule_stages` and at `_SFREQ`."""
    recording = open_recording(path)
    data = recording.read(0, recording.n_samples)
    data = signal.resample_poly(data, round(_SFREQ), round(recording.sfreq), axis=0)
    log_powers = measure(data, _SFREQ)
    return Epochs(log_powers, rule_stages(log_powers), _spectra(data))


def simulate_animals(seed: int) -> list[Epochs]:
    """Return simulated animals; epochs across a change of stage have none."""
    subjects = SimulatedMice(
        seed=seed,
        duration_s=3600 * _HOURS,
        sfreq=_SFREQ,
        n_subjects=_N_ANIMALS,
        every_stage=True,
    ).subjects()
    animals = []
    for subject in subjects:
        log_powers = measure(subject.data, _SFREQ)
        seconds = np.array([MOUSE.index(s) for s in subject.hypnogram]).reshape(-1, round(EPOCH_S))
        pure = (seconds == seconds[:, :1]).all(axis=1)
        stages = np.where(pure, seconds[:, 0], -1)
        animals.append(Epochs(log_powers, stages, _spectra(subject.data)))
    return animals


def simulate_scored(scored: ScoredPowers, seed: int) -> Array:
    """Return measured epochs, (n_epochs, 6), of the fitted mouse with real stages."""
    hypnogram = tuple(np.repeat(np.array(MOUSE)[scored.stages], round(EPOCH_S)).tolist())
    rngs = np.random.default_rng(seed).spawn(3)
    tracks = draw_tracks(rngs[0], hypnogram, Animal.plain())
    data = np.zeros((round(len(hypnogram) * _SFREQ), 2), np.float32)
    add_eeg(data[:, 0], rngs[1], tracks, Animal.plain(), _SFREQ)
    add_emg(data, rngs[2], tracks, Animal.plain(), _SFREQ)
    return measure(data, _SFREQ)


def _spectra(data: NDArray[np.float32]) -> Array:
    n = round(EPOCH_S * _SFREQ)
    epochs = data[: len(data) // n * n].reshape(-1, n, 2).transpose(0, 2, 1)
    return np.asarray(signal.welch(epochs, _SFREQ, nperseg=round(2 * _SFREQ))[1])


def compare_means(real: Array, other: Array, stages: Index, others: Index) -> dict[str, object]:
    """Return, by stage, mean (less NREM's) and SD of each column, of one and of another mouse."""
    out: dict[str, object] = {}
    for s, stage in enumerate(MOUSE):
        row = {}
        for name, values, which in (("real", real, stages), ("simulated", other, others)):
            base = values[which == MOUSE.index("NREM")].mean(axis=0)
            row[name] = {
                "mean": _rounded(values[which == s].mean(axis=0) - base),
                "sd": _rounded(values[which == s].std(axis=0)),
                "correlation": _rounded(np.corrcoef(values[which == s].T)[np.triu_indices(6, 1)]),
            }
        out[stage] = row
    return out


def place_of_raw(raw: Epochs, animals: list[Epochs]) -> dict[str, dict[str, float]]:
    """Return how many SDs of simulated animals the raw mouse lies from their mean, by feature."""
    names = [
        f"{kind} {c}" for kind in ("NREM level", "Wake over NREM", "SD in NREM") for c in COLUMNS
    ]
    of_raw, of_animals = _features(raw), np.array([_features(a) for a in animals])
    z = (of_raw - of_animals.mean(axis=0)) / of_animals.std(axis=0)
    return {
        name: {"raw": round(r, 2), "simulated": round(m, 2), "z": round(score, 2)}
        for name, r, m, score in zip(
            names, of_raw.tolist(), of_animals.mean(axis=0).tolist(), z.tolist(), strict=True
        )
    }


def _features(epochs: Epochs) -> Array:
    wake, nrem = (epochs.log_powers[epochs.stages == MOUSE.index(s)] for s in ("Wake", "NREM"))
    level = np.median(nrem, axis=0)
    level = np.append(level[:EMG] - level[:EMG].mean(), level[EMG])
    contrast = np.median(wake, axis=0) - np.median(nrem, axis=0)
    return np.concatenate([level, contrast, nrem.std(axis=0)])


def discriminate(training: list[tuple[Array, Index]], test: tuple[Array, Index]) -> float:
    """Return κ of a linear discriminant of band powers and EMG, each stage as likely.

    Of each animal and column the middle between the 5 % and 95 % quantiles is removed.
    """
    x = np.concatenate([_centred(values) for values, _ in training])
    y = np.concatenate([stages for _, stages in training])
    means = np.array([x[y == s].mean(axis=0) for s in range(len(MOUSE))])
    weights = np.linalg.solve(np.cov((x - means[y]).T), means.T)
    bias = -0.5 * (means.T * weights).sum(axis=0)
    found = (_centred(test[0]) @ weights + bias).argmax(axis=1)
    table = np.histogram2d(test[1], found, bins=np.arange(len(MOUSE) + 1))[0] / len(found)
    chance = float(table.sum(axis=0) @ table.sum(axis=1))
    return (float(np.trace(table)) - chance) / (1.0 - chance)


def _centred(values: Array) -> Array:
    return np.asarray(values - np.quantile(values, (0.05, 0.95), axis=0).mean(axis=0))


def quantiles(animals: list[Epochs], stage: str) -> Array:
    """Return quantiles of log EMG over its NREM median, (n_animals, n_quantiles)."""
    rows = []
    for animal in animals:
        tone = animal.log_powers[:, EMG]
        calm = np.median(tone[animal.stages == MOUSE.index("NREM")])
        rows.append(np.quantile(tone[animal.stages == MOUSE.index(stage)] - calm, _QUANTILES))
    return np.array(rows)


def compare(data: Path, figure: Path) -> dict[str, object]:
    """Draw the figure; return the numbers."""
    first, second = halves(read_band_powers(data / "mouse_bandpower"))
    raw = read_raw(data / "mouse_raw" / "mouse_eeg_emg_29min.edf")
    animals = simulate_animals(21)
    again, following = simulate_scored(first, 1), simulate_scored(second, 2)
    draw(figure, raw, animals, second, following, _SFREQ)
    clear = [(a.log_powers[a.stages >= 0], a.stages[a.stages >= 0]) for a in animals]
    real = (first.log_powers, first.stages), (second.log_powers, second.stages)
    return {
        "first half": compare_means(first.log_powers, again, first.stages, first.stages),
        "second half": compare_means(second.log_powers, following, second.stages, second.stages),
        "raw mouse": place_of_raw(raw, animals),
        "EMG quantiles": {
            stage: {
                "raw": _rounded(quantiles([raw], stage)[0]),
                "simulated": _rounded(quantiles(animals, stage).mean(axis=0)),
            }
            for stage in ("Wake", "NREM")
        },
        "kappa of a linear discriminant": {
            "simulated animals to second half": round(discriminate(clear, real[1]), 3),
            "first half to second half": round(discriminate([real[0]], real[1]), 3),
            "first half to simulated animals, median": round(
                float(np.median([discriminate([real[0]], animal) for animal in clear])), 3
            ),
        },
    }


def _rounded(values: Array) -> list[float]:
    rounded: list[float] = np.round(values, 2).tolist()
    return rounded


def main() -> None:
    """Compare with the shared recordings in the folder given."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, help="holds mouse_bandpower and mouse_raw")
    parser.add_argument("--out", type=Path, default=FIGURE, help="default: %(default)s")
    arguments = parser.parse_args()
    numbers = compare(arguments.folder, arguments.out)
    arguments.out.with_suffix(".json").write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
