"""Fit the statistics of mouse sleep that `models.simulator.mouse.hypnogram` draws from.

    python -m models.fit.hypnograms.statistics ../shared/data/mouse_hypnograms
    python -m models.fit.hypnograms.statistics ../shared/data/mouse_hypnograms --report docs

Fits 70 of the dataset's 92 mice; `--report` measures simulated mice against the other 22.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.errors import RecordingError
from models.fit.hypnograms.balance import balance, cut_all
from models.fit.hypnograms.distances import Comparison, measure_distances
from models.fit.hypnograms.figure import draw_figure
from models.fit.hypnograms.scored_bouts import N_KINDS, N_PARTS, Bouts, is_possible
from models.fit.hypnograms.scored_mice import (
    EPOCH_S,
    MIN_HOURS_OF_COSINE,
    SOURCE,
    WAKE,
    MouseRecord,
    hours_of_day,
    read_labs,
    read_records,
    start_hour,
)
from models.fit.hypnograms.splits import split_subjects
from models.fit.hypnograms.variation import fit_variation
from models.fit.tables import write_table
from models.simulator.mouse.hypnogram import (
    KINDS,
    MEMORY_HOURS,
    STATISTICS_FILE,
    Statistics,
    mouse_statistics,
)
from models.stages import MOUSE

LEVELS = (0.0, 0.01, 0.03, *np.arange(0.06, 0.95, 0.04).round(2).tolist(), 0.97, 0.99, 1.0)

N_ROUNDS = 8

_PRIOR = 4.0  # bouts' worth of belief in the coarser estimate


def fit(records: Sequence[MouseRecord], n_rounds: int = N_ROUNDS) -> Statistics:
    """Fit transitions, bout lengths, their day and the variation between mice.

    Args:
        records: of the mice to fit.
        n_rounds: of balancing, see `models.fit.hypnograms.balance`.

    Raises:
        RecordingError: no record is long enough to show a day.
    """
    wake_by_hour = fit_day(records)
    starts = [start_hour(record.codes, wake_by_hour) for record in records]
    bouts = cut_all(records, starts, wake_by_hour)
    transitions = fit_transitions(bouts)
    log_epochs = fit_lengths(bouts)
    wake_lately = fit_wake_lately(bouts)
    variation = fit_variation(bouts, transitions, np.array(LEVELS), log_epochs, wake_lately)
    codes = np.concatenate([record.codes for record in records])
    statistics = Statistics(
        source=SOURCE,
        n_mice=len({record.mouse for record in records}),
        n_records=len(records),
        hours=round(len(codes) * EPOCH_S / 3600, 1),
        epoch_s=EPOCH_S,
        time_fraction={s: round(float(np.mean(codes == i + 1)), 4) for i, s in enumerate(MOUSE)},
        wake_by_hour=wake_by_hour,
        occupancy=_name_pairs(fit_occupancy(bouts)),
        transitions=_name_transitions(transitions),
        levels=LEVELS,
        log_epochs={
            kind.name: tuple(_rounded(quantiles) for quantiles in log_epochs[:, k])
            for k, kind in enumerate(KINDS)
        },
        memory_hours=MEMORY_HOURS,
        wake_lately=_rounded(wake_lately),
        pressure=_rounded(variation.pressure),
        mouse_factors=tuple(map(_rounded, variation.mouse_factors)),
        centre=(0.0,) * (2 * N_KINDS),
        spread=(1.0,) * N_KINDS,
    )
    return balance(statistics, records, starts, bouts, n_rounds)


def fit_day(records: Sequence[MouseRecord]) -> tuple[float, ...]:
    """Return the fraction of Wake in each hour of the day, mean of the records of 20 h or more.

    Raises:
        RecordingError: there is none.
    """
    means = []
    for record in records:
        if record.hours >= MIN_HOURS_OF_COSINE:
            hours = hours_of_day(record.codes, start_hour(record.codes, None)).astype(int)
            n_awake = np.bincount(hours, record.codes == WAKE, minlength=24)
            means.append(n_awake / np.maximum(1, np.bincount(hours, minlength=24)))
    if not means:
        raise RecordingError(
            f"expected a record of at least {MIN_HOURS_OF_COSINE:g} h, "
            f"found none among {len(records)}"
        )
    return _rounded(np.mean(means, axis=0))


def fit_transitions(bouts: Sequence[Bouts]) -> NDArray[np.float64]:
    """Return the chance of each next kind, (parts, kinds before, kinds, next kinds).

    What is rare in a part of the day leans on the whole day, and that on the kind alone.
    """
    counts = np.zeros((N_PARTS, N_KINDS, N_KINDS, N_KINDS))
    for record in bouts:
        np.add.at(counts, record.transitions()[:4], 1)
    possible = is_possible(np.arange(N_KINDS)[:, None], np.arange(N_KINDS))
    by_kind = _lean(counts.sum(axis=(0, 1)), possible / possible.sum(axis=1, keepdims=True))
    by_pair = _lean(counts.sum(axis=0), by_kind[None])
    return _lean(counts, by_pair[None]) * possible[None, :, :, None]


def fit_wake_lately(bouts: Sequence[Bouts]) -> NDArray[np.float64]:
    """Return the mean over bouts of the share of Wake lately, (parts,)."""
    parts, awake = (
        np.concatenate([getattr(record, name) for record in bouts]) for name in ("parts", "awake")
    )
    return np.asarray(np.bincount(parts, awake) / np.bincount(parts))


def _lean(counts: NDArray[np.float64], prior: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((counts + _PRIOR * prior) / (counts.sum(axis=-1, keepdims=True) + _PRIOR))


def fit_occupancy(bouts: Sequence[Bouts]) -> NDArray[np.float64]:
    """Return the fraction of the time in a kind after a kind, (parts, kinds before, kinds)."""
    epochs = np.zeros((N_PARTS, N_KINDS, N_KINDS))
    for record in bouts:
        before, kind = record.kinds[:-1], record.kinds[1:]
        kept = is_possible(before, kind)
        where = tuple(x[kept] for x in (record.parts[1:], before, kind))
        np.add.at(epochs, where, record.epochs[1:][kept])
    return np.asarray(epochs / epochs.sum(axis=(1, 2), keepdims=True))


def fit_lengths(bouts: Sequence[Bouts]) -> NDArray[np.float64]:
    """Return the log of the length in epochs at each of `LEVELS`, (parts, kinds, levels).

    Bouts scored as k epochs are spread evenly from k - 0.5 to k + 0.5.
    """
    kinds, epochs, parts = (
        np.concatenate([getattr(record, name) for record in bouts])
        for name in ("kinds", "epochs", "parts")
    )
    quantiles = np.empty((N_PARTS, N_KINDS, len(LEVELS)))
    for part in range(N_PARTS):
        for kind in range(N_KINDS):
            found = epochs[(parts == part) & (kinds == kind)]
            lengths, counts = np.unique(found, return_counts=True)
            spread = [
                k - 0.5 + (np.arange(n) + 0.5) / n for k, n in zip(lengths, counts, strict=True)
            ]
            quantiles[part, kind] = np.log(np.quantile(np.concatenate(spread), LEVELS))
    return quantiles


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(np.round(values, 4).tolist())


def _name_pairs(occupancy: NDArray[np.float64]) -> dict[str, dict[str, tuple[float, ...]]]:
    pairs: dict[str, dict[str, tuple[float, ...]]] = defaultdict(dict)
    for before, kind in np.argwhere(occupancy.any(axis=0)).tolist():
        pairs[KINDS[before].name][KINDS[kind].name] = _rounded(occupancy[:, before, kind])
    return dict(pairs)


def _name_transitions(
    transitions: NDArray[np.float64],
) -> dict[str, dict[str, dict[str, tuple[float, ...]]]]:
    return {KINDS[before].name: _name_pairs(transitions[:, before]) for before in range(N_KINDS)}


def main() -> None:
    """Fit 70 of the dataset's 92 mice, or measure simulated mice against the other 22."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, help="holds mssv_stages.npz, participants.tsv, …")
    parser.add_argument("--out", type=Path, default=STATISTICS_FILE, help="the fit's file")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="do not fit: write simulator-hypnograms.json and .png, of the packaged fit, to DIR",
    )
    arguments = parser.parse_args()
    records, labs = read_records(arguments.folder), read_labs(arguments.folder)
    if arguments.report:
        write_report(records, labs, arguments.report)
        return
    fitted, _ = split_subjects(labs)
    statistics = fit([record for record in records if record.mouse in fitted])
    write_table(arguments.out, statistics)


def write_report(records: Sequence[MouseRecord], labs: dict[str, str], folder: Path) -> None:
    """Write the comparison of simulated and real mice as JSON and PNG, and print its table."""
    statistics = mouse_statistics()
    comparison = measure_distances(records, labs, statistics)
    text = msgspec.json.format(msgspec.json.encode(comparison), indent=1)
    (folder / "simulator-hypnograms.json").write_bytes(text + b"\n")
    draw_figure(comparison, records, labs, statistics, folder / "simulator-hypnograms.png")
    print("\n".join(format_tables(comparison)))  # noqa: T201 - the command's answer


def format_tables(comparison: Comparison) -> list[str]:
    """Return the lines of two Markdown tables: the distances, and what lies behind them."""
    lines = ["| distance | simulated | fitted | random | as far |", "|---|---|---|---|---|"]
    for name, distance in comparison.distances.items():
        simulated, real = (
            f"{found.median:.3f} ({found.low:.3f} to {found.high:.3f})"
            for found in (distance.simulated, distance.random)
        )
        share = f"{distance.share_farther:.0%}"
        lines.append(f"| {name} | {simulated} | {distance.fitted:.3f} | {real} | {share} |")
    lines += ["", "| | simulated, mean | fitted | left out |", "|---|---|---|---|"]
    for name, values in comparison.values.items():
        lines.append(f"| {name} | {' | '.join(f'{value:.3f}' for value in values.values())} |")
    return lines


if __name__ == "__main__":
    main()
