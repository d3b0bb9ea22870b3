"""The page of a cohort: what it shows of an archive, gathered recording by recording."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import track

from daemon.config import DayConfig
from tools.archive.cohort import rows_of
from tools.archive.errors import ArchiveError
from tools.archive.estimates import read_hypnograms
from tools.archive.folder import ArchiveFolder
from tools.archive.sidecar import Sidecar
from tools.archive.status import read_status
from tools.shared.day import Day
from tools.view.charts import runs_of
from tools.view.clock import Clock
from tools.view.cohort import CohortNight, write_cohort

_SPANS = 300
"""That a recording is shown in: with a thousand of them more would be too much for a browser."""
_DAY = Day(DayConfig(zone="UTC"))
"""Recorders say no zone, so what their clock showed is shown again."""


def write_page(path: Path, folder: ArchiveFolder, console: Console) -> None:
    """Write the cohort of an archive as one HTML file.

    Args:
        path: the file.
        folder: the archive.
        console: for the progress bar.

    Raises:
        ArchiveError: this is no folder of an archive.
        RecordingError: the place cannot be written to.
    """
    nights: list[CohortNight] = []
    unread: list[str] = []
    names = [each.name for each in folder.index().recordings]
    for name in track(names, "reading", console=console, transient=True):
        sidecar = folder.read(name)
        if sidecar is None or sidecar.summary is None:
            continue
        try:
            nights += _nights(folder, sidecar)
        except (ArchiveError, OSError) as error:
            unread.append(str(error))
    write_cohort(path, nights, read_status(folder), unread)


def _nights(folder: ArchiveFolder, sidecar: Sidecar) -> Iterator[CohortNight]:
    summary = sidecar.summary
    if summary is None:
        return
    hypnograms = read_hypnograms(folder.vouched_estimates(sidecar))
    start = 0.0
    if sidecar.start is not None:
        start = datetime.fromisoformat(sidecar.start).replace(tzinfo=UTC).timestamp()
    for row in rows_of(sidecar):
        told, hypnogram = summary.subjects[row.subject], hypnograms[row.subject]
        n = max(1, round(hypnogram.end / summary.hop_s))
        stages = hypnogram.to_epochs(summary.hop_s, n)
        yield CohortNight(
            row=row,
            by=f"{summary.bundle} {summary.model}",
            hop_s=summary.hop_s,
            missing_s={why: k * summary.hop_s for why, k in told.unscored.items()},
            drift=told.drift,
            flaws=summary.flaws,
            runs=runs_of(stages, start, summary.hop_s, _SPANS),
            clock=Clock(day=_DAY, start=start, end=start + n * summary.hop_s),
        )
