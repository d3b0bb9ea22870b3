"""The table of docs/adaptation.md: how far ordinary, changed and real animals are from the limit.

python -m tests.rigs.accuracy.drift_table  # the reference of the shipped bundle
python -m tests.rigs.accuracy.drift_table --fit 48  # of so many simulated mice
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from scipy import signal

from engines.bundle import open_bundle
from models.recordings.as_stream import epochs_of
from models.recordings.lab import read_subjects
from models.recordings.open import ArrayRecording, open_recording
from models.signal.drift import fit_reference
from models.signal.montage import StreamChannels, SubjectChannels
from models.signal.pipeline import EpochBatch
from models.simulator.mouse.simulate import SimulatedMice
from models.spec import ModelSpec, Reference
from models.training.simulated import simulate_subject

Signals = NDArray[np.float32]
Change = Callable[[Signals], NDArray[np.floating]]

SFREQ = 512.0
FIRST_TRAINING, FIRST_UNSEEN = 400_000, 500_000
"""Seeds that no training uses."""
REAL = Path("../shared/data/mouse_raw/mouse_eeg_emg_29min.edf")
HUM_HZ = 50.0
_LABELS = ("EEG", "EMG")
_FIRST_S = 300.0


def _stream(eeg: str, emg: str) -> StreamChannels:
    subject = SubjectChannels(name="m1", channels={"eeg": eeg, "emg": emg})
    return StreamChannels(name="cage", subjects=(subject,))


STREAM, _SWAPPED = _stream(*_LABELS), _stream(*reversed(_LABELS))


def add_hum(data: Signals) -> NDArray[np.floating]:
    """Add hum of the signal's own rms."""
    hum = np.sin(2 * np.pi * HUM_HZ * np.arange(len(data)) / SFREQ)
    return np.asarray(data + np.sqrt(2.0) * data.std(axis=0) * hum[:, None])


def slow_down(data: Signals) -> NDArray[np.floating]:
    """Play it at a quarter of the speed."""
    return np.asarray(signal.resample_poly(data[: len(data) // 4], 4, 1))


def make_white(data: Signals) -> NDArray[np.floating]:
    """Return white noise in its place."""
    return np.random.default_rng(0).normal(0, 50, data.shape)


CHANGES: dict[str, Change] = {
    "as it is": lambda data: data,
    "EEG and EMG swapped": lambda data: data[:, ::-1],
    "hum as strong as the signal": add_hum,
    "a quarter of the speed": slow_down,
    "white noise": make_white,
}


def epochs_of_mouse(
    data: NDArray[np.floating], spec: ModelSpec, reference: Reference | None = None
) -> Iterator[EpochBatch]:
    """Yield the epochs of signals, (n_samples, 2) µV, as the daemon makes them."""
    recording = ArrayRecording.of_microvolts("mouse", _LABELS, SFREQ, data.astype(np.float32))
    return epochs_of(recording, STREAM, spec, reference)


def simulate(seed: int, minutes: float) -> Signals:
    """Return a simulated mouse, (n_samples, 2) µV."""
    return (
        SimulatedMice(seed=seed, duration_s=60 * minutes, sfreq=SFREQ, artefacts_per_hour=6.0)
        .record()
        .data
    )


def fit(spec: ModelSpec, n_animals: int, minutes: float) -> Reference:
    """Fit a reference to simulated mice, every second one at 512 Hz."""
    sfreqs = (SFREQ, 128.0, SFREQ, 256.0, SFREQ, 1000.0)
    mice = (
        simulate_subject("mouse", FIRST_TRAINING + k, minutes / 60, sfreqs[k % len(sfreqs)])
        for k in track(range(n_animals), "training animals", console=Console(stderr=True))
    )
    return fit_reference(list(read_subjects(mice, spec)), spec)


def farthest(batches: Iterator[EpochBatch]) -> NDArray[np.float64]:
    """Return the greatest drift of each modality, (2,); NaN where it never was known."""
    found = np.concatenate([batch.drift for batch in batches])
    return np.asarray(np.max(found, axis=0, initial=-np.inf, where=np.isfinite(found)))


def misjudged(spec: ModelSpec, n_unseen: int, minutes: float) -> NDArray[np.float64]:
    """Return how far off the running amplitude is in the first minutes after a start.

    It is held against the one that has seen `minutes` of the same animal before, as a baseline
    would show them.

    Returns:
        (n_animals, n_epochs, 2), as a factor of at least 1.
    """
    n_first, before_s = round(_FIRST_S / spec.epoch_s), 60 * minutes
    off = []
    for k in track(range(n_unseen), "starts", console=Console(stderr=True)):
        data = simulate(FIRST_UNSEEN + k, minutes + _FIRST_S / 60)
        start = round(before_s * SFREQ)
        levels = [
            np.stack([b.after.adaptation.level[0] for b in epochs_of_mouse(x, spec)])
            for x in (data, data[start:])
        ]
        n = min(n_first, len(levels[1]))
        seen = levels[0][round(before_s / spec.epoch_s) :]
        off.append(np.exp(np.abs(levels[1][: n - 1] - seen[: n - 1])))
    return np.stack(off)


def rows(
    spec: ModelSpec, reference: Reference, n_unseen: int, minutes: float
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield what was measured, and the greatest drift of each animal, (n_animals, 2)."""
    unseen = [simulate(FIRST_UNSEEN + k, minutes) for k in range(n_unseen)]
    for name, change in CHANGES.items():
        measured = [
            farthest(epochs_of_mouse(change(data), spec, reference))
            for data in track(unseen, name, console=Console(stderr=True))
        ]
        yield f"{n_unseen} unseen simulated mice, {name}", np.stack(measured)
    if REAL.is_file():
        recording = open_recording(REAL)
        for name, stream in ((" of 29 min", STREAM), (", EEG and EMG swapped", _SWAPPED)):
            batches = epochs_of(recording, stream, spec, reference)
            yield f"the real mouse{name}", farthest(batches)[None]


def _range(found: NDArray[np.float64]) -> str:
    """Put what animals have in a cell; they have nothing where no epoch was usable."""
    if not len(found):
        return "no usable epoch"
    return " to ".join(f"{x:.2f}" for x in dict.fromkeys((found.min(), found.max())))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bundle", type=Path, help="default: the shipped one")
    parser.add_argument("--fit", type=int, metavar="N", help="fit a reference to N simulated mice")
    parser.add_argument("--unseen", type=int, default=12, help="simulated mice to measure")
    parser.add_argument("--minutes", type=float, default=45.0, help="of each simulated mouse")
    arguments = parser.parse_args(argv)
    manifest = open_bundle(arguments.bundle).manifest
    reference = manifest.reference
    if arguments.fit is not None:
        reference = fit(manifest.spec, arguments.fit, arguments.minutes)
    if reference is None:
        sys.stderr.write("the bundle has no reference: expected --fit N\n")
        return 1
    lines = ["| measured, at its farthest | eeg | emg |", "|---|---|---|"]
    for name, found in rows(manifest.spec, reference, arguments.unseen, arguments.minutes):
        cells = [_range(x[np.isfinite(x)]) for x in found.T]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    off = misjudged(manifest.spec, arguments.unseen, arguments.minutes)
    for name, factor in (("median", np.median(off, axis=(0, 1))), ("most", off.max(axis=(0, 1)))):
        lines.append(
            f"{name}: the amplitude is off by {factor[0]:.2f} (eeg), {factor[1]:.2f} (emg)"
        )
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
