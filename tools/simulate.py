"""`hypnod simulate`: write simulated sleep as EDF+, with the true hypnogram in it."""

import json
import math
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

import edfio
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn
from rich.table import Table

from models.errors import RecordingError
from models.recordings.writers import replacing
from models.signal.chunk import MAX_SFREQ, MIN_SFREQ
from models.simulator.bouts import find_bouts
from models.simulator.recording import SimulatedSubject
from models.simulator.species import SIMULATORS
from tools.shared.plain import plain_console

_MAX_RECORD_S = 60

Summary = dict[str, dict[str, float]]


def simulate(
    out: Annotated[Path, typer.Argument(help="The EDF+ file to write.", metavar="OUT.edf")],
    hours: Annotated[
        float | None, typer.Option(min=0, help="Length, h; adds to --minutes.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Length, min; an hour where neither is given.")
    ] = None,
    species: Annotated[Literal["mouse", "human"], typer.Option(help="Whose sleep.")] = "mouse",
    sfreq: Annotated[
        float | None,
        typer.Option(
            help=f"Sampling rate, {MIN_SFREQ:g} to {MAX_SFREQ:g} Hz; default: 512, of people 128."
        ),
    ] = None,
    subjects: Annotated[int, typer.Option(min=1, help="Subjects in the recording.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same file.")] = 0,
    artefacts: Annotated[
        float, typer.Option(min=0, help="Artefacts per hour and channel, on average.")
    ] = 0.0,
    time_scale: Annotated[
        float, typer.Option(help="Divides every bout length; 1 is how they sleep.")
    ] = 1.0,
    every_stage: Annotated[
        bool, typer.Option("--every-stage", help="Some of each stage, however short.")
    ] = False,
    wide: Annotated[
        bool,
        typer.Option("--wide", help="Subjects and instruments that differ as in many labs."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Write **simulated sleep** with its true hypnogram as EDF+ annotations.

    Each mouse k has the channels EEGk and EMGk (µV), each person EEGk and EOGk; one person alone
    has labels such as EEG C3-M2 and EOG E1-M2. One annotation per bout says the stage: `NREM` for
    one mouse, `m2 NREM` for the second of several, `p2 N3` for people. Artefacts are annotated as
    `artefact eeg` or `m2 artefact emg`. The bouts follow the statistics of expert-scored sleep.
    At a rate such as 511.96 Hz the file is as much longer as whole data records need.

        hypnod simulate night.edf --hours 12 --subjects 4 --seed 7

        hypnod simulate short.edf --minutes 10 --every-stage

        hypnod simulate night.edf --species human --hours 8
    """
    if out.exists() and not force:
        raise RecordingError(
            f"expected a new file, found that {out} exists (--force overwrites it)"
        )
    if not out.parent.is_dir():
        raise RecordingError(f"expected a folder to write {out.name} to, found no {out.parent}")
    if out.suffix.lower() != ".edf":
        raise RecordingError(f"expected a file name that ends in .edf, found {out.name}")
    who = SIMULATORS[species]
    sfreq = sfreq or who.default_sfreq
    record_s = data_record_s(sfreq)
    asked_s = 3600.0
    if hours is not None or minutes is not None:
        asked_s = 3600 * (hours or 0.0) + 60 * (minutes or 0.0)
    if not 0 < asked_s < math.inf:
        raise RecordingError(f"expected a length above 0 in all, found {asked_s:g} s")
    duration_s = record_s * math.ceil(asked_s / record_s)
    console = Console(stderr=True)
    columns = (SpinnerColumn(), *Progress.get_default_columns(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        simulated = who(
            seed=seed,
            duration_s=duration_s,
            sfreq=sfreq,
            n_subjects=subjects,
            artefacts_per_hour=artefacts,
            time_scale=time_scale,
            every_stage=every_stage,
            wide=wide,
        ).subjects()
        shown = progress.track(simulated, total=subjects, description="simulating")
        summary = write_edf(out, shown, sfreq, subjects)
    _report(out, summary, who.subject.stages, duration_s, as_json=as_json)


def data_record_s(sfreq: float) -> int:
    """Return the shortest data record, in whole seconds, that holds a whole number of samples.

    Raises:
        RecordingError: it would be longer than a minute.
    """
    record_s = Fraction(str(sfreq)).denominator
    if record_s > _MAX_RECORD_S:
        raise RecordingError(
            f"expected a sampling rate that fits EDF data records of at most {_MAX_RECORD_S} s, "
            f"found {sfreq:g} Hz, which needs {record_s} s"
        )
    return record_s


def write_edf(
    path: Path, subjects: Iterable[SimulatedSubject], sfreq: float, n_subjects: int
) -> Summary:
    """Write simulated subjects as EDF+; return the seconds in each stage by subject.

    Subjects are called m1, m2, …, people p1, p2, … Annotations are `<stage>` for one subject and
    `<subject> <stage>` for several, one per bout.

    Raises:
        RecordingError: the file cannot be written, or the rate does not fit EDF.
    """
    record_s = data_record_s(sfreq)
    signals, annotations, summary = [], [], {}
    for k, subject in enumerate(subjects, start=1):
        name, labels = f"{subject.prefix}{k}", subject.channel_names(k, n_subjects)
        signals += [_as_signal(x, n, sfreq) for x, n in zip(subject.data.T, labels, strict=True)]
        annotations += annotate(subject, name if n_subjects > 1 else "")
        summary[name] = {s: float(subject.hypnogram.count(s)) for s in subject.stages}
        summary[name] |= {"artefacts": float(len(subject.artefacts))}
    edf = edfio.Edf(
        signals,
        recording=edfio.Recording(equipment_code="hypnod_simulate"),
        data_record_duration=record_s,
        annotations=annotations,
    )
    with replacing(path) as draft:
        edf.write(draft)
    return summary


def annotate(subject: SimulatedSubject, name: str) -> list[edfio.EdfAnnotation]:
    """Return an annotation for each bout and artefact, with `name` in front unless empty."""
    prefix = f"{name} " if name else ""
    bouts = [
        edfio.EdfAnnotation(onset, length, prefix + stage)
        for onset, length, stage in find_bouts(subject.hypnogram)
    ]
    artefacts = [
        edfio.EdfAnnotation(a.onset_s, a.duration_s, f"{prefix}artefact {a.modality}")
        for a in subject.artefacts
    ]
    return bouts + artefacts


def _as_signal(x: NDArray[np.float32], label: str, sfreq: float) -> edfio.EdfSignal:
    limit = math.ceil(np.abs(x).max())  # all 16 bits for what is there
    return edfio.EdfSignal(
        x.astype(np.float64),
        sfreq,
        label=label,
        transducer_type="simulated",
        physical_dimension="uV",
        physical_range=(-limit, limit),
    )


def _report(
    out: Path, summary: Summary, stages: tuple[str, ...], duration_s: float, *, as_json: bool
) -> None:
    if as_json:
        text = json.dumps({"file": str(out), "duration_s": duration_s, "subjects": summary})
        typer.echo(text)
        return
    table = Table(*("subject", *(f"{stage} min" for stage in stages), "artefacts"), title=str(out))
    for name, row in summary.items():
        table.add_row(name, *(f"{row[s] / 60:.1f}" for s in stages), f"{row['artefacts']:.0f}")
    plain_console().print(table)
