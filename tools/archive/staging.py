"""What a worker does with one recording of an archive: stage it as live, and keep what came out."""

import socket
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.config import StagingConfig
from daemon.stager import Estimate
from engines.ahead import AheadEngine
from engines.base import Engine
from engines.bundle import Bundle, open_bundle
from engines.errors import BundleError
from engines.select import open_engine
from models.errors import RecordingError
from models.recordings.bouts import Bouts, bouts_of
from models.recordings.channels import Chosen
from models.recordings.find import hash_file
from models.recordings.writers import replacing
from models.species import contradict
from models.stages import to_indices
from tools.archive.errors import ArchiveError
from tools.archive.estimates import EstimatesWriter
from tools.archive.folder import ArchiveFolder
from tools.archive.jobs import Job, is_settled
from tools.archive.rules import settle
from tools.archive.sidecar import Estimates, Sidecar, Source, make_folder, now, source_of
from tools.cluster.errors import ClusterError
from tools.score.drift import DriftLog, doubts, summarise
from tools.score.offline import stage_recording
from tools.score.scored import by_bundle, refuse
from tools.score.summary import SubjectCounts, Summary

_ENGINE = "onnxruntime"
_PER_CALL = 4
"""Epochs in one call of the network; with more it is no faster (`make archives-bench`)."""
_ANYWAY = "anyway = true of its entry in archive.toml"
_OPEN_BUNDLES, _OPEN_ENGINES = 8, 2
"""That a worker keeps for the next recording: opening one takes as long as staging minutes does."""


def stage_job(job: Job) -> Sidecar:
    """Stage a recording and write its estimates, then its sidecar.

    What another worker, or this one, has done before and nobody has heard of is not done again.

    Raises:
        ArchiveError: the archive cannot be written to.
        ClusterError: another version of hypnod is here than where the run began.
        HypnodError: the recording cannot be staged.
        OSError: it cannot be read.
    """
    if (here := metadata.version("hypnod")) != job.follows.hypnod:
        raise ClusterError(
            f"expected hypnod {job.follows.hypnod} as on the machine where the run began, found "
            f"{here} on {socket.gethostname()}: install the same there and here"
        )
    folder = ArchiveFolder(job.out)
    before = folder.read(job.name)
    if before is not None and is_settled(job, before):
        return before
    path, began = Path(job.source.path), time.perf_counter()
    source = msgspec.structs.replace(job.source, sha256=hash_file(path))
    if before is not None and before.source.sha256 == source.sha256:
        touched = msgspec.structs.replace(before, source=source)
        if is_settled(job, touched):  # only its time has changed
            folder.write(touched)
            return touched
    sidecar = _stage(job, path, source, folder)
    _check_same(path, source)
    sidecar = msgspec.structs.replace(sidecar, seconds=round(time.perf_counter() - began, 3))
    folder.write(sidecar)
    return sidecar


def _stage(job: Job, path: Path, source: Source, folder: ArchiveFolder) -> Sidecar:
    """Stage a recording, write its estimates, and return what is to be kept beside them."""
    bundle, rule = _open(*_which(job)), job.rule
    night = _Night(job, settle(path, rule, bundle.spec), bundle)
    refuse(path, night.contradictions, anyway=rule.anyway, how=_ANYWAY)  # before hours of staging
    place = folder.estimates_path(job.name)
    make_folder(place.parent)
    with replacing(place, ArchiveError) as draft:
        writer = EstimatesWriter(draft, job.name, night.called, bundle.spec, night.by_whom)
        try:
            for estimates in night.stage():
                writer.add(estimates)
        except OSError as error:
            raise RecordingError(f"{path}: expected a readable file, found: {error}") from error
        refuse(path, night.contradictions, anyway=rule.anyway, how=_ANYWAY)
        writer.close()
        written = Estimates(sha256=hash_file(draft), size=draft.stat().st_size, rows=writer.rows)
    return Sidecar(
        recording=job.name,
        subject=job.subject,
        state="done",
        source=source,
        follows=job.follows,
        estimates=written,
        summary=night.summarise(),
        bouts=night.bouts(),
        remarks=night.remarks,
        start=night.start,
        host=socket.gethostname(),
        scored=now(),
    )


class _Night:
    """Stages a recording, and counts what comes out without keeping it.

    Args:
        job: the recording.
        chosen: opened, with its channels.
        bundle: what stages it.
    """

    def __init__(self, job: Job, chosen: Chosen, bundle: Bundle) -> None:
        self._job, self._chosen, self._bundle = job, chosen, bundle
        spec, stream = bundle.spec, chosen.stream
        names = [s.name for s in stream.subjects]
        self.called = {n: f"{job.subject}/{n}" if len(names) > 1 else job.subject for n in names}
        """The subjects' names in the archive, by those in the recording."""
        self._by = by_bundle(bundle)
        self._drift = DriftLog(names, spec.modalities, spec.epoch_s)
        self._counts = {s.name: SubjectCounts(s.channels) for s in stream.subjects}
        self._codes: dict[str, list[NDArray[np.int8]]] = {name: [] for name in names}
        self._engine = ""

    @property
    def by_whom(self) -> str:
        """Who stages it, in words."""
        return f"hypnod: {self._by.name} {self._by.hash[:12]}"

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was guessed, what is not used, what the file lacks."""
        return (*self._chosen.guess, *self._chosen.left_out)

    @property
    def start(self) -> str | None:
        """When the first sample was taken, ISO 8601."""
        start = self._chosen.recording.start
        return None if start is None else start.isoformat()

    @property
    def contradictions(self) -> list[str]:
        """What speaks against its being of such animals as the bundle is for, so far."""
        recording = self._chosen.recording
        by_label = contradict((*recording.ch_names, *recording.skipped), self._bundle.spec)
        return [*filter(None, [by_label]), *doubts(summarise(self._drift.seen))]

    def stage(self) -> Iterator[list[Estimate]]:
        """Yield the estimates as they come.

        Raises:
            HypnodError: the recording cannot be staged, or has no whole epoch.
        """
        recording, manifest = self._chosen.recording, self._bundle.manifest
        engine = _open_engine(*_which(self._job), len(self.called))
        self._engine = engine.description
        for row in range(engine.n_rows):
            engine.clear_context(row)
        for _, estimates in stage_recording(
            recording,
            self._chosen.stream,
            engine,
            reference=manifest.reference,
            grammar=manifest.grammar,
            drift=self._drift,
        ):
            self._count([e for e in estimates if e.kind == "final"])
            yield estimates
        if not next(iter(self._counts.values())).epochs:
            raise RecordingError(
                f"{recording.path}: expected at least one epoch of "
                f"{manifest.spec.epoch_s:g} s, found {recording.duration:g} s"
            )

    def _count(self, finals: Sequence[Estimate]) -> None:
        stages = self._bundle.spec.stages
        for name, counts in self._counts.items():
            mine = [e for e in finals if e.subject == name]
            for estimate in mine:
                counts.add(estimate)
            self._codes[name].append(to_indices((e.stage for e in mine), stages))

    def bouts(self) -> dict[str, Bouts]:
        """Return how each subject's stages follow each other."""
        spec = self._bundle.spec
        return {
            self.called[name]: bouts_of(np.concatenate(codes), spec.epoch_s, spec.stages)
            for name, codes in self._codes.items()
        }

    def summarise(self) -> Summary:
        """Return what `hypnod score` would say of it."""
        spec, recording = self._bundle.spec, self._chosen.recording
        drifts = summarise(self._drift.seen)
        return Summary(
            file=str(recording.path),
            bundle=self._by.name,
            model=self._by.hash[:12],
            engine=self._engine,
            kind=self._by.kinds["final"],
            epoch_s=spec.epoch_s,
            hop_s=spec.epoch_s,
            duration_s=recording.duration,
            skipped=dict(self._chosen.unused),
            flaws=recording.flaws,
            contradictions=tuple(self.contradictions),
            subjects={
                self.called[name]: counts.summarise(spec.stages, spec.epoch_s, dict(drifts[name]))
                for name, counts in self._counts.items()
            },
        )


def _which(job: Job) -> tuple[Path | None, str | None, str]:
    """Return the folder of a job's bundle, or the species that one is shipped for, and its hash."""
    return job.bundle, job.rule.species if job.bundle is None else None, job.follows.bundle


@lru_cache(_OPEN_BUNDLES)
def _open(path: Path | None, species: str | None, expected: str) -> Bundle:
    """Open a bundle; raises BundleError where it is another one here than where the run began."""
    bundle = open_bundle(path, species)
    if bundle.hash != expected:
        raise BundleError(
            f"{bundle.path}: expected the bundle {expected[:12]} as on the machine where the run "
            f"began, found {bundle.hash[:12]}: install the same there and here"
        )
    return bundle


@lru_cache(_OPEN_ENGINES)
def _open_engine(path: Path | None, species: str | None, expected: str, n_rows: int) -> Engine:
    lanes, n_read = max(1, _PER_CALL // n_rows), StagingConfig().final_lag + 1
    bundle = _open(path, species, expected)
    engine = open_engine(bundle, _ENGINE, n_rows=lanes * n_rows, n_read=n_read)
    return engine if lanes == 1 else AheadEngine(engine, lanes)


def _check_same(path: Path, source: Source) -> None:
    """Raise RecordingError where a recording was written to while it was staged."""
    if not source_of(path).is_same(source):
        raise RecordingError(
            f"{path}: expected a finished recording, found that it was written to while it was "
            "staged"
        )
