"""`hypnod evaluate`: how well a model stages recordings that somebody scored."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn

from engines.bundle import Bundle, open_bundle
from engines.select import AUTO
from models.errors import ConfigError
from models.recordings.lab import LabOptions, LabRecording, check_unused, open_lab
from models.simulator.species import SIMULATORS
from models.training.simulated import FIRST_UNSEEN_SEED, simulate_subject
from tools.evaluate.evaluation import choose_withheld, evaluate_recordings
from tools.evaluate.learnt import check_unseen
from tools.evaluate.report import report, write_subjects
from tools.evaluate.tables import print_evaluation
from tools.score.command import (
    check_outputs,
)
from tools.shared import expert
from tools.shared.match import MatchOption, read_match
from tools.shared.plain import plain_console
from tools.shared.source import EegOption, EmgOption, EogOption
from tools.shared.species import BundleOption, SpeciesOption
from tools.shared.unit import UnitOption, read_unit


class Mice(NamedTuple):
    """Simulated mice."""

    n: int
    hours: float
    seed: int
    sfreq: float


class ToStage(NamedTuple):
    """What is to be staged."""

    data: str
    recordings: Iterable[LabRecording]
    seconds: float
    left_out: Sequence[Path]


def evaluate(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders of scored recordings, or files.", metavar="DIR…"),
    ] = None,
    simulated: Annotated[
        int, typer.Option(min=0, help="Instead of recordings so many simulated subjects.")
    ] = 0,
    hours: Annotated[float, typer.Option(min=0.02, help="Of each simulated mouse.")] = 1.0,
    seed: Annotated[
        int,
        typer.Option(
            min=FIRST_UNSEEN_SEED,
            help="Of the first simulated mouse; from a million on, no model is trained on it.",
        ),
    ] = FIRST_UNSEEN_SEED,
    sfreq: Annotated[float, typer.Option(help="Sampling rate of simulated subjects, Hz.")] = 512.0,
    bundle: BundleOption = None,
    species: SpeciesOption = None,
    engine: Annotated[str, typer.Option(help="`hypnod doctor` lists them.")] = AUTO,
    eeg: EegOption = None,
    emg: EmgOption = None,
    eog: EogOption = None,
    unit: UnitOption = None,
    match: MatchOption = None,
    hypnogram_epoch: expert.HypnogramEpochOption = None,
    codes: expert.CodesOption = None,
    ignore: expert.IgnoreOption = None,
    same_start: expert.SameStartOption = False,
    skip_unscored: Annotated[
        bool, typer.Option("--skip-unscored", help="Leave out recordings without a hypnogram.")
    ] = False,
    even_trained_on: Annotated[
        bool,
        typer.Option("--even-trained-on", help="Also report what the bundle learnt from."),
    ] = False,
    without: Annotated[
        list[str] | None, typer.Option(help="Withhold a modality, e.g. emg, as if not recorded.")
    ] = None,
    pathways: Annotated[
        Literal["recorded", "all"],
        typer.Option(help="all: also each modality alone, the others withheld."),
    ] = "recorded",
    epoch_s: Annotated[
        float | None,
        typer.Option(help="Length of the epochs compared, s; default: the expert's."),
    ] = None,
    hop: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="Stage so often, s, as `[staging] hop_s` does; default: the epoch."
        ),
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write each subject's figures.")] = None,
    png: Annotated[Path | None, typer.Option(help="Draw confusion and reliability.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON.")] = False,
) -> None:
    """Score a model **against experts**, as it would have staged live.

    Recordings are EDF, BDF, .mat or XDF; the hypnogram of `night.edf` is `night.csv`, `.tsv`,
    `.txt`, `night_events.tsv` or `night_hypnogram.*` beside it, or inside it. A folder is
    searched with all below; the subject is `sub-<label>` of the path, else the first folder
    below, else the file's name.

    All figures are given for live and final stages, and for the first minute after the start
    apart. Where the expert scored longer epochs than hypnod, its probabilities are averaged over
    each of them. Epochs that hypnod gave no stage are counted, not hidden. docs/evaluation.md
    says what each figure means. Animals come with the worst one first.

    Recordings that the bundle was trained on or stopped by are refused with exit code 9.

        hypnod evaluate scored/ --pathways all --png evaluation.png --csv subjects.csv

        hypnod evaluate scored/ --eeg EEG2 --emg EMG1-EMG2 --bundle mine --json

        hypnod evaluate --simulated 8 --hours 2 --sfreq 1000
    """
    check_outputs(paths or [], [csv, png])
    opened = open_bundle(bundle, species)
    withheld = choose_withheld(opened.spec, without or [], each=pathways == "all")
    options = LabOptions(
        eeg=eeg or (),
        emg=emg or (),
        eog=eog or (),
        unit=read_unit(unit),
        match=read_match(match),
        legend=expert.read_legend(hypnogram_epoch, codes, ignore, same_start),
        skip_unscored=skip_unscored,
    )
    mice = Mice(simulated, hours, seed, sfreq)
    source = _find(paths or [], options, mice, opened, even_trained_on=even_trained_on)
    columns = (SpinnerColumn(), *Progress.get_default_columns(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("staging", total=source.seconds * len(withheld))
        evaluated = evaluate_recordings(
            source.recordings,
            opened,
            withheld,
            engine=engine,
            epoch_s=epoch_s,
            hop_s=hop,
            advance=lambda seconds: progress.update(task, advance=seconds),
        )
    evaluation = report(evaluated, opened, source.data, source.left_out)
    if csv is not None:
        write_subjects(csv, evaluation)
    if png is not None:
        # Here, not above: importing matplotlib takes most of a second.
        from tools.view.evaluation import plot_evaluation  # noqa: PLC0415

        plot_evaluation(png, evaluation)
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(evaluation)).decode() + "\n")
    else:
        print_evaluation(plain_console(), evaluation)


def _find(
    paths: list[Path], options: LabOptions, mice: Mice, bundle: Bundle, *, even_trained_on: bool
) -> ToStage:
    """Return what is to be staged: recordings, or else simulated mice."""
    spec = bundle.spec
    if bool(paths) == bool(mice.n):
        raise ConfigError(
            f"expected folders of recordings or --simulated, found {'both' if paths else 'neither'}"
        )
    if paths:
        recordings, left_out = open_lab(paths, spec, options)
        if not even_trained_on:
            check_unseen(recordings, bundle)
        seconds = sum(lab.duration_s for lab in recordings)
        return ToStage("recordings scored by experts", recordings, seconds, left_out)
    check_unused(options)
    seeds = range(mice.seed, mice.seed + mice.n)
    who = SIMULATORS[spec.species].plural
    data = f"unseen simulated {who}, seeds {seeds[0]} to {seeds[-1]}, {mice.sfreq:g} Hz"
    animals = (simulate_subject(spec.species, each, mice.hours, mice.sfreq) for each in seeds)
    return ToStage(data, animals, 3600 * mice.hours * mice.n, [])
