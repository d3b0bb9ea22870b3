"""The files of a night for other programs: epochs, annotations, and the tidy table of its hours."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from models.recordings.hypnogram import Hypnogram
from models.recordings.hypnograms.marks import STAGED_BY_COLUMN
from models.recordings.writers import write_edf, write_events, write_table
from tools.night.figures import Figures, HourFigures
from tools.night.record import Record, to_iso

BY = "hypnod run"
"""In every file: nobody takes its stages for an expert's."""

_TIDY = (
    *("subject", "start", "hour", "zeitgeber", "light", "stage", "seconds", "share", "bouts"),
    *("recorded_s", "epoch_s", "min_bout_s"),
)


def write_epochs(path: Path, records: Sequence[Record]) -> None:
    """Write a row for each epoch, its columns named like those of `hypnod score`.

    Raises:
        RecordingError: the place cannot be written to.
    """
    stages = list(dict.fromkeys(stage for record in records for stage in record.stages))
    modalities = list(dict.fromkeys(name for record in records for name in record.modalities))
    columns = ["subject", "kind", "hop", "onset", "duration", "stage"]
    columns += [f"p_{stage}" for stage in stages] + ["pathway", "slots_filled", "reason"]
    columns += [f"{modality}_quality" for modality in modalities] + [
        "utc",
        "session",
        STAGED_BY_COLUMN,
    ]
    rows = (row for record in records for row in _epochs(record, stages, modalities))
    write_table(path, columns, rows)


def write_annotations(path: Path, records: Sequence[Record]) -> None:
    """Write EDF+ annotations; it has no time zones: as every recorder does, it has local time.

    Raises:
        RecordingError: the place cannot be written to.
    """
    write_edf(path, _hypnograms(records), records[0].local_start.replace(tzinfo=None), BY)


def write_bids(path: Path, records: Sequence[Record]) -> None:
    """Write a BIDS events.tsv.

    Raises:
        RecordingError: the place cannot be written to.
    """
    write_events(path, _hypnograms(records), BY)


def write_tidy(path: Path, figures: Mapping[str, Figures]) -> None:
    """Write a row for each subject, hour and stage.

    Raises:
        RecordingError: the place cannot be written to.
    """
    rows = (
        row
        for subject, each in figures.items()
        for hour in each.hours
        for row in _tidy(subject, each, hour)
    )
    write_table(path, _TIDY, rows)


def in_light(share: float | None) -> str:
    """Say whether so much light is light or dark; nothing where it is not known."""
    if share is None:
        return ""
    return {0.0: "dark", 1.0: "light"}.get(round(share, 3), "both")


def _hypnograms(records: Sequence[Record]) -> dict[str, Hypnogram]:
    return {record.subject: record.hypnogram for record in records}


def _epochs(
    record: Record, stages: Sequence[str], modalities: Sequence[str]
) -> Iterator[list[object]]:
    spans = zip(record.times, record.onsets, record.durations, strict=True)
    for message, (time, onset, duration) in zip(record.epochs, spans, strict=True):
        yield [
            *(record.subject, message.kind, message.hop),
            *(f"{onset:.3f}", f"{duration:.3f}", message.stage),
            *(message.probabilities.get(stage, "") for stage in stages),
            *(message.pathway or "", message.slots_filled, message.reason or ""),
            *(message.validity.get(modality, "") for modality in modalities),
            *(to_iso(time), message.session, BY),
        ]


def _tidy(subject: str, figures: Figures, hour: HourFigures) -> Iterator[list[object]]:
    staged_s = sum(hour.seconds[stage] for stage in hour.bouts)
    for stage, seconds in hour.seconds.items():
        known = stage in hour.bouts and staged_s > 0
        yield [
            *(subject, hour.start, datetime.fromisoformat(hour.start).hour),
            *("" if hour.zeitgeber is None else hour.zeitgeber, in_light(hour.light)),
            *(stage, round(seconds, 3), round(seconds / staged_s, 6) if known else ""),
            *(hour.bouts.get(stage, ""), round(sum(hour.seconds.values()), 3)),
            *(figures.epoch_s, figures.min_bout_s),
        ]
