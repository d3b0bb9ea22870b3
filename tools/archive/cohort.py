"""The cohort of an archive: every subject of every recording, as a tidy table and at a glance."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from models.recordings.bouts import Bouts
from models.recordings.writers import write_table
from models.stages import ART, UNKNOWN
from tools.archive.folder import ArchiveFolder
from tools.archive.sidecar import Sidecar
from tools.score.drift import DriftSummary
from tools.view.live import STAGE_STYLES


class StageTime(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of one subject in one recording."""

    seconds: float
    share: float | None
    """Of the time that has a stage; null of ART and UNKNOWN."""
    bouts: int | None
    mean_bout_s: float | None
    """Null without any."""


class SubjectRow(msgspec.Struct, frozen=True, kw_only=True):
    """One subject in one recording."""

    recording: str
    subject: str
    start: str | None
    """On the recorder's clock, ISO 8601."""
    hours: float
    stages: dict[str, StageTime]
    transitions_per_hour: float | None
    wake_to_rem_per_hour: float | None
    drift: dict[str, float]
    """Median by modality: how unlike the training animals it looked; 1 is the limit."""
    contradictions: tuple[str, ...]
    remarks: tuple[str, ...]
    """What was guessed, what is not used, what the file lacks."""
    model: str
    hypnod: str


def read_cohort(folder: ArchiveFolder) -> list[SubjectRow]:
    """Return a row for each subject of each recording that is done.

    Raises:
        ArchiveError: this is no folder of an archive.
    """
    found = (folder.read(each.name) for each in folder.index().recordings)
    return [row for sidecar in found if sidecar is not None for row in rows_of(sidecar)]


def rows_of(sidecar: Sidecar) -> Iterator[SubjectRow]:
    """Yield a row for each subject of a recording; none where it is not done."""
    summary = sidecar.summary
    if summary is None:
        return
    for name, subject in summary.subjects.items():
        bouts = sidecar.bouts[name]
        yield SubjectRow(
            recording=sidecar.recording,
            subject=name,
            start=sidecar.start,
            hours=summary.duration_s / 3600,
            stages={s: _stage_time(s, subject.seconds, bouts) for s in subject.seconds},
            transitions_per_hour=bouts.transitions_per_hour,
            wake_to_rem_per_hour=bouts.wake_to_rem_per_hour,
            drift=_medians(subject.drift),
            contradictions=summary.contradictions,
            remarks=sidecar.remarks,
            model=summary.model,
            hypnod=sidecar.follows.hypnod,
        )


def _stage_time(stage: str, seconds: dict[str, float], bouts: Bouts) -> StageTime:
    staged = sum(s for name, s in seconds.items() if name not in (ART, UNKNOWN))
    is_stage = stage in bouts.n
    return StageTime(
        seconds=seconds[stage],
        share=seconds[stage] / staged if is_stage and staged else None,
        bouts=bouts.n.get(stage),
        mean_bout_s=bouts.mean_s.get(stage),
    )


def _medians(drift: dict[str, DriftSummary]) -> dict[str, float]:
    return {m: found.median for m, found in drift.items() if found.median is not None}


def write_tidy(path: Path, rows: Sequence[SubjectRow]) -> None:
    """Write a CSV or TSV with a row for each recording, subject and stage.

    Raises:
        RecordingError: the place cannot be written to.
    """
    modalities = sorted({modality for row in rows for modality in row.drift})
    columns = ["recording", "subject", "start", "hours", "stage", "seconds", "share", "bouts"]
    columns += ["mean_bout_s", "transitions_per_hour", "wake_to_rem_per_hour"]
    columns += [f"drift_{modality}" for modality in modalities]
    columns += ["contradictions", "remarks", "model", "hypnod"]
    write_table(path, columns, (line for row in rows for line in _lines(row, modalities)))


def _lines(row: SubjectRow, modalities: Sequence[str]) -> Iterator[list[object]]:
    for stage, time in row.stages.items():
        figures = [time.seconds, time.share, time.bouts, time.mean_bout_s]
        figures += [row.transitions_per_hour, row.wake_to_rem_per_hour]
        figures += [row.drift.get(modality) for modality in modalities]
        yield [
            *(row.recording, row.subject, row.start or "", f"{row.hours:.6g}", stage),
            *("" if value is None else f"{value:.6g}" for value in figures),
            *("; ".join(row.contradictions), "; ".join(row.remarks), row.model, row.hypnod),
        ]


def print_cohort(console: Console, rows: Sequence[SubjectRow]) -> None:
    """Print a line for each subject, its n recordings together, and two for them all."""
    by_subject: dict[str, list[SubjectRow]] = defaultdict(list)
    for row in rows:
        by_subject[row.subject].append(row)
    stages = list(dict.fromkeys(stage for row in rows for stage in row.stages))
    table = Table("subject", "n", "hours", box=None, pad_edge=False)
    for stage in stages:
        table.add_column(f"{stage} %", justify="right", style=STAGE_STYLES[stage], no_wrap=True)
    table.add_column("changes/h", justify="right")
    shares: list[list[float]] = []
    for subject, mine in sorted(by_subject.items()):
        seconds = [sum(r.stages[s].seconds for r in mine if s in r.stages) for s in stages]
        shares.append([100 * s / sum(seconds) if sum(seconds) else np.nan for s in seconds])
        rates = [r.transitions_per_hour for r in mine if r.transitions_per_hour is not None]
        table.add_row(
            *(subject, str(len(mine)), f"{sum(r.hours for r in mine):.1f}"),
            *(f"{share:.1f}" for share in shares[-1]),
            f"{np.mean(rates):.1f}" if rates else "–",
        )
    if len(shares) > 1:
        for name, figures in (
            ("mean of subjects", np.nanmean(shares, axis=0)),
            ("their SD", np.nanstd(shares, axis=0, ddof=1)),
        ):
            table.add_row(name, "", "", *(f"{figure:.1f}" for figure in figures), "")
    console.print(table)
    for line in dict.fromkeys(c for row in rows for c in row.contradictions):
        console.print(line)
