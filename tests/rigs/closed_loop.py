"""How often a rule of docs/triggers is right: real mice, and widened simulated mice or people.

    python -m tests.rigs.closed_loop
    python -m tests.rigs.closed_loop --species human --hours 3

stages them as live, the real ones at a hop of 1 s and of 0.25 s, lets the rule decide on every live
estimate, and writes tables and a picture for docs/closed-loop.md (ten minutes of computing).
"""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, NamedTuple

import numpy as np
import typer

from daemon.config import StagingConfig, load_config
from daemon.stager import hops_per_epoch
from daemon.trigger.rules import Rule
from daemon.trigger.sight import Sight
from engines.bundle import Bundle, open_bundle
from engines.select import open_engine
from models.recordings.find import hash_file
from models.recordings.hypnogram import Hypnogram
from models.recordings.hypnograms.read import read_hypnogram
from models.recordings.open import Recording, open_recording
from models.signal.montage import StreamChannels, SubjectChannels
from models.simulator.species import SIMULATORS
from models.spec import ModelSpec
from models.training.simulated import FIRST_UNSEEN_SEED, draw_sfreq, simulate_subject
from tests.rigs.accuracy.page import digits, table, write_sections
from tests.rigs.accuracy.real_mice import RECORDINGS, SEEN, read_scorers
from tests.rigs.accuracy.real_mouse import CHANNELS
from tests.rigs.accuracy.silver import write_labelled
from tests.rigs.accuracy.threshold_scorer import EPOCH_S
from tests.support.paths import ROOT
from tools.rehearse.command import rehearse
from tools.rehearse.judge import Verdict, judge
from tools.rehearse.rehearsal import Timing, as_if, play, pulses, see
from tools.score.offline import stage_recording
from tools.shared.measure import describe_machine
from tools.shared.species import SpeciesOption

HOPS_S = (1.0, 0.25)
"""Of real recordings."""
AGE_S = 0.05
_TRIGGERS = ROOT / "docs" / "triggers"
RULES = {"mouse": _TRIGGERS / "rem-restriction.toml", "human": _TRIGGERS / "n3-sound.toml"}
"""The rule that is looked at, by species."""
_SECTIONS = {"mouse": "rule-simulated", "human": "rule-people"}
PAGE = ROOT / "docs" / "closed-loop.md"
DRAWN, DRAWN_BY = RECORDINGS[0], "somnus"
_SUBJECT = "m1"  # of a real recording


class Part(StrEnum):
    """What can be measured by itself."""

    REAL = "real"
    SIMULATED = "simulated"


class Row(NamedTuple):
    """The rule in one recording, or in several mice together."""

    what: Sequence[str]
    pulses: int
    """All of them, also where nobody scored."""
    verdicts: Sequence[Verdict]


def look(
    recording: Recording, subject: SubjectChannels, bundle: Bundle, hop_s: float
) -> list[Sight]:
    """Return what the rule sees of a recording's only subject."""
    stream = StreamChannels(name="rule", subjects=(subject,))
    hops, manifest = hops_per_epoch(hop_s, bundle.spec), bundle.manifest
    with open_engine(bundle, "onnxruntime", n_rows=1, hops_per_epoch=hops) as engine:
        staged = stage_recording(
            recording,
            stream,
            engine,
            StagingConfig(hop_s=hop_s),
            reference=manifest.reference,
            grammar=manifest.grammar,
        )
        live = [e for _, new in staged for e in new if e.kind == "live"]
    return see(live, bundle.spec, Timing(start=None, age_s=AGE_S, hop_s=hop_s))


def decide_and_judge(
    sights: Sequence[Sight], truth: Hypnogram, spec: ModelSpec
) -> tuple[int, Verdict]:
    """Return how many pulses there are, and how they stand to the truth."""
    rule, subject = rule_of(spec.species), sights[0].subject
    known = as_if(sights, {subject: truth}, spec.stages)
    found, ideal = (pulses(play([rule], of)[rule.name, subject]) for of in (sights, known))
    return len(found), judge(rule, found, ideal, truth)


def rule_of(species: str) -> Rule:
    """Return the rule that is looked at; as of one subject, whatever it is called."""
    (rule,) = load_config(RULES[species]).triggers
    return rule


def hop_of(spec: ModelSpec) -> float:
    """Return the hop that simulated subjects are staged at, s: the one beside the rule."""
    return load_config(RULES[spec.species]).staging.hop_s or spec.epoch_s


def look_at_real(path: Path) -> list[Row]:
    """Return the rows of a real recording, one for each truth and hop."""
    bundle = open_bundle(None)
    subject = SubjectChannels(name=_SUBJECT, channels=dict(CHANNELS))
    scorers = read_scorers(path)
    truths = {
        "where the three scorers agree": Hypnogram.from_epochs(scorers["consensus"], EPOCH_S),
        "somnus-eeg, all epochs": Hypnogram.from_epochs(scorers["somnus"], EPOCH_S),
    }
    if path in SEEN:
        truths = {"by eye": read_hypnogram(SEEN[path], bundle.spec.stages)} | truths
    learnt = bundle.manifest.learnt_from.get(hash_file(path))
    name = path.stem + (f" ({learnt})" if learnt else "")
    rows = []
    for hop_s in HOPS_S:
        recording = open_recording(path, list(CHANNELS.values()))
        sights = look(recording, subject, bundle, hop_s)
        for who, truth in truths.items():
            n, verdict = decide_and_judge(sights, truth, bundle.spec)
            rows.append(Row((name, who, f"{hop_s:g}"), n, [verdict]))
    return rows


def look_at_simulated(bundle: Bundle, hours: float, seed: int) -> Row:
    """Return the row of a widened simulated subject."""
    species = bundle.spec.species
    simulated = simulate_subject(species, seed, hours, draw_sfreq(species, seed), wide=True)
    (subject,) = simulated.stream.subjects
    sights = look(simulated.open(), subject, bundle, hop_of(bundle.spec))
    n, verdict = decide_and_judge(sights, simulated.hypnograms[subject.name], bundle.spec)
    return Row((f"{seed}",), n, [verdict])


def draw(docs: Path) -> None:
    """Draw the pulses over one recording that the bundle did not learn from."""
    with TemporaryDirectory() as folder:
        copy = write_labelled(DRAWN, Path(folder), DRAWN_BY)
        config = Path(folder) / "rule.toml"
        labels = {f"{modality.upper()}1": label for modality, label in CHANNELS.items()}
        text = RULES["mouse"].read_text(encoding="utf-8")
        for old, new in labels.items():
            text = text.replace(f'"{old}"', f'"{new}"')
        config.write_text(text, encoding="utf-8")
        rehearse([copy], config, age_s=AGE_S, png=docs / "closed-loop-real.png")


def tabulate(rows: Iterable[Row], first: Sequence[str]) -> str:
    """Return a markdown table."""
    header = [*first, "pulses", "right", "precision", "stays hit", "sensitivity"]
    header += ["false an hour", "delay, s: median", "longest"]
    return table(header, [_cells(row) for row in rows], text=len(first))


def _cells(row: Row) -> list[str]:
    right, false, hit, wanted, hours = (
        sum(getattr(v, field) for v in row.verdicts)
        for field in ("right", "false", "hit", "wanted", "scored_h")
    )
    delays = [delay for v in row.verdicts for delay in v.delays_s]
    return [
        *row.what,
        str(row.pulses),
        f"{right} of {right + false}",
        digits(right / (right + false) if right + false else None, 2),
        f"{hit} of {wanted}",
        digits(hit / wanted if wanted else None, 2),
        digits(false / hours if hours else None, 2),
        digits(float(np.median(delays)) if delays else None, 1),
        digits(max(delays) if delays else None, 1),
    ]


def closed_loop(
    part: Annotated[list[Part] | None, typer.Option(help="Measure only this.")] = None,
    subjects: Annotated[int, typer.Option(min=1, help="Widened simulated subjects.")] = 10,
    hours: Annotated[float, typer.Option(min=0.05, help="Of each.")] = 0.75,
    docs: Annotated[Path, typer.Option(help="Folder of closed-loop.md.")] = PAGE.parent,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = os.cpu_count() or 1,
    bundle: Annotated[Path | None, typer.Option(help="Default: the one shipped.")] = None,
    species: SpeciesOption = None,
) -> None:
    """Measure what docs/closed-loop.md shows of a rule, and write its tables.

    Without the recordings in ../shared/data their table stays as it is. There are none of people.
    """
    opened = open_bundle(bundle, species)
    spec = opened.spec
    parts = part or ([*Part] if spec.species == "mouse" else [Part.SIMULATED])
    # A fresh interpreter each: ONNX Runtime's threads do not survive a fork.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as workers:
        recordings = [path for path in RECORDINGS if path.exists() and Part.REAL in parts]
        if recordings:
            rows = [row for each in workers.map(look_at_real, recordings) for row in each]
            text = f"{_about(opened)}\n\n{tabulate(rows, ('recording', 'against', 'hop, s'))}"
            draw(docs)
            write_sections(docs / PAGE.name, {"rule-real": text})
        if Part.SIMULATED in parts:
            seeds = range(FIRST_UNSEEN_SEED, FIRST_UNSEEN_SEED + subjects)
            rows = list(workers.map(partial(look_at_simulated, opened, hours), seeds))
            verdicts = [v for row in rows for v in row.verdicts]
            together = Row(("together",), sum(row.pulses for row in rows), verdicts)
            text = (
                f"{subjects} widened {SIMULATORS[spec.species].plural} of {hours:g} h, a hop of "
                f"{hop_of(spec):g} s. {_about(opened)}\n\n"
                f"{tabulate([*rows, together], ('seed',))}"
            )
            write_sections(docs / PAGE.name, {_SECTIONS[spec.species]: text})


def _about(bundle: Bundle) -> str:
    machine = describe_machine()
    return (
        f"Bundle {bundle.manifest.name} `{bundle.hash[:12]}`, {datetime.now(UTC):%Y-%m-%d}, "
        f"{machine.processor}, {machine.cores} cores."
    )


if __name__ == "__main__":
    typer.run(closed_loop)
