"""The public collections whose layout is known, and which of them a folder is."""

from pathlib import Path
from typing import NamedTuple

from models.errors import RecordingError
from models.recordings.psg import hmc, isruc, p2018, shhs, sleep_edfx
from models.recordings.psg.layout import Layout

LAYOUTS = tuple(each.LAYOUT for each in (sleep_edfx, hmc, isruc, shhs, p2018))


class Collection(NamedTuple):
    """A folder in a layout that is known."""

    layout: Layout
    recordings: dict[Path, tuple[str, Path | None]]
    """Subject and hypnogram of each recording; None: nobody scored it."""


def find_collection(folder: Path) -> Collection | None:
    """Return what a folder is by the names in it; None: no collection that is known.

    Raises:
        RecordingError: it is several, or a recording has two hypnograms.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    files = [path for path in files if not _is_hidden(path.relative_to(folder))]
    pairs = ((layout, layout.pair(folder, files)) for layout in LAYOUTS)
    found = [
        Collection(layout, recordings)
        for layout, recordings in pairs
        if any(hypnogram is not None for _, hypnogram in recordings.values())
    ]
    if len(found) > 1:
        raise RecordingError(
            f"{folder}: expected one collection, found files of "
            f"{' and '.join(each.layout.name for each in found)}: give the folder of each"
        )
    return found[0] if found else None


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
