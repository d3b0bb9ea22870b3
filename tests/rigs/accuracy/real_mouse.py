"""The raw mouse recording, which no expert has scored: hypnod beside two other scorers.

Everybody is compared in epochs of 4 s, as experts score mice; hypnod's probabilities are averaged
over them (`tools.score.aggregate`), as `hypnod score --epoch-s 4` does.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.config import StreamConfig, SubjectConfig
from daemon.messages import Kind
from daemon.stager import Estimate
from engines.bundle import Bundle
from engines.select import open_engine
from models.recordings.agreement import Agreement, compare
from models.recordings.as_stream import epochs_of
from models.recordings.hypnograms.read import read_hypnogram
from models.recordings.open import open_recording
from models.signal.pipeline import EpochBatch
from models.spec import ModelSpec
from tests.rigs.accuracy.threshold_scorer import EPOCH_S, Features, measure, score_by_thresholds
from tools.score.aggregate import aggregate
from tools.score.offline import stage_recording

CHANNELS = {"eeg": "EEG", "emg": "EMG"}
_KINDS: tuple[Kind, ...] = ("final", "live")


class Signals(msgspec.Struct, frozen=True, kw_only=True):
    """What the epochs of one stage by eye are like: 5, 50 and 95 % of them."""

    n_epochs: int
    emg_uv: tuple[float, float, float]
    """Root mean square, µV."""
    theta_delta: tuple[float, float, float]


class RealMouse(msgspec.Struct, frozen=True, kw_only=True):
    """What the recording shows."""

    file: str
    bundle: str
    """Name and first 12 digits of the hash."""
    duration_s: float
    rule_emg_uv: float
    """Threshold of the rule: EMG louder than this is Wake, µV."""
    rule_theta_delta: float
    """Threshold of the rule."""
    seconds: dict[str, dict[str, float]]
    """Time in each stage by scorer, s."""
    agreement: dict[str, dict[str, Agreement]]
    """Of the second scorer with the first, which stands in for the truth."""
    signals: dict[str, Signals]
    """By the stage by eye."""


@dataclass(frozen=True)
class Findings:
    """Everything about the recording, in epochs of 4 s where it is not said otherwise."""

    report: RealMouse
    hypnograms: Mapping[str, Sequence[str]]
    """Stages by scorer."""
    features: Features


def look_at(path: Path, bundle: Bundle, outside: Path, seen: Path) -> Findings:
    """Stage the recording in every way, and compare.

    Args:
        path: the recording, with channels EEG and EMG.
        bundle: hypnod's model.
        outside: CSV of another scorer's hypnograms, one or several `subject`s; see
            docs/misleep_stage.py.
        seen: CSV of the stages by eye.

    Raises:
        HypnodError: a file cannot be used.
    """
    stages = bundle.spec.stages
    found = stage(path, bundle)
    seconds, usable = measure_seconds(path, bundle.spec)
    features = seconds.mean(EPOCH_S)
    rule = score_by_thresholds(seconds, usable)
    by_eye = read_hypnogram(seen, stages).to_epochs(EPOCH_S, len(rule.stages))
    hypnograms = {
        **{f"hypnod {kind}": [e.stage for e in each] for kind, each in found.items()},
        "by eye": by_eye,
        "rule": list(rule.stages),
        **_read_outside(outside, stages, len(rule.stages)),
    }
    report = RealMouse(
        file=path.name,
        bundle=f"{bundle.manifest.name} {bundle.hash[:12]}",
        duration_s=len(rule.stages) * EPOCH_S,
        rule_emg_uv=rule.emg_uv,
        rule_theta_delta=rule.theta_delta,
        seconds={name: _seconds(found, stages) for name, found in hypnograms.items()},
        agreement=_agreement(hypnograms, stages),
        signals=_signals(features, by_eye, stages),
    )
    return Findings(report, hypnograms, features)


def _read_outside(path: Path, stages: Sequence[str], n_epochs: int) -> dict[str, list[str]]:
    """Return the hypnogram of each subject of a CSV, named after its file and subject."""
    with path.open(encoding="utf-8", newline="") as file:
        subjects = dict.fromkeys(row["subject"] for row in csv.DictReader(file))
    return {
        f"{path.stem.replace('-', ' ')} {subject}": read_hypnogram(
            path, stages, subject=subject
        ).to_epochs(EPOCH_S, n_epochs)
        for subject in subjects
    }


def _stream() -> StreamConfig:
    subject = SubjectConfig(name="mouse", channels=CHANNELS)
    return StreamConfig(name="real", match={"name": "real"}, subjects=(subject,))


def stage(path: Path, bundle: Bundle) -> dict[Kind, list[Estimate]]:
    """Return the estimates of epochs of 4 s, by kind."""
    recording = open_recording(path, list(CHANNELS.values()))
    estimates: list[Estimate] = []
    with open_engine(bundle, "onnxruntime", n_rows=1) as engine:
        grammar = bundle.manifest.grammar
        for _, new in stage_recording(recording, _stream(), engine, grammar=grammar):
            estimates += new
    spec = bundle.spec
    by_kind = {kind: [e for e in estimates if e.kind == kind] for kind in _KINDS}
    return {
        kind: aggregate(found, spec.epoch_s, EPOCH_S, spec.stages)
        for kind, found in by_kind.items()
    }


def measure_seconds(path: Path, spec: ModelSpec) -> tuple[Features, NDArray[np.bool_]]:
    """Return the features of each second and whether it can be used."""
    batches = list(_condition(path, spec))
    epochs = [b.microvolts[0] for b in batches]
    usable: NDArray[np.bool_] = np.stack([b.usable[0].all() for b in batches])
    return measure(np.stack(epochs)), usable


def _condition(path: Path, spec: ModelSpec) -> Iterator[EpochBatch]:
    recording = open_recording(path, list(CHANNELS.values()))
    return epochs_of(recording, _stream(), spec)


def _seconds(hypnogram: Sequence[str], stages: Sequence[str]) -> dict[str, float]:
    shown = (*stages, *sorted({*hypnogram} - {*stages}))
    return {stage: EPOCH_S * sum(s == stage for s in hypnogram) for stage in shown}


def _signals(
    features: Features, by_eye: Sequence[str], stages: Sequence[str]
) -> dict[str, Signals]:
    def spread(values: NDArray[np.float64]) -> tuple[float, float, float]:
        low, middle, high = np.percentile(values, (5, 50, 95)).tolist()
        return low, middle, high

    return {
        stage: Signals(
            n_epochs=int(mine.sum()),
            emg_uv=spread(features.emg_uv[mine]),
            theta_delta=spread(features.theta_delta[mine]),
        )
        for stage in stages
        if (mine := np.array(by_eye) == stage).any()
    }


def _agreement(
    hypnograms: Mapping[str, Sequence[str]], stages: Sequence[str]
) -> dict[str, dict[str, Agreement]]:
    names = list(hypnograms)
    return {
        truth: {
            name: compare(hypnograms[truth], hypnograms[name], stages)
            for name in names
            if name != truth
        }
        for truth in names
    }
