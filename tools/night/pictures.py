"""The pictures of a night."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tools.night.counting import Course, hypnodensity
from tools.night.record import Record
from tools.night.report import NightSummary
from tools.shared.day import Day

if TYPE_CHECKING:
    from tools.view.overview import Told

_PAGE_COLUMNS = 600
"""Of a spectrogram on a page, where eight mice are to stay below a megabyte."""


def write_pictures(records: Sequence[Record], png: Path, journal: Path, day: Day) -> list[Path]:
    """Draw each subject's night, and return the files; of several they bear the subjects' names.

    Raises:
        RecordingError: a place cannot be written to.
    """
    # Here, not above: importing matplotlib takes most of a second.
    from tools.view.clock import Clock  # noqa: PLC0415
    from tools.view.night import Night, plot_night  # noqa: PLC0415

    written = []
    for record in records:
        n = len(record.grid)
        quality = {modality: [""] * n for modality in record.modalities}
        for i, message in record.grid_epochs():
            for modality, reason in message.validity.items():
                quality[modality][i] = reason
        start = float(record.times[0])
        facts = [f"from {day.local(start):%Y-%m-%d %H:%M:%S}", journal.name, "final estimates"]
        if record.n_live:
            facts[-1] += f", of {record.n_live} epochs live ones"
        several = len(records) > 1
        name = f"{png.stem}-{record.subject}{png.suffix}" if several else png.name
        picture = Night(
            title=record.subject,
            subtitle="  ·  ".join([*facts, f"model {record.epochs[-1].model}"]),
            stages=record.stages,
            hop_s=record.epoch_s,
            hypnogram=record.grid,
            probabilities=hypnodensity(record),
            quality=quality,
            overview=signals_of(record),
            clock=Clock(day=day, start=start, end=start + n * record.epoch_s),
        )
        written.append(png.with_name(name))
        plot_night(written[-1], picture)
    return written


def signals_of(record: Record, most: int = 1500) -> "Told | None":
    """Return what the journal says of a record's signals, None where that is nothing."""
    from tools.view.overview import Told  # noqa: PLC0415

    grid = np.full((len(record.grid), record.features.shape[1]), np.nan, np.float32)
    for row, (i, _) in zip(record.features, record.grid_epochs(), strict=True):
        grid[i] = row
    told = Told(grid, record.epoch_s, most)
    return told if told.has_eeg else None


def write_page(
    path: Path,
    records: Sequence[Record],
    courses: Mapping[str, Course],
    summary: NightSummary,
    day: Day,
) -> None:
    """Write the report of a night as one HTML file.

    Raises:
        RecordingError: the place cannot be written to.
    """
    from tools.view.clock import Clock  # noqa: PLC0415
    from tools.view.report import write_report  # noqa: PLC0415
    from tools.view.subject import Subject  # noqa: PLC0415

    subjects = [
        Subject(
            record=record,
            course=courses[record.subject],
            told=summary.subjects[record.subject],
            signals=signals_of(record, _PAGE_COLUMNS),
        )
        for record in records
    ]
    start, end = min(c.start for c in courses.values()), max(c.end for c in courses.values())
    write_report(path, subjects, summary, Clock(day=day, start=start, end=end))
