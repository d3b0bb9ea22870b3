"""How a public collection of PSGs lies on the disk, and which of its channels are staged."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from models.errors import RecordingError
from models.recordings.hypnograms.interpret import Legend


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A collection, by the names of its files; patterns hold for paths below its folder."""

    name: str
    """What it is called."""
    recording: re.Pattern[str]
    """A recording; its groups are `key`, which its hypnogram has as well, and `subject`."""
    hypnograms: Sequence[re.Pattern[str]]
    """A hypnogram, with its `key`; where a recording has several kinds the first one is read."""
    example: str
    """Recording and hypnogram, for people."""
    preferred: Mapping[str, Sequence[str]]
    """Derivations that are staged, by modality, the first that is there."""
    legend: Legend = field(default_factory=Legend)
    """What its hypnograms do not say themselves."""
    wake_s: float | None = None
    """So much of the wakefulness before and after sleep is kept, s; None: all."""

    def pair(self, folder: Path, files: Iterable[Path]) -> dict[Path, tuple[str, Path | None]]:
        """Return subject and hypnogram (None: it has none) of each recording among files.

        Raises:
            RecordingError: a recording has two hypnograms of one kind.
        """
        paths = {path.relative_to(folder).as_posix(): path for path in files}
        scored: dict[str, Path] = {}
        for pattern in self.hypnograms:
            of_kind: dict[str, Path] = {}
            for name, path in paths.items():
                if (match := pattern.fullmatch(name)) is None:
                    continue
                if (other := of_kind.setdefault(match["key"], path)) != path:
                    raise RecordingError(
                        f"{path}: expected one hypnogram of {match['key']}, found {other} as well"
                    )
            scored = of_kind | scored
        return {
            path: (match["subject"], scored.get(match["key"]))
            for name, path in paths.items()
            if (match := self.recording.fullmatch(name)) is not None
        }
