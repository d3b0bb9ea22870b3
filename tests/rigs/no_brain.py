"""How often noise gets a stage and a brain none, by the check for a brain, and how soon a lead that
comes off is told; the tables of faults.md.

python -m tests.rigs.no_brain
python -m tests.rigs.no_brain --species human --hours 1 --subjects 80
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray

from models.recordings.as_stream import epochs_of
from models.recordings.open import open_recording
from models.signal.chunk import StreamDescription
from models.signal.lead_off import LIMIT
from models.signal.montage import StreamChannels, SubjectChannels
from models.signal.no_brain import check_for
from models.signal.pipeline import EpochBatch, Pipeline
from models.signal.quality import NO_BRAIN, OK
from models.simulator.no_brain import KINDS, draw_no_brain
from models.simulator.species import SIMULATORS
from models.training.simulated import FIRST_UNSEEN_SEED, simulate_subject
from tests.rigs.accuracy.people import STREAM as PEOPLE
from tests.rigs.accuracy.people import Pieces, read_sleep_edf, read_ucddb, recording_of
from tests.rigs.accuracy.real_mice import RECORDINGS
from tests.rigs.accuracy.real_mouse import CHANNELS
from tests.support.bundles import human_spec
from tests.support.signals import SPEC, noise, run

WITHIN_S = {"mouse": 10, "human": 15}
"""So soon noise has no stage any more: eight seconds of it, and the hop after."""
WIRE_SFREQS = {
    "mouse": (100.0, 128.0, 200.0, 256.0, 512.0, 1000.0, 2000.0, 4000.0),
    "human": (100.0, 128.0, 200.0, 256.0, 500.0, 1000.0),
}
_SPECS = {"mouse": SPEC, "human": human_spec(epoch_s=30.0)}
_WIRE_S = {"mouse": 60.0, "human": 120.0}
_BRAIN_S = {"mouse": 40.0, "human": 120.0}
_FIRST_SEED = FIRST_UNSEEN_SEED + 700_000
_LEAD_BRAIN_S, _LEAD_NOISE_S = 25.0, 20.0
_STAYS_S = 10
_COST_SFREQ = 512.0
_COST_EPOCHS = 200


def read(data: NDArray[np.floating], sfreq: float, species: str = "mouse") -> list[EpochBatch]:
    """Return the epochs of (n_samples, 2 × n_subjects), µV, of a live stream."""
    spec, n_subjects = _SPECS[species], data.shape[1] // 2
    labels = [f"{m}{s}" for s in range(n_subjects) for m in spec.modalities]
    subjects = tuple(
        SubjectChannels(name=f"s{s}", channels={m: f"{m}{s}" for m in spec.modalities})
        for s in range(n_subjects)
    )
    described = StreamDescription("wires", tuple(labels), ("µV",) * len(labels), sfreq)
    stream = StreamChannels(name="wires", subjects=subjects, unit="µV")
    pipeline = Pipeline(stream, spec, described, hop_s=spec.live_hop_s)
    times = 50.0 + np.arange(len(data)) / sfreq
    return run(pipeline, data.astype(np.float32), times, [1000])


def reasons_of(batches: Iterable[EpochBatch]) -> NDArray[np.object_]:
    """Return the first subject's, (n_epochs, 2)."""
    return np.stack([batch.reasons[0] for batch in batches])


def draw_wire(
    seed: int, *, after_brain: bool = False, species: str = "mouse"
) -> tuple[NDArray[np.bool_], str]:
    """Return which epochs of a wire without a brain get a stage after `WITHIN_S`, and its kind.

    The rates take turns, and so do the kinds.

    Args:
        seed: draws it.
        after_brain: the lead was on somebody before.
        species: of whom.
    """
    sfreqs, kinds, spec = WIRE_SFREQS[species], list(KINDS), _SPECS[species]
    sfreq, kind = sfreqs[seed % len(sfreqs)], kinds[seed % len(kinds)]
    data, _ = draw_no_brain(np.random.default_rng([seed, 4]), _WIRE_S[species], sfreq, kind)
    brain_s = _BRAIN_S[species] if after_brain else 0.0
    if after_brain:
        subject = simulate_subject(species, _FIRST_SEED + seed, brain_s / 3600, sfreq).open()
        data = np.concatenate([subject.read(0, subject.n_samples), data])
    reasons = reasons_of(read(data, sfreq, species))
    ends = spec.live_hop_s * np.arange(len(reasons)) + spec.epoch_s
    return (reasons[ends > brain_s + WITHIN_S[species] + 1e-6] == OK).any(axis=1), kind


class Lead(NamedTuple):
    """A lead that came off a simulated mouse."""

    kind: str
    """Of noise."""
    seen_s: float
    """From then to the end of the first epoch that a rule refuses; inf: never."""
    stays: float
    """Share of the epochs of the ten seconds after that one that a rule refuses, too."""


def draw_lead(seed: int) -> Lead:
    """Let a lead come off a widened simulated mouse, within a second; rates and kinds take turns.

    A rule refuses what is told here, and an EEG that another check calls unusable.
    """
    rng = np.random.default_rng([seed, 46])
    sfreqs = SIMULATORS["mouse"].sfreqs
    sfreq, kind = sfreqs[seed % len(sfreqs)], list(KINDS)[seed // len(sfreqs) % len(KINDS)]
    off_s = _LEAD_BRAIN_S + rng.random()
    mouse = simulate_subject("mouse", _FIRST_SEED + seed, 60 / 3600, sfreq, wide=True).open()
    noise, _ = draw_no_brain(rng, _LEAD_NOISE_S, sfreq, kind)
    data = np.concatenate([mouse.read(0, round(off_s * sfreq)), noise])
    batches = read(data, sfreq)
    refused = (off_of(batches) > LIMIT) | (reasons_of(batches)[:, 0] != OK)
    after = refused[int(_LEAD_BRAIN_S) :]
    first = int(after.argmax()) if after.any() else None
    if first is None:
        return Lead(kind, np.inf, 0.0)
    stays = float(after[first + 1 :][:_STAYS_S].mean())
    return Lead(kind, first + 1 - off_s % 1, stays)


def off_of(batches: Iterable[EpochBatch]) -> NDArray[np.float64]:
    """Return the first subject's log odds that its lead has just come off, (n_epochs,)."""
    return np.array([batch.lead_off[0] for batch in batches])


class Looked(NamedTuple):
    """What is said of the epochs of a real mouse, (n_epochs,) each."""

    lost: NDArray[np.bool_]
    """Its EEG is marked."""
    off: NDArray[np.bool_]
    """Its lead is said to have come off."""


def look_at_real(path: Path) -> Looked:
    """Read a real mouse."""
    batches = list(_real(path))
    return Looked(_marked(batches), off_of(batches) > LIMIT)


def look_at_simulated(seed: int, hours: float, *, wide: bool) -> NDArray[np.bool_]:
    """Return in which epochs of a simulated mouse its lead is said to have come off."""
    return off_of(_simulated("mouse", seed, hours, wide=wide)) > LIMIT


def mark_people(pieces: Pieces) -> NDArray[np.bool_]:
    """Return which epochs of a real person's EEG are marked, of those that are there."""
    place = pieces.place - pieces.place[0]
    batches = epochs_of(recording_of(pieces), PEOPLE, _SPECS["human"])
    return _marked([batch for batch in batches if batch.hop in place])


def mark_simulated(species: str, seed: int, hours: float, *, wide: bool) -> NDArray[np.bool_]:
    """Return which epochs of a simulated subject's EEG are marked."""
    return _marked(_simulated(species, seed, hours, wide=wide))


def _real(path: Path) -> Iterable[EpochBatch]:
    subject = SubjectChannels(name="mouse", channels=CHANNELS)
    stream = StreamChannels(name="real", subjects=(subject,))
    return epochs_of(open_recording(path), stream, SPEC)


def _simulated(species: str, seed: int, hours: float, *, wide: bool) -> Iterable[EpochBatch]:
    sfreqs = SIMULATORS[species].sfreqs
    sfreq = sfreqs[seed % len(sfreqs)]
    subject = simulate_subject(species, seed, hours, sfreq, wide=wide).open()
    return read(subject.read(0, subject.n_samples), sfreq, species)


def time_check(n_subjects: int) -> float:
    """Return the median time of the check for an epoch of noise, all subjects, ms."""
    check = check_for(SPEC, n_subjects, _COST_SFREQ, 1.0)
    assert check is not None
    n = round(_COST_SFREQ)
    raw = noise(n, n_subjects).astype(np.float64)
    taken = []
    for hop in range(_COST_EPOCHS):
        reasons = np.full((n_subjects, 2), OK, dtype=object)
        begin = perf_counter()
        check.mark(raw, hop, reasons)
        taken.append(perf_counter() - begin)
    return 1e3 * float(np.median(taken))


def main() -> None:
    """Measure the check for a brain."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--species", choices=_SPECS, default="mouse")
    parser.add_argument("--wires", type=int, default=576)
    parser.add_argument("--subjects", type=int, default=240, help="widened; half as many plain")
    parser.add_argument("--hours", type=float, default=0.11, help="of each; default: %(default)s")
    parser.add_argument("--leads", type=int, default=900)
    parser.add_argument("--soon", action="store_true", help="only leads that come off mice")
    arguments = parser.parse_args()
    species, n = arguments.species, arguments.subjects
    if species == "mouse":
        _measure_leads(arguments.leads, n, arguments.hours)
    if arguments.soon:
        return
    _measure_wires(species, arguments.wires)
    if species == "mouse":
        _say("real mice", [look_at_real(path).lost for path in RECORDINGS])
    else:
        for pieces in (*read_ucddb(), *read_sleep_edf()):
            _say(f"real person {pieces.subject}", [mark_people(pieces)])
    for name, n_drawn, wide in (("widened", n, True), ("plain", n // 2, False)):
        seeds = range(_FIRST_SEED, _FIRST_SEED + n_drawn)
        _say(name, [mark_simulated(species, s, arguments.hours, wide=wide) for s in seeds])
    if species == "mouse":
        for n_subjects in (1, 64):
            typer.echo(f"{n_subjects} subjects: {time_check(n_subjects):.2f} ms an epoch")


def _measure_wires(species: str, n_wires: int) -> None:
    for name, after_brain in (("wires", False), ("leads that come off", True)):
        by_kind = defaultdict(list)
        for seed in range(n_wires):
            staged, kind = draw_wire(seed, after_brain=after_brain, species=species)
            by_kind[kind].append(staged)
        _say(name, [staged for each in by_kind.values() for staged in each])
        for kind, each in by_kind.items():
            _say(kind, each)


def _measure_leads(n_leads: int, n_mice: int, hours: float) -> None:
    by_kind = defaultdict(list)
    for seed in range(n_leads):
        lead = draw_lead(seed)
        by_kind[lead.kind].append(lead)
    every = [lead for leads in by_kind.values() for lead in leads]
    for kind, leads in [("leads that come off, told", every), *by_kind.items()]:
        seen = np.array([lead.seen_s for lead in leads])
        within = ", ".join(f"{np.mean(seen <= s):.1%} within {s} s" for s in (2, 3, 4))
        stays = np.mean([lead.stays for lead in leads])
        typer.echo(f"{kind}: {len(leads)}, {within}; {stays:.1%} of the epochs after")
    _say("leads of real mice, told to come off", [look_at_real(path).off for path in RECORDINGS])
    for name, n, wide in (("widened", n_mice, True), ("plain", n_mice // 2, False)):
        seeds = range(_FIRST_SEED, _FIRST_SEED + n)
        _say(f"of {name}", [look_at_simulated(seed, hours, wide=wide) for seed in seeds])


def _marked(batches: Iterable[EpochBatch]) -> NDArray[np.bool_]:
    return np.asarray(reasons_of(batches)[:, 0] == NO_BRAIN, bool)


def _say(name: str, each: list[NDArray[np.bool_]]) -> None:
    """Write of how many epochs it holds, of how many it holds at all, and the worst one's share."""
    found, worst = np.concatenate(each), max(part.mean() for part in each)
    some = np.mean([part.any() for part in each])
    typer.echo(f"{name}: {len(each)}, {found.mean():.2%} of epochs; {some:.1%} at all, {worst:.0%}")


if __name__ == "__main__":
    main()
