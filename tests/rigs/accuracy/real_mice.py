"""Every real recording at hand against whoever scored it: hypnod beside outside scorers and a rule.

All in epochs of 4 s, hypnod's probabilities averaged over them. The outside scorers (somnus-eeg
1.0.5, misleep 0.3.3) and hypnod's offline teacher read the whole recording before they say a word;
all are machines.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from daemon.messages import Kind
from engines.bundle import Bundle
from models.recordings.agreement import compare
from models.recordings.find import hash_file
from models.recordings.hypnograms.read import read_hypnogram
from models.recordings.open import open_recording
from models.signal.montage import StreamChannels, SubjectChannels
from models.stages import UNKNOWN
from models.teacher import teach_recording, teacher_of
from tests.rigs.accuracy.real_mouse import CHANNELS, measure_seconds, stage
from tests.rigs.accuracy.threshold_scorer import EPOCH_S, score_by_thresholds
from tests.support.paths import DATA, ROOT

RECORDINGS = (
    *(DATA / "mouse_filtered" / f"mouse_{n}min.edf" for n in (31, 42, 4)),
    DATA / "mouse_raw" / "mouse_eeg_emg_29min.edf",
)
_KINDS: tuple[Kind, ...] = ("live", "final")
_SCORERS = ("somnus", "misleep_frontal", "misleep_parietal")
SEEN = {RECORDINGS[3]: ROOT / "docs" / "real-mouse-seen.csv"}


class RealRow(msgspec.Struct, frozen=True, kw_only=True):
    """One recording against one truth."""

    file: str
    truth: str
    n_epochs: int
    kappa: dict[str, float | None]
    """By scorer; not of one that the truth is made of."""
    wake_as_rem_s: dict[str, float]
    """Time of the truth's Wake that hypnod called REM, by kind, s."""
    learnt_as: str | None
    """What the recording was for when the bundle was made; null: nothing."""


class RealMice(msgspec.Struct, frozen=True, kw_only=True):
    """All of them."""

    bundle: str
    """Name and first 12 digits of the hash."""
    rows: tuple[RealRow, ...]


def look_at_all(bundle: Bundle) -> RealMice:
    """Stage every recording and compare."""
    rows = [row for path in RECORDINGS for row in look_at_one(path, bundle)]
    return RealMice(bundle=f"{bundle.manifest.name} {bundle.hash[:12]}", rows=tuple(rows))


def look_at_one(path: Path, bundle: Bundle) -> list[RealRow]:
    """Stage a recording, with the other scorers' stages beside it, and compare."""
    stages = bundle.spec.stages
    read = stage(path, bundle)
    own = {f"hypnod {kind}": [e.stage for e in read[kind]] for kind in _KINDS}
    rule = score_by_thresholds(*measure_seconds(path, bundle.spec))
    scorers = read_scorers(path)
    own |= {"offline teacher": _teach(path), "rule": list(rule.stages)}
    found = own | {name: scorers[name] for name in _SCORERS}
    truths: dict[str, Sequence[str]] = {
        "where the three scorers agree": scorers["consensus"],
        "somnus-eeg, all epochs": scorers["somnus"],
    }
    if path in SEEN:
        n = len(rule.stages)
        truths = {"by eye": read_hypnogram(SEEN[path], stages).to_epochs(EPOCH_S, n)} | truths
    learnt = bundle.manifest.learnt_from.get(hash_file(path))
    return [_row(path, name, truth, found, stages, learnt) for name, truth in truths.items()]


def _teach(path: Path) -> list[str]:
    """Return what `hypnod score --offline --epoch-s 4` says."""
    subject = SubjectChannels(name="mouse", channels=CHANNELS)
    recording = open_recording(path, list(CHANNELS.values()))
    weights = teacher_of("mouse")
    stream = StreamChannels(name="real", subjects=(subject,))
    (taught,) = teach_recording(recording, stream, weights)
    spec = weights.spec
    per_epoch = round(EPOCH_S / spec.epoch_s)
    n = len(taught.probabilities) // per_epoch
    means = taught.probabilities[: n * per_epoch].reshape(n, per_epoch, -1).mean(axis=1)
    return [spec.stages[k] for k in means.argmax(axis=1)]


def _row(
    path: Path,
    name: str,
    truth: Sequence[str],
    found: Mapping[str, Sequence[str]],
    stages: Sequence[str],
    learnt: str | None,
) -> RealRow:
    part_of = _SCORERS if name.startswith("where") else (name.split("-", maxsplit=1)[0],)
    n = min(len(truth), *map(len, found.values()))
    scored = np.array(truth[:n]) != UNKNOWN
    wake = np.array(truth[:n]) == "Wake"
    rem = {k: np.array(found[f"hypnod {k}"][:n]) == "REM" for k in _KINDS}
    return RealRow(
        file=path.stem,
        truth=name,
        n_epochs=int(scored.sum()),
        kappa={
            scorer: compare(truth[:n], hypnogram[:n], stages).kappa
            for scorer, hypnogram in found.items()
            if scorer not in part_of
        },
        wake_as_rem_s={
            k: float(EPOCH_S * np.count_nonzero(wake & each)) for k, each in rem.items()
        },
        learnt_as=learnt,
    )


def read_scorers(path: Path) -> dict[str, list[str]]:
    """Return each scorer's stages, and their consensus, UNKNOWN where there is none."""
    with path.with_name(f"{path.stem}_scorers.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = (*_SCORERS, "consensus")
    return {name: [UNKNOWN if r[name] == "n/a" else r[name] for r in rows] for name in names}
