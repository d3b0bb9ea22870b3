"""The pictures of a night."""

from collections.abc import Sequence
from pathlib import Path

from tools.night.counting import hypnodensity
from tools.night.record import Record


def write_pictures(records: Sequence[Record], png: Path, journal: Path) -> list[Path]:
    """Draw each subject's night, and return the files; of several they bear the subjects' names.

    Raises:
        RecordingError: a place cannot be written to.
    """
    # Here, not above: importing matplotlib takes most of a second.
    from tools.view.night import Night, plot_night  # noqa: PLC0415

    written = []
    for record in records:
        n = len(record.grid)
        quality = {modality: [""] * n for modality in record.modalities}
        for i, message in record.grid_epochs():
            for modality, reason in message.validity.items():
                quality[modality][i] = reason
        facts = [f"from {record.local_start:%Y-%m-%d %H:%M:%S}", "final estimates"]
        if record.n_live:
            facts[-1] += f", of {record.n_live} epochs live ones"
        several = len(records) > 1
        name = f"{png.stem}-{record.subject}{png.suffix}" if several else png.name
        picture = Night(
            title=f"{record.subject} · {journal.name}",
            subtitle="  ·  ".join([*facts, f"model {record.epochs[-1].model}"]),
            stages=record.stages,
            hop_s=record.hop_s,
            hypnogram=record.grid,
            probabilities=hypnodensity(record),
            quality=quality,
        )
        written.append(png.with_name(name))
        plot_night(written[-1], picture)
    return written
