"""`hypnod archive`: score, watch over and sum up the recordings of years."""

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from engines.bundle import open_bundle
from models.errors import RecordingError
from tools.archive.cohort import print_cohort, read_cohort, write_tidy
from tools.archive.folder import ArchiveFolder
from tools.archive.jobs import find_jobs, listed, to_do
from tools.archive.rules import load_rules
from tools.archive.status import print_status, problem_of, read_status
from tools.cluster.open import extra, open_cluster, watched_at
from tools.cluster.options import (
    LsfOption,
    MemoryOption,
    PbsOption,
    SchedulerOption,
    SlurmOption,
    WorkersOption,
    read_cluster,
)
from tools.evaluate.report import report, write_subjects
from tools.evaluate.tables import print_evaluation
from tools.score.command import check_outputs
from tools.shared import expert
from tools.shared.plain import plain_console
from tools.shared.species import BundleOption

archive = typer.Typer(
    name="archive",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
)

Folder = Annotated[Path, typer.Argument(help="That `score --out` wrote.", metavar="DIR")]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


@archive.callback()
def _archive() -> None:
    """Stage **thousands of recordings**, on this machine or on many, and sum them up."""


@archive.command()
def score(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders of recordings.", metavar="FOLDER…")
    ],
    out: Annotated[Path, typer.Option(help="Folder of what comes out.")],
    config: Annotated[
        Path | None,
        typer.Option(help="The archive.toml: channels, subjects, units, bundles by species."),
    ] = None,
    bundle: BundleOption = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also what was refused before and has not changed.")
    ] = False,
    workers: WorkersOption = None,
    memory: MemoryOption = "auto",
    scheduler: SchedulerOption = None,
    slurm: SlurmOption = None,
    pbs: PbsOption = None,
    lsf: LsfOption = None,
    as_json: AsJson = False,
) -> None:
    """Stage all recordings below some folders.

    Each one, EDF, BDF, XDF or .mat, becomes two files below --out: a Parquet of its estimates and a
    JSON of its summary, of what it follows from, and of what is odd. What is done and has not
    changed, nor its bundle, its rule or hypnod's version, is not done again: after an interruption
    run the same command.

    A recording that cannot be staged is a row with its sentence and stops no other one; the exit
    code is 6 then. Without --config the channels of each are guessed, where one guess alone is
    possible.

        hypnod archive score recordings/ --out staged/

        hypnod archive score rats/ mice/ --out staged/ --config archive.toml --workers 4

        hypnod archive score recordings/ --out staged/ --scheduler tcp://node1:8786

        hypnod archive score recordings/ --out staged/ --workers 100
        --slurm "partition=short walltime=04:00:00 memory=2GB"
    """
    with extra():  # here, not above: the other commands do without
        from tools.archive.running import RunReport, run  # noqa: PLC0415

    options = read_cluster(workers, memory, scheduler, slurm, pbs, lsf)
    folder = ArchiveFolder(out)
    jobs, left, unusable = find_jobs(folders, load_rules(config), bundle, out)
    console = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)
    with folder.held():
        folder.list([*map(listed, jobs)], folders, config, unusable)
        waiting = to_do(folder, jobs, again=again)
        dashboard, outcome = "", None
        if waiting:
            with open_cluster(options, out) as client:
                dashboard = client.dashboard_link
                n_workers = len(client.scheduler_info()["workers"])
                console.print(
                    f"{len(waiting)} recordings to stage; {n_workers} workers so far: "
                    f"{watched_at(client, options)}",
                    markup=False,
                )
                outcome = run(folder, waiting, client, console)
        told = RunReport(
            out=str(out),
            recordings=len(jobs) + len(unusable),
            skipped=len(jobs) - len(waiting),
            done=outcome.done if outcome else 0,
            hours=outcome.hours if outcome else 0.0,
            animal_hours=outcome.animal_hours if outcome else 0.0,
            seconds=outcome.seconds if outcome else 0.0,
            dashboard=dashboard,
            no_rule=tuple(left),
            problems=(
                *unusable,
                *filter(None, (problem_of(folder.read(job.name)) for job in jobs)),
            ),
        )
    if as_json:
        _print_json(told)
    else:
        plain = plain_console(soft_wrap=True)
        plain.print(
            f"{told.out}: {told.done} staged ({told.hours:.2f} h), {told.skipped} were "
            f"done before, {len(told.problems)} not staged"
        )
        for problem in told.problems:
            plain.print(f"{problem.recording}: {problem.sentence}")
        for path in told.no_rule:
            plain.print(f"{path}: no entry of {config} is for it")
    if told.problems:
        raise RecordingError(
            f"expected to stage {told.recordings} recordings, found {len(told.problems)} that "
            f"cannot be; `hypnod archive status {out}` lists them"
        )


@archive.command()
def status(folder: Folder, as_json: AsJson = False) -> None:
    """Say how far an archive is, also while a run is at it, and **why what is not done is not**.

    hypnod archive status staged/

    hypnod archive status staged/ --json
    """
    found = read_status(ArchiveFolder(folder))
    if as_json:
        _print_json(found)
    else:
        print_status(plain_console(soft_wrap=True), found)


@archive.command()
def summary(
    folder: Folder,
    csv: Annotated[
        Path | None, typer.Option(help="Write a row for each recording, subject and stage.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Write the cohort as one page: table, means, a hypnogram a recording."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sum up the **cohort**: time in each stage, bouts, transitions and drift of every subject.

    Stages are the final ones; the table shows all of a subject's recordings together. --csv and
    --json have each recording by itself, tidy, as R, pandas and Prism like it, with what
    contradicts the species and what is odd in the file.

    --html is for people: one file that needs nothing else, with who is to be looked at and what
    was not staged.

        hypnod archive summary staged/ --csv cohort.csv --html cohort.html
    """
    check_outputs([], [csv, html])
    rows = read_cohort(ArchiveFolder(folder))
    if csv is not None:
        write_tidy(csv, rows)
    if html is not None:
        with extra():  # as above
            from tools.archive.page import write_page  # noqa: PLC0415

        write_page(html, ArchiveFolder(folder), plain_console(stderr=True))
    if as_json:
        _print_json(rows)
    else:
        print_cohort(plain_console(soft_wrap=True), rows)


@archive.command()
def evaluate(
    folder: Folder,
    bundle: BundleOption = None,
    hypnogram_epoch: expert.HypnogramEpochOption = None,
    codes: expert.CodesOption = None,
    ignore: expert.IgnoreOption = None,
    same_start: expert.SameStartOption = False,
    epoch_s: Annotated[
        float | None,
        typer.Option(help="Length of the epochs compared, s; default: the expert's."),
    ] = None,
    even_trained_on: Annotated[
        bool,
        typer.Option("--even-trained-on", help="Also count what the bundle learnt from."),
    ] = False,
    csv: Annotated[Path | None, typer.Option(help="Write each subject's figures.")] = None,
    as_json: AsJson = False,
) -> None:
    """Hold an archive **against experts**, where there are hypnograms, without staging anything.

    Hypnograms are looked for where `hypnod evaluate` finds them, and the figures are its own.
    Recordings without one are left out; one that cannot be compared is a line of its own. The
    estimates of one bundle are counted.

        hypnod archive evaluate staged/ --csv subjects.csv
    """
    with extra():  # as above
        from tools.archive.evaluating import evaluate_archive  # noqa: PLC0415

    check_outputs([], [csv])
    opened = open_bundle(bundle)
    legend = expert.read_legend(hypnogram_epoch, codes, ignore, same_start)
    against = evaluate_archive(
        ArchiveFolder(folder), opened, legend, epoch_s=epoch_s, even_trained_on=even_trained_on
    )
    data = "recordings of an archive, scored by experts"
    evaluation = report(against.evaluated, opened, data, against.unscored)
    if csv is not None:
        write_subjects(csv, evaluation)
    if as_json:
        _print_json(evaluation)
    else:
        print_evaluation(plain_console(), evaluation)
    errors = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)
    for problem in against.problems:
        errors.print(f"not compared: {problem}", markup=False)


def _print_json(what: object) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(what)).decode() + "\n")
