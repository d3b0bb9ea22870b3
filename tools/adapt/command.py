"""`hypnod adapt`: from unscored recordings of a lab's own subjects to a bundle for its rig."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from engines.bundle import open_bundle
from models.errors import ConfigError
from models.recordings.lab import LabOptions
from models.training.choices import DeviceName
from tools.adapt.report import print_report
from tools.adapt.usual import USUAL
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
from tools.shared.match import MatchOption, read_match
from tools.shared.plain import plain_console
from tools.shared.source import EegOption, EmgOption, EogOption
from tools.shared.species import SpeciesOption
from tools.shared.train_extra import train_extra
from tools.shared.unit import UnitOption, read_unit
from tools.train.command import check_out


class AdaptOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for."""

    paths: tuple[Path, ...]
    out: Path
    start: Path
    """Bundle to go on from."""
    lab: LabOptions
    passes: int
    simulated: int
    """Simulated subjects to learn from beside the recordings."""
    hours: float
    """Of each simulated subject."""
    learning_rate: float
    seed: int
    device: DeviceName
    threads: int
    seeds: int = 1
    """So many, of which the best on what stops it is taken."""
    leave_one_out: bool = False
    """Whether each subject is left out in turn, in place of a third of them."""
    cluster: ClusterOptions | None = None
    """Where that is done; None: here, one after the other."""


def adapt(
    recordings: Annotated[
        list[Path], typer.Argument(help="Recordings, or folders of them.", metavar="RECORDING…")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the bundle to write, if there is a gain.")],
    from_bundle: Annotated[
        Path | None, typer.Option(help="Bundle to begin with; default: the shipped one.")
    ] = None,
    species: SpeciesOption = None,
    eeg: EegOption = None,
    emg: EmgOption = None,
    eog: EogOption = None,
    unit: UnitOption = None,
    match: MatchOption = None,
    passes: Annotated[int, typer.Option(min=1, help="At most, through what is learnt from.")] = 2,
    simulated: Annotated[
        int | None,
        typer.Option(
            min=4,
            max=80,
            help="Simulated subjects to learn from beside the recordings; default: 24 mice, "
            "8 people.",
        ),
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(
            min=0.02, help="Of each simulated subject; default: 0.5 of mice, 7 of people."
        ),
    ] = None,
    learning_rate: Annotated[float, typer.Option(help="At its highest.")] = 3e-5,
    seed: Annotated[int, typer.Option(min=0, max=999, help="Of everything random.")] = 0,
    seeds: Annotated[
        int,
        typer.Option(
            min=1, max=100, help="Learn from so many seeds; the best on what stops it is judged."
        ),
    ] = 1,
    leave_one_subject_out: Annotated[
        bool,
        typer.Option(
            "--leave-one-subject-out",
            help="Judge by each subject, with a net that learnt from the others; the bundle learns "
            "from all.",
        ),
    ] = False,
    device: Annotated[DeviceName, typer.Option(help="auto: a GPU if there is one.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = 1,
    workers: WorkersOption = None,
    memory: MemoryOption = "auto",
    scheduler: SchedulerOption = None,
    slurm: SlurmOption = None,
    pbs: PbsOption = None,
    lsf: LsfOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Fit a bundle to a lab's own rig by **unscored recordings** of its animals or people.

    The offline teacher (`hypnod score --offline`) stages each recording as a whole. What it is
    sure of, and the bundle does not contradict, is learnt, beside simulated subjects, so that
    nothing else is forgotten. Give it hours that hold both sleep and waking, of several subjects if
    there are some: those that nothing was learnt from tell whether it helped.

    Where it did not, no bundle is written, and that is said: the teacher is a machine, and agreeing
    with it is not being right. If an hour was scored by hand, ask `hypnod evaluate` about both.

        hypnod adapt night.edf --out ourrig

        hypnod adapt recordings/ --eeg EEG2 --emg EMG2a-EMG2b --out ourrig

        hypnod adapt nights/ --species human --out oursleeplab

        hypnod adapt recordings/ --out ourrig --leave-one-subject-out --workers 4

        hypnod evaluate scored/ --bundle ourrig

    Recordings in which a common stage hardly occurs are left out: the teacher is often wrong there.
    Hypnograms beside the recordings are not read; `hypnod train` learns from those.
    """
    check_out(out)
    if seeds > 1 and leave_one_subject_out:
        raise ConfigError(
            "expected --seeds without --leave-one-subject-out, found both: each subject is judged "
            "by a net of its own, of one seed"
        )
    several = seeds > 1 or leave_one_subject_out
    wants = None if several else "--seeds or --leave-one-subject-out"
    cluster = read_spread(workers, memory, scheduler, slurm, pbs, lsf, wants)
    bundle = open_bundle(from_bundle, species)
    usual = USUAL[bundle.spec.species]
    options = AdaptOptions(
        paths=tuple(recordings),
        out=out,
        start=bundle.path,
        lab=LabOptions(
            eeg=eeg or (),
            emg=emg or (),
            eog=eog or (),
            unit=read_unit(unit),
            match=read_match(match),
        ),
        passes=passes,
        simulated=simulated or usual.simulated,
        hours=hours or usual.hours,
        learning_rate=learning_rate,
        seed=seed,
        device=device,
        threads=threads,
        seeds=seeds,
        leave_one_out=leave_one_subject_out,
        cluster=cluster,
    )
    with train_extra():
        from tools.adapt.adapting import run  # noqa: PLC0415
    console = plain_console(stderr=True, soft_wrap=True)
    report = run(options, console)
    if as_json:
        typer.echo(msgspec.json.encode(report).decode())
    else:
        print_report(report)
    console.print(report.outcome)
