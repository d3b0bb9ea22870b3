"""A run over an archive: what is left to do goes to the workers, what comes back is counted."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from models.errors import ConfigError, RecordingError, SpecError, StreamError
from tools.archive.errors import ArchiveError
from tools.archive.folder import ArchiveFolder
from tools.archive.jobs import Job
from tools.archive.sidecar import Problem, Sidecar, now
from tools.archive.staging import stage_job
from tools.cluster.work import work

if TYPE_CHECKING:
    from distributed import Client

_REFUSALS = (ConfigError, RecordingError, SpecError, StreamError)
"""What says of a recording that it cannot be staged as it is."""


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `hypnod archive score --json` prints."""

    out: str
    recordings: int
    """That were found."""
    skipped: int
    """Done before and unchanged, or refused before."""
    done: int
    """In this run."""
    hours: float
    """Recorded in those, h: of a recording of several animals once."""
    animal_hours: float
    """Likewise, of each animal."""
    seconds: float
    """That the run took, s."""
    dashboard: str
    """Where the workers could be watched."""
    no_rule: tuple[str, ...]
    """Recordings that no entry of archive.toml is for."""
    problems: tuple[Problem, ...]
    """All recordings that are not done, those that were refused before too."""


class Outcome(msgspec.Struct, kw_only=True):
    """What came back so far."""

    done: int = 0
    hours: float = 0.0
    animal_hours: float = 0.0
    seconds: float = 0.0

    def add(self, sidecar: Sidecar) -> None:
        """Count a recording."""
        if sidecar.summary is not None:
            self.done += 1
            self.hours += sidecar.summary.duration_s / 3600
            n = len(sidecar.summary.subjects)
            self.animal_hours += n * sidecar.summary.duration_s / 3600


def run(folder: ArchiveFolder, jobs: Sequence[Job], client: "Client", console: Console) -> Outcome:
    """Do the jobs behind a progress bar; a recording that cannot be done is one of many.

    Raises:
        ArchiveError: the archive cannot be written to, for one recording as for all.
        ClusterError: the scheduler is lost.
    """
    named, outcome, began = {job.name: job for job in jobs}, Outcome(), time.perf_counter()
    with _progress(console) as progress:
        n_bytes = sum(job.source.size for job in jobs)
        task = progress.add_task("staging", total=n_bytes, files=f"0/{len(jobs)}", rate="")
        for n, (name, result) in enumerate(work(client, stage_job, named), start=1):
            outcome.add(keep(folder, named[name], result))
            outcome.seconds = time.perf_counter() - began
            progress.update(
                task,
                advance=named[name].source.size,
                files=f"{n}/{len(jobs)}",
                rate=f"{outcome.hours / outcome.seconds:.2f} recorded h/s",
            )
    return outcome


def keep(folder: ArchiveFolder, job: Job, result: Sidecar | Exception) -> Sidecar:
    """Return what became of a job, and keep it where the worker could not."""
    if isinstance(result, Sidecar):
        return result
    if isinstance(result, ArchiveError):
        raise result
    refused = isinstance(result, _REFUSALS)
    sentence = str(result)
    if refused and " --" in sentence and "archive.toml" not in sentence:
        sentence = f"{sentence}; in an archive by its entry in archive.toml"
    if not sentence or not hasattr(result, "exit_code"):
        sentence = f"expected it to be staged, found {type(result).__name__}: {result}"
    sidecar = Sidecar(
        recording=job.name,
        subject=job.subject,
        state="refused" if refused else "failed",
        sentence=" ".join(sentence.split()),  # Dask's are paragraphs
        source=job.source,
        follows=job.follows,
        scored=now(),
    )
    folder.write(sidecar)
    return sidecar


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[files]} files, {task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
