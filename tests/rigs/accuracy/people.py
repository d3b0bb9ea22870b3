"""Every real labelled epoch of people at hand, against experts: hypnod beside YASA and GSSC.

EEG alone, for no recording has an EOG. The unit of the Dublin files is lost, so each subject is
scaled to the same median. YASA 0.7.0 and GSSC 0.0.9 read the whole recording before they say a
word, and learnt from real people; their stages are in docs/people-scorers.csv, which
`docs/people_stage.py` writes.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, resample_poly, sosfilt

from daemon.messages import Kind
from daemon.stager import Estimate
from engines.bundle import Bundle
from engines.select import AUTO, open_engine
from models.recordings.agreement import compare
from models.recordings.base import ArrayRecording, Description
from models.signal.montage import StreamChannels, SubjectChannels
from models.stages import HUMAN, UNKNOWN
from models.teacher import teach_recording, teacher_of
from tests.support.paths import DATA, ROOT
from tools.score.offline import stage_recording

UCDDB = DATA / "human_raw" / "ucddb_dev.npz"
SEDF = DATA / "human_raw" / "sleepedfx_9_raw_epochs.npz"
SCORERS = ROOT / "docs" / "people-scorers.csv"
OFFLINE = "offline teacher"
WHOLE_NIGHT = "018"
"""The subject of whom nearly every epoch of the night is there."""

_STAGES = ("W", "REM", "N1", "N2", "N3", "N3")  # R&K's, by their codes in the file
_TYPICAL_UV = 12.0  # median |x|
_KINDS: tuple[Kind, ...] = ("live", "final")
SURE = (0.5, 0.6, 0.7, 0.8)
"""Probabilities that a rule may ask for."""
_EPOCH_S = 30.0
STREAM = StreamChannels(
    name="people", subjects=(SubjectChannels(name="p", channels={"eeg": "EEG"}),)
)
LOST_S = {20.0: 1.0, 30.0: 10.0}
"""Of each so many s how many are lost, at a random place, to see what that costs."""


class PeopleRow(msgspec.Struct, frozen=True, kw_only=True):
    """How scorers agree with the expert on some epochs."""

    what: str
    n_epochs: int
    kappa: dict[str, float | None]
    """By scorer; null where it could not be."""
    accuracy: dict[str, float | None]
    f1: dict[str, dict[str, float | None]]
    """By scorer and stage."""


class People(msgspec.Struct, frozen=True, kw_only=True):
    """All of them."""

    bundle: str
    """Name and first 12 digits of the hash."""
    rows: tuple[PeopleRow, ...]
    ece: float
    """Of the live estimates of the whole night: how far confidence and accuracy are apart."""
    sure: dict[str, tuple[tuple[int, int], ...]]
    """By stage, of those of at least each of `SURE`: how many, and how many of them are right."""


class Pieces(msgspec.Struct, frozen=True, kw_only=True):
    """Epochs of one subject, in order."""

    subject: str
    data: NDArray[np.float32]
    """(n, n_samples), µV as scaled."""
    sfreq: float
    place: NDArray[np.int64]
    """(n,) of each in the night, in epochs."""
    stages: tuple[str, ...]
    """By the expert."""


def _at_rate(pieces: Pieces, sfreq: int) -> Pieces:
    ratio = Fraction(sfreq) / Fraction(pieces.sfreq)
    data = resample_poly(pieces.data.ravel(), ratio.numerator, ratio.denominator)
    return _with(pieces, data, float(sfreq))


def _filtered(pieces: Pieces, kind: Literal["lowpass", "highpass"], corner_hz: float) -> Pieces:
    sos = butter(_ORDERS[kind], corner_hz, kind, fs=pieces.sfreq, output="sos")
    return _with(pieces, sosfilt(sos, pieces.data.ravel()), pieces.sfreq)


def _with(pieces: Pieces, data: NDArray[np.floating], sfreq: float) -> Pieces:
    """Return the same epochs with other samples, which come one after the other."""
    data = data.reshape(len(pieces.data), -1).astype(np.float32)
    return msgspec.structs.replace(pieces, data=data, sfreq=sfreq)


_ORDERS = {"lowpass": 4, "highpass": 2}
RECORDERS: dict[str, Callable[[Pieces], Pieces]] = {
    "at 64 Hz": partial(_at_rate, sfreq=64),
    "at 50 Hz": partial(_at_rate, sfreq=50),
    "low-passed at 25 Hz": partial(_filtered, kind="lowpass", corner_hz=25.0),
    "low-passed at 20 Hz": partial(_filtered, kind="lowpass", corner_hz=20.0),
    "high-passed at 1 Hz": partial(_filtered, kind="highpass", corner_hz=1.0),
}
"""As which other recorders would have given the whole night, to see what that costs."""


def read_ucddb() -> list[Pieces]:
    """Return the epochs of each subject of the Dublin file."""
    with np.load(UCDDB) as file:
        x, sfreq = file["x"].astype(np.float64), float(file["sfreq"])
        stage, place, subject = file["stage"], file["epoch"].astype(np.int64), file["subject"]
    found = []
    for name in np.unique(subject).tolist():
        rows = np.flatnonzero(subject == name)
        rows = rows[np.argsort(place[rows])]
        data = x[rows] - np.median(x[rows])
        data *= _TYPICAL_UV / np.median(np.abs(data))
        stages = tuple(_STAGES[k] for k in stage[rows])
        found.append(
            Pieces(
                subject=name,
                data=data.astype(np.float32),
                sfreq=sfreq,
                place=place[rows],
                stages=stages,
            )
        )
    return found


def read_sleep_edf() -> list[Pieces]:
    """Return the epochs of each record and EEG (Fpz-Cz, Pz-Oz) of the Sleep-EDF file."""
    found = []
    with np.load(SEDF) as file:
        for record in np.unique(file["record_no"]).tolist():
            rows = np.flatnonzero(file["record_no"] == record)
            rows = rows[np.argsort(file["full_record_epoch_index"][rows])]
            place = file["full_record_epoch_index"][rows].astype(np.int64)
            stages = tuple(HUMAN[k] for k in file["y"][rows])
            found += [
                Pieces(
                    subject=f"{record}-{channel}",
                    data=data,
                    sfreq=100.0,
                    place=place,
                    stages=stages,
                )
                for channel, data in enumerate(file["X"][rows].swapaxes(0, 1))
            ]
    return found


def stage_pieces(
    pieces: Pieces, bundle: Bundle, each_s: float | None = None
) -> dict[Kind, list[Estimate]]:
    """Return hypnod's estimates of a subject's epochs, which lie where they were in the night.

    Args:
        pieces: the epochs.
        bundle: stages them.
        each_s: a key of `LOST_S`: of each so many s some are lost; None: nothing is.
    """
    times, data = _samples(pieces)
    if each_s is not None:
        since = times % each_s
        at = np.random.default_rng(0).uniform(0, each_s - LOST_S[each_s], len(times))
        at = at[(times // each_s).astype(np.intp)]
        there = (since < at) | (since >= at + LOST_S[each_s])
        there |= times > times[-1] - each_s  # the last epoch is known to be whole by its end
        times, data = times[there], data[there]
    recording = _timed(pieces, times, data)
    with open_engine(bundle, AUTO, n_rows=1) as engine:
        staged = stage_recording(recording, STREAM, engine, grammar=bundle.manifest.grammar)
        every = [e for _, new in staged for e in new]
    place = pieces.place - pieces.place[0]
    wanted = {int(k): i for i, k in enumerate(place)}
    found: dict[Kind, list[Estimate]] = {}
    for kind in _KINDS:
        by_place = {wanted[e.hop]: e for e in every if e.kind == kind and e.hop in wanted}
        found[kind] = [by_place[i] for i in range(len(place))]
    return found


def teach_pieces(pieces: Pieces) -> list[str]:
    """Return what `hypnod score --offline` says of a subject's epochs."""
    weights = teacher_of("human")
    (taught,) = teach_recording(recording_of(pieces), STREAM, weights)
    return [HUMAN[k] for k in taught.stages[pieces.place - pieces.place[0]]]


def _samples(pieces: Pieces) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return times, s, and samples (n, 1) of epochs that lie where they were in the night."""
    place = (pieces.place - pieces.place[0])[:, None] * _EPOCH_S
    times = (place + np.arange(pieces.data.shape[1]) / pieces.sfreq).ravel()
    return times, pieces.data.reshape(-1, 1)


def recording_of(pieces: Pieces) -> ArrayRecording:
    """Return a subject's epochs, which lie where they were in the night; nothing lies between."""
    return _timed(pieces, *_samples(pieces))


def _timed(pieces: Pieces, times: NDArray[np.float64], data: NDArray[np.float32]) -> ArrayRecording:
    description = Description(
        ch_names=("EEG",), units=("uV",), sfreq=pieces.sfreq, n_samples=times.size
    )
    return ArrayRecording(Path(pieces.subject), description, data, times)


def look_at_people(bundle: Bundle) -> People:
    """Stage everybody and compare."""
    outside = read_scorers()
    truth: dict[str, list[str]] = {}
    said: dict[str, dict[str, list[str]]] = {}
    night: list[Estimate] = []
    for pieces in read_ucddb():
        part = "018" if pieces.subject == WHOLE_NIGHT else "eleven"
        found = stage_pieces(pieces, bundle)
        night = found["live"] if pieces.subject == WHOLE_NIGHT else night
        _add(truth, said, part, pieces.stages, found)
        if pieces.subject == WHOLE_NIGHT:
            said[part][OFFLINE] = teach_pieces(pieces)
            for each_s in LOST_S:
                lossy = stage_pieces(pieces, bundle, each_s)
                _add(truth, said, f"018-{each_s:g}", pieces.stages, lossy)
            for how, change in RECORDERS.items():
                _add(truth, said, how, pieces.stages, stage_pieces(change(pieces), bundle))
        for scorer, stages in outside.items():
            rows = [stages[pieces.subject, int(k)] for k in pieces.place]
            said[part].setdefault(scorer, []).extend(rows)
    for pieces in read_sleep_edf():
        _add(truth, said, "sleep-edf", pieces.stages, stage_pieces(pieces, bundle))
    what = {
        "018": "Dublin 018 (looked at), a whole night",
        "eleven": "W and S3/S4 of eleven others (looked at), 90 epochs each; N2 is right for S3/S4",
        "sleep-edf": "Sleep-EDF (looked at), 9 epochs by two EEGs each",
        **{f"018-{t:g}": f"018 with {s:g} s of each {t:g} lost" for t, s in LOST_S.items()},
        **{how: f"018 {how}" for how in RECORDERS},
    }
    return People(
        bundle=f"{bundle.manifest.name} {bundle.hash[:12]}",
        rows=tuple(
            _row(what[part], truth[part], said[part], deep=part == "eleven") for part in what
        ),
        ece=_calibration_error(night, truth["018"]),
        sure={stage: tuple(_sure(night, truth["018"], stage)) for stage in HUMAN},
    )


def _add(
    truth: dict[str, list[str]],
    said: dict[str, dict[str, list[str]]],
    part: str,
    stages: Sequence[str],
    found: Mapping[Kind, Sequence[Estimate]],
) -> None:
    truth.setdefault(part, []).extend(stages)
    for kind in _KINDS:
        own = said.setdefault(part, {}).setdefault(f"hypnod {kind}", [])
        own.extend(e.stage for e in found[kind])


def _row(
    what: str, truth: Sequence[str], said: Mapping[str, Sequence[str]], *, deep: bool
) -> PeopleRow:
    """Compare; where `deep`, there is but W and deep sleep, for which N2 is right as well."""
    found = {scorer: compare(truth, stages, HUMAN) for scorer, stages in said.items()}
    return PeopleRow(
        what=what,
        n_epochs=len(truth),
        kappa={scorer: each.kappa for scorer, each in found.items()},
        accuracy={
            scorer: float(
                np.mean(
                    [
                        a == b or (deep and (a, b) == ("N3", "N2"))
                        for a, b in zip(truth, stages, strict=True)
                    ]
                )
            )
            for scorer, stages in said.items()
        },
        f1={scorer: dict(_f1(truth, stages)) for scorer, stages in said.items()},
    )


def _f1(truth: Sequence[str], stages: Sequence[str]) -> Iterator[tuple[str, float | None]]:
    for stage in HUMAN:
        a, b = np.array(truth) == stage, np.array(stages) == stage
        yield stage, (2 * float((a & b).sum()) / float(a.sum() + b.sum()) if a.any() else None)


def _sure(
    estimates: Sequence[Estimate], truth: Sequence[str], stage: str
) -> Iterator[tuple[int, int]]:
    found = [
        (max(e.probabilities), t == stage)
        for e, t in zip(estimates, truth, strict=True)
        if e.stage == stage and e.probabilities is not None
    ]
    for least in SURE:
        right = [is_right for probability, is_right in found if probability >= least]
        yield len(right), sum(right)


def _calibration_error(estimates: Sequence[Estimate], truth: Sequence[str]) -> float:
    """Return the expected calibration error in ten bins of confidence (arXiv:1706.04599)."""
    known = [
        (max(e.probabilities), e.stage == stage)
        for e, stage in zip(estimates, truth, strict=True)
        if e.stage != UNKNOWN and e.probabilities is not None
    ]
    confidence, right = (np.array(each, float) for each in zip(*known, strict=True))
    bins = np.minimum((confidence * 10).astype(int), 9)
    gaps = [abs((confidence - right)[bins == k].sum()) for k in range(10)]
    return float(sum(gaps) / len(known))


def read_scorers() -> dict[str, dict[tuple[str, int], str]]:
    """Return the stages of each outside scorer by subject and place."""
    with SCORERS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name not in ("subject", "epoch")]
    return {
        name: {(row["subject"], int(row["epoch"])): row[name] for row in rows} for name in names
    }
