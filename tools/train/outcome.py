"""What came out of a training run: its report, and what it writes."""

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata

import msgspec
import numpy as np
import torch

from engines.bundle import open_bundle
from models.base import Model
from models.errors import RecordingError
from models.recordings import scores
from models.recordings.scores import Scores, Tally
from models.scored_epochs import ScoredEpochs
from models.signal.drift import fit_reference
from models.spec import MIXED, Grammar, LearntAs, Reference
from models.training.evaluate import Reading, as_answered, pool, published, read_all
from models.training.export import export_bundle
from models.training.splits import Split, dataset_of
from tools.train.data import describe, learnt_from
from tools.train.nets import Counted, Nets, Trained
from tools.train.report import PassReport, SeedReport, TrainReport
from tools.train.seeds import Tried
from tools.view.training import Example, draw_report

_EXAMPLE_S = 3 * 3600.0


def report_of(
    nets: Nets,
    split: Split,
    trained: Trained,
    counted: Counted,
    tried: Sequence[Tried],
    started: float,
) -> TrainReport:
    """Return what is reported of a run.

    Args:
        nets: of the run.
        split: the subjects of the net in the bundle.
        trained: that net.
        counted: of the test subjects.
        tried: what came of each seed, where there are several.
        started: `time.monotonic()` when the run began, s.
    """
    stages = nets.spec.stages
    pooled = pool(list(counted.values()), stages)
    return TrainReport(
        data=describe(nets.options, nets.spec.species, nets.data.subjects, nets.data.beside),
        command=shlex.join(["hypnod", *sys.argv[1:]]),
        device=str(nets.device),
        minutes=round((time.monotonic() - started) / 60, 1),
        config=msgspec.to_builtins(nets.config),
        split=_with_real(nets, split)._asdict(),
        sources=nets.data.sources,
        tested=_tested(nets, list(counted)),
        history=msgspec.convert(msgspec.to_builtins(trained.history), tuple[PassReport, ...]),
        temperatures=trained.temperatures,
        grammar=trained.grammar,
        scores={_name(reading): each for reading, each in pooled.items()},
        seeds=tuple(_seed_report(each, stages) for each in tried),
        datasets=_by_dataset(nets, counted),
        subjects={
            name: {_name(r): scores.score(t, stages) for r, t in tallies.items()}
            for name, tallies in sorted(counted.items())
        },
    )


def _seed_report(tried: Tried, stages: tuple[str, ...]) -> SeedReport:
    pooled = pool(list(tried.counted.values()), stages)
    return SeedReport(
        seed=tried.seed,
        taken=tried.taken.number,
        stopped_by=tried.taken.kappa[MIXED],
        scores={_name(reading): each for reading, each in pooled.items()},
    )


def _by_dataset(nets: Nets, counted: Counted) -> dict[str, dict[str, Scores]]:
    """Return the figures of each dataset's epochs together, where there are datasets."""
    if nets.options.leave_out != "dataset":
        return {}
    tallies: dict[str, list[dict[Reading, Tally]]] = {}
    for name, found in sorted(counted.items()):
        tallies.setdefault(dataset_of(name), []).append(found)
    return {
        dataset: {_name(r): each for r, each in pool(of_it, nets.spec.stages).items()}
        for dataset, of_it in tallies.items()
    }


def _tested(nets: Nets, names: Sequence[str]) -> str:
    lengths = sorted({s.scored_in * nets.spec.epoch_s for s in nets.of(names)})
    whom = f"{len(names)} subjects" if len(names) > 1 else names[0]
    alone = ""
    if nets.options.leave_out is not None:
        whose = "it" if nets.options.leave_out == "subject" else "anybody of its dataset"
        alone = f", each with a net that never saw {whose}"
    return f"{whom}{alone}, epochs of {', '.join(f'{s:g}' for s in lengths)} s"


def _name(reading: Reading) -> str:
    pathway, lag = reading
    return f"{pathway} final, lag {lag}" if lag else f"{pathway} live"


def write(nets: Nets, split: Split, model: Model, report: TrainReport) -> None:
    """Write bundle, report and picture.

    Raises:
        HypnodError: the net does not give what its bundle must, or a file cannot be written.
    """
    out = nets.options.out
    nets.say(f"writing {out}, and the report")
    model.cpu()
    export_bundle(
        model,
        nets.spec,
        out,
        out.name,
        _provenance(report),
        reference=_reference(nets, split),
        temperatures=report.temperatures,
        grammar=report.grammar,
        learnt_from=learnt_from(nets.data.files, _with_real(nets, split), _learnt_before(nets)),
        like=nets.options.start,
    )
    name = nets.options.report
    name.parent.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(report)) + b"\n"
    name.with_name(f"{name.name}.json").write_bytes(text)
    tested = nets.of(split.test) or nets.data.subjects
    example = _example(model, tested[0], report.grammar)
    draw_report(report, example, name.with_name(f"{name.name}.png"))


def _with_real(nets: Nets, split: Split) -> Split:
    """Return the split with the real subjects that simulated ones were mixed with."""
    return split._replace(
        training=(*split.training, *(s.name for s in nets.data.beside)),
        validation=(*split.validation, *(s.name for s in nets.data.stop_by)),
    )


def _learnt_before(nets: Nets) -> Mapping[str, LearntAs]:
    """Return what the bundle that was fine-tuned had learnt from."""
    start = nets.options.start
    return {} if start is None else open_bundle(start).manifest.learnt_from


def _reference(nets: Nets, split: Split) -> Reference | None:
    """Return what the animals look like that it learned from, where they are enough."""
    try:
        return fit_reference(nets.of(split.training + split.validation), nets.spec)
    except RecordingError as error:
        nets.say(f"no drift measure in this bundle: {error}")
    return None


def _example(model: Model, subject: ScoredEpochs, grammar: Grammar | None) -> Example:
    """Return the first hours of a subject's hypnogram, live, beside the truth."""
    n = round(_EXAMPLE_S / model.spec.epoch_s)
    read = read_all(model, subject.epochs[:n], subject.usable[:n])
    answers = as_answered(model.spec, read[:, :, -1], subject.usable[:n])[:, 0]
    if grammar is not None:
        answers = published(model.spec, answers[:, None], 0, grammar)
    return Example(subject.name, model.spec.epoch_s, subject.stages[:n], answers)


def _provenance(report: TrainReport) -> dict[str, str]:
    """Return what the weights follow from, and what came out."""
    figures = {
        f"test, {name}": f"κ {_figure(s.kappa)}, accuracy {_figure(s.accuracy)}, "
        f"macro-F1 {_figure(s.macro_f1)}, precision of REM {_figure(s.precision.get('REM'))}, "
        f"ECE {_figure(s.ece)}"
        for name, s in report.scores.items()
    }
    counts = {part: f"{len(names)} subjects" for part, names in report.split.items()}
    return {
        "data": report.data,
        **counts,
        "tested": report.tested,
        "command": report.command,
        "config": msgspec.json.encode(report.config).decode(),
        "device": report.device,
        "minutes": f"{report.minutes:.0f}",
        **made_with(),
        **figures,
    }


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def made_with() -> dict[str, str]:
    """Return when a net is made, and with which versions."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "hypnod": metadata.version("hypnod"),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }
