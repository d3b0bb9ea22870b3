"""`hypnod train`: train a model on a lab's own scored recordings, or on simulated ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from engines.bundle import open_bundle
from models.errors import ConfigError, RecordingError, SpecError
from models.recordings.lab import LabOptions, check_unused
from models.spec import ALL_FILE, SPEC_FILE, STEP_FILE, WEIGHTS_FILE
from models.training.choices import DeviceName, DtypeName
from tools.cluster.options import (
    ClusterOptions,
    LsfOption,
    MemoryOption,
    PbsOption,
    SchedulerOption,
    SlurmOption,
    WorkersOption,
    read_spread,
)
from tools.shared import expert
from tools.shared.match import MatchOption, read_match
from tools.shared.plain import plain_console
from tools.shared.source import EegOption, EmgOption, EogOption
from tools.shared.species import SpeciesOption
from tools.shared.train_extra import train_extra
from tools.shared.unit import UnitOption, read_unit
from tools.train.report import print_report


class TrainOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for; what is None follows from the rest."""

    dirs: tuple[Path, ...]
    out: Path
    lab: LabOptions
    simulated: int
    wide: bool
    hours: float
    stop_by: tuple[Path, ...]
    start: Path | None
    """Bundle to go on from; None: new weights."""
    leave_out: Literal["subject", "dataset"] | None
    """What a net is trained without, and tested on, in turn; None: a tenth is tested on, once."""
    recipe: Literal["hypnod", "paper"]
    species: str | None
    """Whose net a new one is; None: a mouse's."""
    context: int | None
    """Epochs that a new net sees at once; None: as its paper has it."""
    patch: int | None
    """Samples of a patch; None: the paper's, or the net is given relative levels, not samples."""
    dropout: float | None
    passes: int | None
    patience: int | None
    batch_size: int | None
    learning_rate: float | None
    seed: int
    seeds: int = 1
    """How many to train from, `seed` and those after it; one of the nets is taken."""
    state: Path
    report: Path
    device: DeviceName
    precision: DtypeName
    threads: int
    cluster: ClusterOptions | None = None
    """Where seeds are tried, or subjects left out in turn; None: here, one after the other."""


def train(
    out: Annotated[Path, typer.Option(help="Folder of the bundle to write.")],
    dirs: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders or files of scored recordings.", metavar="DIR…"),
    ] = None,
    simulated: Annotated[
        int,
        typer.Option(
            help="Train on so many simulated subjects, and on recordings, if given, beside them."
        ),
    ] = 0,
    wide: Annotated[
        bool, typer.Option("--wide", help="Simulate subjects and instruments of many labs.")
    ] = False,
    hours: Annotated[float, typer.Option(min=0.02, help="Of each simulated subject.")] = 1.0,
    stop_by: Annotated[
        list[Path] | None,
        typer.Option(
            help="Scored recordings that decide when to stop; default: a tenth of the subjects.",
            metavar="DIR",
        ),
    ] = None,
    species: SpeciesOption = None,
    from_bundle: Annotated[
        Path | None, typer.Option(help="Fine-tune this bundle; default: the shipped one.")
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Begin with new weights, as --simulated does.")
    ] = False,
    leave_one_subject_out: Annotated[
        bool,
        typer.Option(
            "--leave-one-subject-out",
            help="Test on each subject a net that never saw it; the bundle learns from all.",
        ),
    ] = False,
    leave_one_dataset_out: Annotated[
        bool,
        typer.Option(
            "--leave-one-dataset-out",
            help="Each DIR is a dataset: test on each a net that saw nobody of it.",
        ),
    ] = False,
    recipe: Annotated[
        Literal["hypnod", "paper"],
        typer.Option(help="paper: loss and optimiser of the model's authors, no masks."),
    ] = "hypnod",
    context: Annotated[
        int | None,
        typer.Option(min=1, help="Epochs a new net sees at once; default: its paper's."),
    ] = None,
    patch: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Samples of a new net's patches; default: it is given levels relative to the "
            "subject's own instead, and with --recipe paper the paper's samples.",
        ),
    ] = None,
    dropout: Annotated[
        float | None,
        typer.Option(min=0, max=0.9, help="Of a new net; default: 0.1, with --simulated 0."),
    ] = None,
    passes: Annotated[
        int | None, typer.Option(min=1, help="At most, through the training subjects.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Passes without a better validation before the end.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Windows of a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="At its highest.")] = None,
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
        bool, typer.Option("--skip-unscored", help="Leave recordings out that nobody scored.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, max=999, help="Of everything random.")] = 0,
    seeds: Annotated[
        int,
        typer.Option(
            min=1,
            max=100,
            help="Train from so many seeds; the bundle is the one best on what stops it.",
        ),
    ] = 1,
    state: Annotated[
        Path | None, typer.Option(help="Where to keep the run; default: OUT.state, until the end.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write REPORT.json and REPORT.png; default: OUT-report.")
    ] = None,
    device: Annotated[DeviceName, typer.Option(help="auto: a GPU if there is one.")] = "auto",
    precision: Annotated[DtypeName, typer.Option(help="Of matrix products.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = 1,
    workers: WorkersOption = None,
    memory: MemoryOption = "auto",
    scheduler: SchedulerOption = None,
    slurm: SlurmOption = None,
    pbs: PbsOption = None,
    lsf: LsfOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Train a model on a lab's own **scored recordings**, and write a bundle and a report.

    Recordings are EDF, BDF, .mat or XDF, each with its hypnogram inside or beside it
    (docs/training.md). Subjects are split, never recordings: 10 % to stop by, 10 % for the
    test that the report tells of, at most 20 each, the others to learn from. By default the
    shipped bundle is fine-tuned, which needs the fewest animals. A run that was interrupted goes
    on when it is started again.

        hypnod train recordings/ --out ourlab

        hypnod train recordings/ --out ourlab --leave-one-subject-out

        hypnod train recordings/ --out ourlab --leave-one-subject-out --workers 4

        hypnod train recordings/ --out ourlab --seeds 5 --workers 5

        hypnod train recordings/ --out ourlab --from-scratch --recipe paper

        hypnod train --simulated 20 --hours 0.5 --out trial

        hypnod train sleep-edfx hmc isruc shhs p2018 --out table --species human --from-scratch
        --recipe paper --leave-one-dataset-out

    With --workers, --scheduler or a queue the nets of each seed, or without a subject, are trained
    at once, on this machine or on many (docs/archives.md); what comes out is the same.

    Writes the folder OUT, OUT-report.json and OUT-report.png.
    """
    if not (dirs or simulated):
        raise RecordingError("expected folders of recordings, --simulated or both, found neither")
    leave_out = _read_folds(
        dirs or [], simulated, subject=leave_one_subject_out, dataset=leave_one_dataset_out
    )
    if seeds > 1 and leave_out is not None:
        raise ConfigError(
            "expected --seeds without a subject or dataset left out in turn, found both: each is "
            "tested by a net of its own, of one seed"
        )
    several = "--seeds, --leave-one-subject-out or --leave-one-dataset-out"
    wants = several if leave_out is None and seeds == 1 else None
    cluster = read_spread(workers, memory, scheduler, slurm, pbs, lsf, wants)
    if wide and not simulated:
        raise RecordingError("expected --wide with --simulated only")
    if from_bundle and from_scratch:
        raise SpecError("expected --from-bundle or --from-scratch, found both")
    new = from_scratch or (simulated > 0 and from_bundle is None)
    if not new and (context, patch, dropout) != (None, None, None):
        raise SpecError("expected --context, --patch, --dropout with --from-scratch only")
    check_out(out)
    lab = LabOptions(
        eeg=eeg or (),
        emg=emg or (),
        eog=eog or (),
        unit=read_unit(unit),
        match=read_match(match),
        legend=expert.read_legend(hypnogram_epoch, codes, ignore, same_start),
        skip_unscored=skip_unscored,
    )
    if not (dirs or stop_by):
        check_unused(lab)
    options = TrainOptions(
        dirs=tuple(dirs or ()),
        out=out,
        lab=lab,
        simulated=simulated,
        wide=wide,
        hours=hours,
        stop_by=tuple(stop_by or ()),
        start=None if new else open_bundle(from_bundle, species).path,
        leave_out=leave_out,
        recipe=recipe,
        species=species,
        context=context,
        patch=patch,
        dropout=dropout,
        passes=passes,
        patience=patience,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        seeds=seeds,
        state=state or out.with_name(f"{out.name}.state"),
        report=report or out.with_name(f"{out.name}-report"),
        device=device,
        precision=precision,
        threads=threads,
        cluster=cluster,
    )
    with train_extra():
        from tools.train.training import run  # noqa: PLC0415
    console = plain_console(stderr=True, soft_wrap=True)
    result = run(options, console)
    if result is None:
        return
    if as_json:
        typer.echo(msgspec.json.encode(result).decode())
    else:
        print_report(result)
    console.print(f"wrote {out}, {options.report}.json and {options.report}.png")


def _read_folds(
    dirs: Sequence[Path], simulated: int, *, subject: bool, dataset: bool
) -> Literal["subject", "dataset"] | None:
    """Return what is left out in turn.

    Raises:
        RecordingError: there are no such parts to leave out.
    """
    if simulated and (subject or dataset):
        option = "--leave-one-subject-out" if subject else "--leave-one-dataset-out"
        raise RecordingError(f"expected {option} without --simulated")
    if not dataset:
        return "subject" if subject else None
    if subject:
        raise RecordingError(
            "expected --leave-one-subject-out or --leave-one-dataset-out, found both"
        )
    names = [folder.resolve().name for folder in dirs]
    if len(names) < 2 or len({*names}) < len(names) or not all(map(Path.is_dir, dirs)):
        raise RecordingError(
            "--leave-one-dataset-out: expected a folder for each of two datasets or more, of "
            f"different names, found {', '.join(map(str, dirs)) or 'none'}"
        )
    return "dataset"


def check_out(out: Path) -> None:
    """Raise BadParameter unless `out` is new, empty or a bundle: what is there is replaced."""
    bundle = {SPEC_FILE, STEP_FILE, ALL_FILE, WEIGHTS_FILE}
    there = [out] if out.is_file() else sorted(out.iterdir()) if out.exists() else []
    others = [path for path in there if path.name not in bundle]
    if others or not out.name:
        found = others[0] if others else out
        raise typer.BadParameter(f"--out: expected a new folder or a bundle's, found {found}")
