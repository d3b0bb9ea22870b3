"""Fit the semi-Markov statistics of mouse sleep that `models.simulate_hypnogram` draws from.

    python -m models.fit_hypnograms ../shared/data/mouse_hypnograms

Source: Mouse Sleep Staging Validation dataset, OpenNeuro ds006366 v1.0.1 (CC0),
doi:10.18112/openneuro.ds006366.v1.0.1: expert scores of 92 mice in 4 s epochs.
"""

import argparse
import csv
import itertools
import zipfile
from collections import defaultdict
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.errors import RecordingError
from models.simulate_hypnogram import STATISTICS_FILE, Statistics
from models.stages import MOUSE

SOURCE = "OpenNeuro ds006366 v1.0.1 (CC0), doi:10.18112/openneuro.ds006366.v1.0.1"
EPOCH_S = 4.0
MIN_EPOCHS = 1800  # 2 h; a shorter record truncates too many bouts at its ends
MIN_TRANSITION = 0.005  # rarer ones (Wake to REM) are scoring slips

_WAKE, _ARTEFACT = 1, 4
LEVELS = (
    *(0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7),
    *(0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.965, 0.98, 0.99, 0.995, 0.9975, 0.999, 0.9995, 1.0),
)

Bouts = dict[tuple[int, int], list[int]]


def read_records(folder: Path) -> dict[str, NDArray[np.uint8]]:
    """Return the codes of every record of 4 s epochs, by name.

    Raises:
        RecordingError: the folder does not hold the dataset.
    """
    try:
        with (folder / "epoch_seconds.csv").open(newline="") as file:
            epoch_s = {row["record"]: float(row["epoch_s"]) for row in csv.DictReader(file)}
        with np.load(folder / "mssv_stages.npz") as arrays:
            return {name: arrays[name] for name in arrays if epoch_s[name] == EPOCH_S}
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise RecordingError(
            f"expected epoch_seconds.csv and mssv_stages.npz in {folder}, found: {error}"
        ) from error


def fill_artefacts(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give each run of artefacts a stage: Wake where Wake is beside it, else the one before it.

    Mice move when they wake: dropping artefacts would cut the long Wake bouts to pieces.

    Args:
        codes: (n_epochs,), 1 Wake, 2 NREM, 3 REM, 4 artefact.

    Returns:
        (n_epochs,) without artefacts.
    """
    filled = codes.copy()
    for start, stop in _runs(codes):
        if codes[start] != _ARTEFACT:
            continue
        before, after = codes[max(start - 1, 0)], codes[min(stop, len(codes) - 1)]
        filled[start:stop] = _WAKE if _WAKE in (before, after) or start == 0 else before
    return filled


def _runs(codes: NDArray[np.uint8]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(codes)) + 1
    return list(zip([0, *edges.tolist()], [*edges.tolist(), len(codes)], strict=True))


def count_bouts(codes: NDArray[np.uint8], bouts: Bouts) -> None:
    """Add the length in epochs of each bout that neither end of the record cuts."""
    runs = _runs(codes)
    for (start, stop), (after, _) in itertools.pairwise(runs[1:]):
        bouts[int(codes[start]) - 1, int(codes[after]) - 1].append(stop - start)


def log_quantiles(n_epochs: list[int]) -> tuple[float, ...]:
    """Return the log bout length in s at each of `LEVELS`.

    A bout scored as k epochs is as likely to have lasted any time within half an epoch of
    k × 4 s: bouts of equal score are spread evenly over that span.
    """
    lengths, counts = np.unique(n_epochs, return_counts=True)
    spread = [
        EPOCH_S * (k - 0.5 + (np.arange(n) + 0.5) / n) for k, n in zip(lengths, counts, strict=True)
    ]
    quantiles = np.quantile(np.concatenate(spread), LEVELS)
    return tuple(np.round(np.log(quantiles), 4).tolist())


def fit(records: dict[str, NDArray[np.uint8]]) -> Statistics:
    """Fit transitions and bout lengths to all records that are long enough.

    Args:
        records: (n_epochs,) codes of 4 s epochs, by name.

    Raises:
        RecordingError: no record is long enough.
    """
    used = [fill_artefacts(r) for r in records.values() if len(r) >= MIN_EPOCHS]
    if not used:
        raise RecordingError(
            f"expected a record of at least {MIN_EPOCHS} epochs, found none among {len(records)}"
        )
    bouts: Bouts = defaultdict(list)
    for codes in used:
        count_bouts(codes, bouts)
    transitions: dict[str, dict[str, float]] = {}
    log_bout_s: dict[str, dict[str, tuple[float, ...]]] = {}
    for i, stage in enumerate(MOUSE):
        n_bouts = {j: len(bouts[i, j]) for j in range(len(MOUSE)) if bouts[i, j]}
        kept = {j: n for j, n in n_bouts.items() if n >= MIN_TRANSITION * sum(n_bouts.values())}
        transitions[stage] = {MOUSE[j]: round(n / sum(kept.values()), 5) for j, n in kept.items()}
        log_bout_s[stage] = {MOUSE[j]: log_quantiles(bouts[i, j]) for j in kept}
    epochs = np.concatenate(used)
    return Statistics(
        source=SOURCE,
        n_records=len(used),
        hours=round(len(epochs) * EPOCH_S / 3600, 1),
        time_fraction={s: round(float(np.mean(epochs == i + 1)), 4) for i, s in enumerate(MOUSE)},
        transitions=transitions,
        levels=LEVELS,
        log_bout_s=log_bout_s,
    )


def main() -> None:
    """Fit the dataset in the folder given and write the packaged statistics."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, help="holds mssv_stages.npz and epoch_seconds.csv")
    parser.add_argument("--out", type=Path, default=STATISTICS_FILE)
    arguments = parser.parse_args()
    statistics = fit(read_records(arguments.folder))
    text = msgspec.json.format(msgspec.json.encode(statistics), indent=1)
    arguments.out.write_bytes(text + b"\n")


if __name__ == "__main__":
    main()
