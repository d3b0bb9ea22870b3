"""The estimates of a recording as Parquet: a row for each subject, epoch and kind."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from daemon.stager import Estimate
from models.recordings.hypnogram import Hypnogram
from models.spec import ModelSpec
from tools.archive.errors import ArchiveError

_ROWS = 20_000
"""That are written at a time: what a day of eight mice has is not kept in memory."""
_KEY = b"hypnod"


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says of itself, beside its columns."""

    stages: tuple[str, ...]
    """In the order of the probabilities."""
    modalities: tuple[str, ...]
    hop_s: float
    """From one epoch's onset to the next, s."""
    by: str
    """Who staged it."""


class EstimatesWriter:
    """Writes estimates as they come.

    Args:
        path: the file, which is overwritten.
        recording: its name in the archive.
        subjects: the names in the file, by those of the estimates.
        spec: of the model.
        by: who stages.

    Raises:
        ArchiveError: the place cannot be written to.
    """

    def __init__(
        self, path: Path, recording: str, subjects: Mapping[str, str], spec: ModelSpec, by: str
    ) -> None:
        self._path, self._recording, self._subjects, self._spec = path, recording, subjects, spec
        self._waiting: list[Estimate] = []
        self.rows = 0
        written = Written(stages=spec.stages, modalities=spec.modalities, hop_s=spec.epoch_s, by=by)
        self._schema = _schema(spec).with_metadata({_KEY: msgspec.json.encode(written)})
        try:
            self._file = pq.ParquetWriter(path, self._schema, compression="zstd")
        except OSError as error:
            raise self._no_place(error) from error

    def add(self, estimates: Sequence[Estimate]) -> None:
        """Take some more; raises ArchiveError where they cannot be written."""
        self._waiting += estimates
        if len(self._waiting) >= _ROWS:
            self._write()

    def close(self) -> None:
        """Write what is still to be written; raises ArchiveError where that cannot be."""
        self._write()
        try:
            self._file.close()
        except OSError as error:
            raise self._no_place(error) from error

    def _write(self) -> None:
        columns = _columns(self._waiting, self._spec, self._subjects)
        columns["recording"] = [self._recording] * len(self._waiting)
        table = pa.Table.from_pydict(columns, self._schema)
        try:
            self._file.write_table(table)
        except OSError as error:
            raise self._no_place(error) from error
        self.rows += len(self._waiting)
        self._waiting.clear()

    def _no_place(self, error: OSError) -> ArchiveError:
        return ArchiveError(f"{self._path}: expected a place to write to, found: {error}")


def read_estimates(path: Path) -> tuple[Written, list[Estimate]]:
    """Return what a file of estimates says of itself, and the estimates as they were written."""
    table = pq.read_table(path)
    written = msgspec.json.decode(table.schema.metadata[_KEY], type=Written)
    stages, modalities = written.stages, written.modalities
    columns = {name: table.column(name).to_pylist() for name in _NAMED}
    known = [pathway is not None for pathway in columns["pathway"]]
    p, evidence = (_matrix(table, f"{what}_", stages) for what in ("p", "evidence"))
    quality = [table.column(f"{m}_quality").to_pylist() for m in modalities]
    estimates = [
        Estimate(
            **{name: column[i] for name, column in columns.items()},
            stream="recording",
            probabilities=p[i] if known[i] else None,
            evidence=evidence[i] if known[i] else None,
            validity=MappingProxyType(
                {m: q[i] for m, q in zip(modalities, quality, strict=True) if q[i] is not None}
            ),
            arrived=None,
        )
        for i in range(len(table))
    ]
    return written, estimates


def read_hypnograms(path: Path) -> dict[str, Hypnogram]:
    """Return the final stages of each subject in a file of estimates."""
    table = pq.read_table(
        path, columns=["subject", "onset", "stage"], filters=[("kind", "=", "final")]
    )
    hop_s = msgspec.json.decode(table.schema.metadata[_KEY], type=Written).hop_s
    subjects, stages = (np.array(table.column(n).to_pylist()) for n in ("subject", "stage"))
    onsets = table.column("onset").to_numpy()
    return {
        str(name): Hypnogram(
            onsets[mine], np.full(np.count_nonzero(mine), hop_s), tuple(stages[mine].tolist())
        )
        for name in np.unique(subjects)
        for mine in [subjects == name]
    }


_NAMED = {
    "subject": pa.dictionary(pa.int32(), pa.string()),
    "kind": pa.dictionary(pa.int32(), pa.string()),
    "hop": pa.int32(),
    "onset": pa.float64(),
    "stage": pa.dictionary(pa.int32(), pa.string()),
    "pathway": pa.dictionary(pa.int32(), pa.string()),
    "reason": pa.dictionary(pa.int32(), pa.string()),
    "slots_filled": pa.int32(),
    "drift": pa.float32(),
}
"""Columns that are fields of an estimate, with their types."""


def _schema(spec: ModelSpec) -> Any:
    words = pa.dictionary(pa.int32(), pa.string())
    columns = {"recording": words, **_NAMED}
    columns |= {f"{p}_{stage}": pa.float32() for p in ("p", "evidence") for stage in spec.stages}
    columns |= {f"{modality}_quality": words for modality in spec.modalities}
    return pa.schema(list(columns.items()))


def _columns(
    estimates: Sequence[Estimate], spec: ModelSpec, subjects: Mapping[str, str]
) -> dict[str, Any]:
    columns: dict[str, Any] = {
        name: [getattr(e, name) for e in estimates] for name in _NAMED if name != "subject"
    }
    columns["subject"] = [subjects[e.subject] for e in estimates]
    nothing = np.full(len(spec.stages), np.nan, np.float32)
    for what in ("probabilities", "evidence"):
        found = [getattr(e, what) for e in estimates]
        matrix = np.array([nothing if row is None else row for row in found], np.float32)
        matrix = matrix.reshape(-1, len(spec.stages))
        for stage, column in zip(spec.stages, matrix.T, strict=True):
            name = f"p_{stage}" if what == "probabilities" else f"evidence_{stage}"
            columns[name] = pa.array(column, mask=np.isnan(column))
    for m in spec.modalities:
        columns[f"{m}_quality"] = [e.validity.get(m) for e in estimates]
    return columns


def _matrix(table: Any, prefix: str, stages: Sequence[str]) -> NDArray[np.float32]:
    columns = [table.column(prefix + stage).to_numpy() for stage in stages]
    return np.stack(columns, axis=1).astype(np.float32)
