"""Decisions on simulated epochs, and how much of their weight lies on what makes the stage."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daemon.config import Config, StagingConfig
from daemon.messages import Kind
from daemon.stager import Estimate
from engines.bundle import Bundle
from models.base import Model
from models.recordings.open import ArrayRecording, Recording
from models.signal.montage import StreamChannels, SubjectChannels
from models.signal.pipeline import EpochBatch
from models.simulator.human.simulate import SimulatedPerson
from models.simulator.human.waves import SPINDLE
from models.simulator.recording import Event, SimulatedSubject
from models.simulator.species import SIMULATORS
from models.training.simulated import FIRST_UNSEEN_SEED, draw_sfreq
from tools.explain.computing import explain
from tools.explain.decision import Decision, gather
from tools.explain.explanation import Explanation
from tools.score.offline import open_configured, stage_configured

_MOST_A_SUBJECT = 20
_LEAST_S = 0.25  # of a wave in a piece that counts as holding it


class Sought(NamedTuple):
    """What makes a stage of a species."""

    stage: str
    hours: float
    """Of each simulated subject, so that most show the stage."""
    event: str | None
    """A wave that has a place; None: it goes on through the epoch."""
    band_hz: tuple[float, float]


SOUGHT = {
    "human": Sought("N2", 1.5, SPINDLE, (11.0, 16.0)),
    "mouse": Sought("REM", 0.5, None, (6.0, 9.0)),
}


class Decided(NamedTuple):
    """A right decision on a simulated epoch."""

    decision: Decision
    recording: Recording
    events: tuple[Event, ...]
    """Of the sought kind in the epoch; onsets within it, s."""


class Weighed(NamedTuple):
    """An explained epoch."""

    explanation: Explanation
    holds: NDArray[np.bool_]
    """Of each span of the EEG, whether it holds the sought wave."""


class Row(NamedTuple):
    """One measure, the mean over epochs of the mean within each."""

    what: str
    epochs: int
    subjects: int
    there: float
    elsewhere: float
    more: float
    """Share of epochs with more of it there than elsewhere."""
    subjects_with_more: int
    """Subjects in whose mean there is."""


def decided(bundle: Bundle, number: int, kind: Kind) -> Iterator[Decided]:
    """Yield right decisions of the sought stage on a simulated subject that no net knows.

    Args:
        bundle: that stages.
        number: of the subject.
        kind: of the estimates.
    """
    species, sought = bundle.spec.species, SOUGHT[bundle.spec.species]
    subject, recording, stream = _simulate(species, number, sought.hours)
    config = Config(streams=(), staging=StagingConfig())
    batches: dict[int, EpochBatch] = {}
    with open_configured(bundle, None, config, n_rows=1) as engine:
        staged = stage_configured(
            *(bundle, engine, recording, stream, config),
            look=lambda batch: batches.update({batch.hop: batch}),
        )
        known = {e.hop: e for _, new in staged for e in new if e.kind == kind}
    right = [
        e for e in known.values() if e.stage == sought.stage and _is(subject, e, sought, bundle)
    ]
    rng = np.random.default_rng(number)
    lag = config.staging.final_lag if kind == "final" else 0
    for i in sorted(rng.permutation(len(right))[:_MOST_A_SUBJECT].tolist()):
        decision = gather(right[i], known, batches, bundle.spec, subject=0, most_after=lag)
        yield Decided(decision, recording, _events(subject, right[i], sought, bundle))


def _simulate(
    species: str, number: int, hours: float
) -> tuple[SimulatedSubject, Recording, StreamChannels]:
    seed = FIRST_UNSEEN_SEED + number
    sfreq = draw_sfreq(species, seed)
    simulator = SIMULATORS[species]
    night = simulator(seed=seed, duration_s=3600 * hours, sfreq=sfreq, every_stage=True)
    [subject] = night.subjects()
    names = subject.channel_names(1, 1)
    recording = ArrayRecording.of_microvolts(f"simulated-{seed}", names, sfreq, subject.data)
    channels = dict(zip(subject.modalities, names, strict=True))
    whose = SubjectChannels(name="s1", channels=channels)
    return subject, recording, StreamChannels(name="simulated", subjects=(whose,), unit="uV")


def _is(subject: SimulatedSubject, e: Estimate, sought: Sought, bundle: Bundle) -> bool:
    """Whether all of an epoch is truly in the stage."""
    first, last = int(e.onset), int(np.ceil(e.onset + bundle.spec.epoch_s))
    return {*subject.hypnogram[first:last]} == {sought.stage}


def _events(
    subject: SimulatedSubject, e: Estimate, sought: Sought, bundle: Bundle
) -> tuple[Event, ...]:
    if not isinstance(subject, SimulatedPerson):
        return ()
    end = e.onset + bundle.spec.epoch_s
    return tuple(
        Event(v.onset_s - e.onset, v.duration_s, v.kind)
        for v in subject.events
        if v.kind == sought.event and v.onset_s < end and v.onset_s + v.duration_s > e.onset
    )


def weigh(decisions: Iterable[Decided], net: Model, bundle: Bundle) -> list[Weighed]:
    """Explain decisions; where waves with a place are sought, of epochs that hold some."""
    found = []
    for decision, recording, events in decisions:
        explanation = explain(decision, net, bundle, recording)
        holds = hold(explanation, events)
        if SOUGHT[bundle.spec.species].event is None or 0 < holds.sum() < len(holds):
            found.append(Weighed(explanation, holds))
    return found


def hold(explanation: Explanation, events: Sequence[Event]) -> NDArray[np.bool_]:
    """Return which spans of the EEG hold a good part of an event."""
    spans = [(p.start_s, p.stop_s) for p in explanation.parts["eeg"] if p.start_s is not None]

    def held_s(start: float, stop: float) -> float:
        ends = ((max(start, v.onset_s), min(stop, v.onset_s + v.duration_s)) for v in events)
        return sum(max(0.0, last - first) for first, last in ends)

    return np.array([held_s(start, stop or start) >= _LEAST_S for start, stop in spans], bool)


def summarise(weighed: Sequence[Weighed], sought: Sought) -> list[Row]:
    """Return each measure over the epochs that it can be had of."""
    rows: list[Row] = []
    if any(w.holds.any() for w in weighed):
        rows += _on_spans(weighed, sought)
    if weighed and weighed[0].explanation.bands:
        rows.append(_on_bands(weighed, sought))
    return rows


def _on_spans(weighed: Sequence[Weighed], sought: Sought) -> Iterator[Row]:
    where = f"spans of the EEG with a {sought.event}"
    spans = [[p for p in w.explanation.parts["eeg"] if p.start_s is not None] for w in weighed]
    attention = [np.array([p.attention for p in each]) for each in spans]
    yield _row(f"attention, {where}", weighed, attention, [w.holds for w in weighed])
    if spans[0][0].undifferenced is not None:
        plain = [np.array([p.undifferenced or 0.0 for p in each]) for each in spans]
        yield _row("the first softmax alone", weighed, plain, [w.holds for w in weighed])
        gain = [a - p for a, p in zip(attention, plain, strict=True)]
        yield _row("amplified by the difference", weighed, gain, [w.holds for w in weighed])
    support = [np.array([p.support for p in each]) for each in spans]
    yield _row(f"support, {where}", weighed, support, [w.holds for w in weighed])


def _on_bands(weighed: Sequence[Weighed], sought: Sought) -> Row:
    low, high = sought.band_hz
    support, there = [], []
    for w in weighed:
        bands = [
            (b.support, b.low_hz < high and b.high_hz > low)
            for b in w.explanation.bands
            if b.modality == "eeg" and b.low_hz is not None and b.high_hz is not None
        ]
        support.append(np.array([s for s, _ in bands]))
        there.append(np.array([t for _, t in bands], np.bool_))
    return _row(f"support, bands of the EEG, {low:g} to {high:g} Hz", weighed, support, there)


def _row(
    what: str,
    weighed: Sequence[Weighed],
    values: Sequence[NDArray[np.float64]],
    where: Sequence[NDArray[np.bool_]],
) -> Row:
    there = np.array([v[here].mean() for v, here in zip(values, where, strict=True)])
    elsewhere = np.array([v[~here].mean() for v, here in zip(values, where, strict=True)])
    whose = np.array([w.explanation.file for w in weighed])
    subjects = np.unique(whose)
    more = [bool((there - elsewhere)[whose == one].mean() > 0) for one in subjects]
    return Row(
        what=what,
        epochs=len(weighed),
        subjects=len(subjects),
        there=float(there.mean()),
        elsewhere=float(elsewhere.mean()),
        more=float((there > elsewhere).mean()),
        subjects_with_more=sum(more),
    )
