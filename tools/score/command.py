"""`hypnod score`: stage a recording offline, as the daemon would have staged it live."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn

from daemon.config import Config, load_config
from daemon.messages import Kind
from daemon.stager import Estimate
from engines.bundle import Bundle
from models.errors import ConfigError, RecordingError
from models.recordings.find import expert_places
from models.recordings.hypnograms.read import read_hypnograms
from models.recordings.open import Recording
from models.signal.montage import StreamChannels
from models.species import contradict
from models.teacher import TeacherWeights, teacher_of
from tools.score.aggregate import check_epoch
from tools.score.drift import DriftLog, summarise
from tools.score.offline import open_configured, stage_configured
from tools.score.report import print_report, write_files, write_pictures
from tools.score.scored import Scored, by_bundle, refuse
from tools.score.whole import by_teacher, stage_whole
from tools.shared import expert, source
from tools.shared.channels import print_channels
from tools.shared.match import MatchOption
from tools.shared.species import BundleOption, SpeciesOption
from tools.shared.unit import UnitOption


def score(
    file: source.FileArgument,
    config: source.ConfigOption = None,
    stream: source.StreamOption = None,
    eeg: source.EegOption = None,
    emg: source.EmgOption = None,
    eog: source.EogOption = None,
    subject: source.SubjectOption = None,
    unit: UnitOption = None,
    match: MatchOption = None,
    bundle: BundleOption = None,
    species: SpeciesOption = None,
    engine: source.EngineOption = None,
    kind: Annotated[
        Kind | None,
        typer.Option(help="Which estimates make the hypnogram, default: final; --csv holds both."),
    ] = None,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline",
            help="By the offline teacher, which looks at the whole recording, not by the model.",
        ),
    ] = False,
    hypnogram: Annotated[
        Path | None,
        typer.Option(help="Compare with this one: EDF+, CSV, events.tsv, .mat or .txt."),
    ] = None,
    hypnogram_epoch: expert.HypnogramEpochOption = None,
    codes: expert.CodesOption = None,
    ignore: expert.IgnoreOption = None,
    same_start: expert.SameStartOption = False,
    epoch_s: Annotated[
        float | None,
        typer.Option(help="Give out epochs of this length, s: mean of the probabilities."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write every estimate with its probabilities.")
    ] = None,
    edf: Annotated[Path | None, typer.Option(help="Write EDF+ annotations.")] = None,
    tsv: Annotated[Path | None, typer.Option(help="Write a BIDS events.tsv.")] = None,
    png: Annotated[
        Path | None, typer.Option(help="Draw the night; one file for each of several subjects.")
    ] = None,
    anyway: source.AnywayOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Stage a **recording** offline.

    The samples go the same way as a live stream's, through the very same code, so the stages
    are those that `hypnod run` gives, live and final.

    Without `--config` or labels, the channels are guessed: those whose labels differ in EEG and
    EMG alone belong to one subject. What was guessed is said, and what is not used; where another
    guess is as good nothing is guessed. Of several channels of one label, EEG#2 is the second.
    Of a person they are chosen by the names of electrodes, C4-M1 and E1-M2 first
    (docs/evaluation.md); a table says which and why.

    A recording that contradicts the model's species is refused with exit code 10: by the labels of
    a person (`EOG`, `Fpz-Cz`) or of an animal, or by a drift above 1 for minutes and in most of it.

        hypnod score night.edf --png night.png --csv night-staged.csv

        hypnod score night.edf --eeg EEG2 --emg EMG2a-EMG2b --hypnogram expert.csv

        hypnod score night.edf --epoch-s 4 --tsv night-staged.tsv

        hypnod score night.xdf --config hypnod.toml --json

        hypnod score psg.edf --species human --csv psg-staged.csv

        hypnod score night.edf --offline --csv night-best.csv

        hypnod score psg.edf --species human --offline --csv psg-best.csv

    `--offline` gives the best hypnogram of a finished recording instead: not what a live model
    can know, and not by the bundle (docs/evaluation.md). Every output says so.
    """
    check_outputs([file, config, hypnogram], [csv, edf, tsv, png])
    check_places(file, [csv, edf, tsv])
    base = load_config(config) if config else Config(streams=())
    if offline and (bundle or engine or kind):
        raise ConfigError("expected --offline without --bundle, --engine or --kind: no model runs")
    if hypnogram is None and (codes or ignore or same_start):
        raise ConfigError("expected --codes, --ignore and --same-start with --hypnogram only")
    opened: Bundle | TeacherWeights
    if offline:
        opened = teacher_of(species or base.engine.species or "mouse")
        by = by_teacher(opened)
    else:
        opened = source.open_asked(bundle, species, base)
        by = by_bundle(opened)
    configured = base.stream(stream) if config else None
    channels = {"eeg": eeg, "emg": emg, "eog": eog}
    found = source.choose_asked(file, by.spec, configured, channels, subject, unit, match)
    recording, chosen = found.recording, found.stream
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    print_channels(console, found)
    hop_s = (None if offline else base.staging.hop_s) or by.spec.epoch_s
    apart_s = hop_s if kind == "live" else by.spec.epoch_s
    check_epoch(apart_s if epoch_s is None else epoch_s, apart_s)
    names = [s.name for s in chosen.subjects]
    legend = expert.read_legend(hypnogram_epoch, codes, ignore, same_start)
    references = {}
    if hypnogram is not None:
        references = read_hypnograms(
            hypnogram,
            names,
            by.spec.stages,
            recording,
            legend,
            made_up=configured is None and not subject,
        )
    contradiction = contradict((*recording.ch_names, *recording.skipped), by.spec)
    refuse(file, [contradiction], anyway=anyway)  # before hours of staging
    for line in found.flaws if found.table else found.left_out:
        console.print(line, markup=False)
    drift = DriftLog(names, by.spec.modalities, hop_s)
    estimates, description = stage_recorded(opened, engine, recording, chosen, base, drift, console)
    scored = Scored(
        recording=recording,
        stream=chosen,
        by=by,
        engine=description,
        kind=kind or "final",
        hop_s=hop_s,
        epoch_s=epoch_s,
        estimates=estimates,
        references={name: scoring.hypnogram for name, scoring in references.items()},
        accounts={name: scoring.account for name, scoring in references.items()},
        reference_name=hypnogram.name if hypnogram else "",
        unused=found.unused,
        drift=summarise(drift.seen),
    )
    if not scored.epochs(names[0]):
        raise RecordingError(
            f"{recording.path}: expected at least one epoch of "
            f"{epoch_s or by.spec.epoch_s:g} s, found {recording.duration:g} s"
        )
    refuse(file, scored.contradictions, anyway=anyway)
    write_files(scored, csv, edf, tsv)
    if png is not None:
        write_pictures(scored, png)
    print_report(scored, as_json=as_json)


def check_outputs(inputs: Sequence[Path | None], outputs: Sequence[Path | None]) -> None:
    """Raise RecordingError where an output would overwrite an input or another, or has no place."""
    taken = {path.resolve() for path in inputs if path is not None}
    for path in filter(None, outputs):
        if path.resolve() in taken:
            raise RecordingError(f"expected a file of its own for each output, found {path} twice")
        if not path.parent.is_dir():  # known before hours of staging
            raise RecordingError(f"{path}: expected a folder to write to, found no {path.parent}")
        taken.add(path.resolve())


def check_places(recording: Path, outputs: Sequence[Path | None]) -> None:
    """Raise RecordingError where an output would lie where an expert's hypnogram is looked for."""
    places = expert_places(recording)
    for path in filter(None, outputs):
        if path.name.lower() in places and path.resolve().parent == recording.resolve().parent:
            other = f"{recording.stem}-staged{path.suffix}"
            raise RecordingError(
                f"expected another name than {path}, where evaluate and train look for an "
                f"expert's hypnogram of {recording.name}: name it {path.with_name(other)}"
            )


def stage_recorded(
    by: Bundle | TeacherWeights,
    kind: str | None,
    recording: Recording,
    stream: StreamChannels,
    config: Config,
    drift: DriftLog,
    console: Console,
) -> tuple[list[Estimate], str]:
    """Stage the recording behind a progress bar; return also what the engine says of itself."""
    if isinstance(by, TeacherWeights):
        return _stage_whole(by, recording, stream, config, console), "numpy"
    estimates: list[Estimate] = []
    engine = open_configured(by, kind, config, n_rows=len(stream.subjects))
    with engine, _progress(console) as progress:
        task = progress.add_task("staging", total=recording.n_samples)
        for n_read, new in stage_configured(by, engine, recording, stream, config, drift):
            estimates += new
            progress.update(task, completed=n_read)
        return estimates, engine.description


def _stage_whole(
    weights: TeacherWeights,
    recording: Recording,
    stream: StreamChannels,
    config: Config,
    console: Console,
) -> list[Estimate]:
    """Stage the recording by the teacher behind a progress bar."""
    with _progress(console) as progress:
        task = progress.add_task("measuring", total=recording.duration)
        advance = partial(progress.update, task)
        return stage_whole(
            recording,
            stream,
            weights,
            config.quality,
            lambda end_s: advance(completed=end_s),
        )


def _progress(console: Console) -> Progress:
    columns = (SpinnerColumn(), *Progress.get_default_columns(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)
