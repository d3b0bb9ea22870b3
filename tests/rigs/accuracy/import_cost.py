"""What it costs a net of the authors' recipe to run live.

`python -m tests.rigs.accuracy.import_cost` prints it.

The authors divide a whole recording by its standard deviation and filter nothing. A small net is
trained like that on simulated mice and then reads other ones, prepared in several causal ways. No
real mouse is in it: it tells the ways apart, not how well a lab's weights do.
"""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import signal

from models.recordings.as_stream import condition
from models.recordings.channels import guess_subjects
from models.recordings.lab import LabRecording
from models.recordings.open import Recording, open_recording
from models.scored_epochs import ScoredEpochs
from models.signal.montage import StreamChannels
from models.spec import Band, ModelSpec
from models.stages import MOUSE, to_indices
from models.training.devices import Device
from models.training.evaluate import evaluate
from models.training.simulated import FIRST_UNSEEN_SEED, simulate_subject
from models.training.train import TrainConfig, train

LIVE = ModelSpec(
    model="sdreamer",
    species="mouse",
    stages=MOUSE,
    modalities=("eeg", "emg"),
    pathways=("mixed", "eeg", "emg"),
    bands=(Band(0.1, 230.4),) * 2,
    sfreq=512.0,
    epoch_s=1.0,
    n_context=16,
    token_shape=(2, 32),
    amplitude="sd",
    clip=100.0,
    architecture={"n_heads": 4, "ffn_size": 128, "head_size": 64, "dropout": 0.0},
)
"""As `hypnod import` makes it, but for a smaller net."""
ROBUST = msgspec.structs.replace(LIVE, amplitude="robust")
SETTLED = round(300.0 / LIVE.epoch_s)
"""Epochs until a running amplitude has seen five minutes."""
SHIPPED = msgspec.structs.replace(ROBUST, bands=(Band(0.5, 100.0), Band(10.0, 200.0)), clip=10.0)

Prepare = Callable[[Recording], NDArray[np.float32]]
"""A mouse's recording → its epochs (n, M, T)."""


def prepare_whole(recording: Recording) -> NDArray[np.float32]:
    """Return the epochs of a recording as the authors' code prepares them."""
    x = recording.read(0, recording.n_samples).astype(np.float64)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    ratio = Fraction(LIVE.sfreq / recording.sfreq).limit_denominator(100)
    if ratio != 1:
        x = signal.resample_poly(x, ratio.numerator, ratio.denominator, axis=0)
    n = len(x) // LIVE.n_times
    epochs = x[: n * LIVE.n_times].reshape(n, LIVE.n_times, -1).transpose(0, 2, 1)
    return np.ascontiguousarray(epochs).astype(np.float32)


def prepare_live(spec: ModelSpec) -> Prepare:
    """Return what prepares a recording as the daemon does for `spec`."""

    def prepare(recording: Recording) -> NDArray[np.float32]:
        subjects = guess_subjects(recording.ch_names, spec.modalities)
        stream = StreamChannels(name="mouse", subjects=subjects)
        epochs: NDArray[np.float32] = condition(recording, stream, spec).epochs[0]
        return epochs

    return prepare


WAYS = {
    "whole recording's SD, no filter (as trained)": prepare_whole,
    "causal, running SD (hypnod import)": prepare_live(LIVE),
    "causal, running robust amplitude": prepare_live(ROBUST),
    "as the first bundle's": prepare_live(SHIPPED),
}


def to_scored(lab: LabRecording, prepare: Prepare) -> ScoredEpochs:
    """Return one simulated mouse, prepared, with its true stages."""
    epochs = prepare(lab.open())
    stages = lab.hypnograms["m1"].to_epochs(LIVE.epoch_s, len(epochs))
    indices = to_indices(stages, LIVE.stages).astype(np.int64)
    return ScoredEpochs(lab.name, epochs, indices, np.ones(epochs.shape[:2], bool))


def compare_scales(path: Path) -> Table:
    """Return how large a recording's EEG and EMG come out, beside what the authors make of it."""
    recording = open_recording(path)
    table = Table("signals prepared", "EEG", "EMG", title=f"{path.name}: scale, median over epochs")
    sizes = [prepare(recording).std(axis=-1) for prepare in WAYS.values()]
    n = min(map(len, sizes))
    for name, size in zip(WAYS, sizes, strict=True):
        ratios = np.median(size[SETTLED:n] / sizes[0][SETTLED:n], axis=0)
        table.add_row(name, *(f"{ratio:.2f}" for ratio in ratios))
    return table


def simulate(first_seed: int, n: int, hours: float) -> list[LabRecording]:
    """Simulate mice at the authors' sampling rate."""
    seeds = range(first_seed, first_seed + n)
    return [simulate_subject("mouse", s, hours, LIVE.sfreq, artefacts_per_hour=0.0) for s in seeds]


def main(
    mice: Annotated[int, typer.Option(min=2, help="Simulated mice to train on.")] = 24,
    unseen: Annotated[int, typer.Option(min=1, help="Others, to stage.")] = 12,
    hours: Annotated[float, typer.Option(min=0.1, help="Of each.")] = 0.5,
    passes: Annotated[int, typer.Option(min=1, help="Through the training mice.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    recording: Annotated[
        Path | None, typer.Option(help="Only compare the scales of a file's EEG and EMG.")
    ] = None,
) -> None:
    """Train as the authors do, stage as hypnod does."""
    if recording is not None:
        Console().print(compare_scales(recording))
        return
    n_validation = max(1, mice // 6)
    known = [to_scored(lab, prepare_whole) for lab in simulate(seed, mice, hours)]
    config = TrainConfig(passes=passes, masks=False, seed=seed)
    device = Device(torch.device("cpu"), torch.float32)
    model, _ = train(LIVE, known[n_validation:], known[:n_validation], config, device)
    recordings = simulate(FIRST_UNSEEN_SEED + seed, unseen, hours)
    table = Table(
        "signals prepared", "κ mixed", "EEG alone", "EMG alone", title="unseen mice, live"
    )
    for name, prepare in WAYS.items():
        subjects = [to_scored(lab, prepare) for lab in recordings]
        scores = evaluate(model, subjects)
        table.add_row(name, *(f"{scores[p, 0].kappa:.3f}" for p in LIVE.pathways))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
