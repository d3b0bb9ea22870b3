"""The picture of simulated signals beside real ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from models.simulator.mouse.tracks import EMG
from models.stages import COLOURS, MOUSE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from models.fit.compare_signals import Epochs
    from models.fit.signals import Array, Index, ScoredPowers

_EEG_HZ, _EMG_HZ = (1.0, 100.0), (10.0, 200.0)


def draw(
    path: Path,
    raw: Epochs,
    animals: list[Epochs],
    real: ScoredPowers,
    like_real: Array,
    sfreq: float,
) -> None:
    """Draw spectra and EMG of the raw mouse, and the scored mouse's joint distribution."""
    mpl.use("Agg")
    figure, axes = plt.subplots(2, 3, figsize=(12, 7), layout="constrained")
    _draw_spectra(axes[0, 0], raw, animals, sfreq, 0)
    _draw_spectra(axes[0, 1], raw, animals, sfreq, 1)
    _draw_emg(axes[0, 2], raw, animals)
    _draw_joint(axes[1, 0], real.log_powers, real.stages, "real mouse, second half")
    _draw_joint(axes[1, 1], like_real, real.stages, "the fitted mouse, simulated")
    centred = [a.log_powers - a.log_powers.mean(axis=0) for a in animals]
    values = np.concatenate([rows[::8] for rows in centred])
    stages = np.concatenate([a.stages[::8] for a in animals])
    _draw_joint(axes[1, 2], values, stages, f"{len(animals)} simulated animals, each centred")
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _draw_spectra(
    axes: Axes, raw: Epochs, animals: list[Epochs], sfreq: float, channel: int
) -> None:
    freqs = np.arange(raw.spectra.shape[-1]) * sfreq / 2 / (raw.spectra.shape[-1] - 1)
    low, high = (_EEG_HZ, _EMG_HZ)[channel]
    shown = (freqs >= low) & (freqs <= high)
    for stage in ("Wake", "NREM"):
        of_animals = np.array([_spectrum(a, stage, channel, shown) for a in animals])
        bounds = np.quantile(of_animals, (0.1, 0.9), axis=0)
        axes.fill_between(freqs[shown], *bounds, color=COLOURS[stage].picture, alpha=0.25, lw=0)
        of_raw = _spectrum(raw, stage, channel, shown)
        axes.plot(
            freqs[shown], of_raw, color=COLOURS[stage].picture, label=f"raw mouse, {stage} by rule"
        )
    axes.set(xscale="log", yscale="log", xlabel="Hz", ylabel="power / NREM power, per Hz")
    axes.set_title(f"{('EEG', 'EMG')[channel]}; bands: 10 to 90 % of simulated animals", fontsize=9)
    axes.legend(fontsize=8)


def _spectrum(animal: Epochs, stage: str, channel: int, shown: Array) -> Array:
    spectra = animal.spectra[:, channel][:, shown]
    total = np.median(spectra[animal.stages == MOUSE.index("NREM")].sum(axis=-1))
    return np.asarray(np.median(spectra[animal.stages == MOUSE.index(stage)], axis=0) / total)


def _draw_emg(axes: Axes, raw: Epochs, animals: list[Epochs]) -> None:
    levels = np.linspace(0.02, 0.98, 49)
    for stage in ("Wake", "NREM"):
        rows = np.array([_tones(animal, stage, levels) for animal in animals])
        bounds = np.quantile(rows, (0.1, 0.9), axis=0)
        axes.fill_between(levels, *bounds, color=COLOURS[stage].picture, alpha=0.25, lw=0)
        axes.plot(levels, _tones(raw, stage, levels), color=COLOURS[stage].picture)
    axes.set(xlabel="quantile of 4 s epochs", ylabel="log EMG over its median in NREM")
    axes.set_title("EMG amplitude", fontsize=9)


def _tones(animal: Epochs, stage: str, levels: Array) -> Array:
    tone = animal.log_powers[:, EMG]
    calm = np.median(tone[animal.stages == MOUSE.index("NREM")])
    return np.asarray(np.quantile(tone[animal.stages == MOUSE.index(stage)] - calm, levels))


def _draw_joint(axes: Axes, values: Array, stages: Index, title: str) -> None:
    """Scatter slow EEG against EMG, by stage; the fitted mouse has little theta of its own."""
    for s, stage in enumerate(MOUSE):
        of_stage = values[stages == s][:700]
        axes.plot(
            of_stage[:, 0] + of_stage[:, 1] - values[:, :2].sum(axis=1).mean(),
            of_stage[:, EMG] - values[:, EMG].mean(),
            ".",
            ms=2,
            alpha=0.5,
            color=COLOURS[stage].picture,
            label=stage,
        )
    axes.set(xlabel="log delta + log theta", ylabel="log EMG", title=title)
    axes.title.set_fontsize(9)
    axes.legend(fontsize=8, markerscale=4)
