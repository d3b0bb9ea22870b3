"""Split subjects: some to learn from, some to decide when to stop, some to test on."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from models.errors import RecordingError

MOST_HELD_OUT = 20
"""Subjects, at most, that decide when to stop, and that are tested on: more tell little more."""


class Split(NamedTuple):
    """Names of different subjects."""

    training: tuple[str, ...]
    """To learn from."""
    validation: tuple[str, ...]
    """They decide when to stop, which weights are best, and the temperatures."""
    test: tuple[str, ...]
    """Looked at once, in the end."""


def split_subjects(names: Iterable[str], seed: int) -> Split:
    """Return a random split: a tenth for validation and a tenth for the test.

    Each is at least one subject and at most `MOST_HELD_OUT`.

    Args:
        names: of the subjects; one that has several recordings may come several times.
        seed: of the draw.

    Raises:
        RecordingError: there are fewer than three subjects.
    """
    order = _shuffled(names, 3, seed)
    n_held = _held_out(order)
    return Split(order[2 * n_held :], order[:n_held], order[n_held : 2 * n_held])


def leave_one_out(names: Iterable[str], seed: int) -> Iterator[Split]:
    """Yield a split for each subject that has it alone as test; validation is as above.

    Raises:
        RecordingError: there are fewer than three subjects.
    """
    order = _shuffled(names, 3, seed)
    n_held = _held_out(order)
    for i, name in enumerate(order):
        others = order[i + 1 :] + order[:i]
        yield Split(others[n_held:], others[:n_held], (name,))


def leave_one_dataset_out(names: Iterable[str], seed: int) -> Iterator[Split]:
    """Yield a split for each dataset that has all of its subjects as test.

    A tenth of the others' subjects, whatever dataset they are of, is for validation.

    Args:
        names: of the subjects, `dataset/subject`.
        seed: of the draw.

    Raises:
        RecordingError: there are fewer than two datasets, or too few subjects beside one.
    """
    order = _shuffled(names, 3, seed)
    datasets = sorted({dataset_of(name) for name in order})
    if len(datasets) < 2:
        raise RecordingError(
            "expected at least two datasets, to learn from some and be tested on another, found "
            f"{', '.join(datasets)}"
        )
    for dataset in datasets:
        others = tuple(name for name in order if dataset_of(name) != dataset)
        if len(others) < 2:
            raise RecordingError(
                f"expected at least two subjects beside those of {dataset}, to learn from one and "
                f"stop by the other, found {', '.join(others)}"
            )
        n_held = _held_out(others)
        test = tuple(name for name in order if dataset_of(name) == dataset)
        yield Split(others[n_held:], others[:n_held], test)


def dataset_of(name: str) -> str:
    """Return the dataset of a subject of several, `dataset/subject`."""
    return name.partition("/")[0]


def hold_out(names: Iterable[str], seed: int) -> Split:
    """Return a split without a test: what the net to be used is trained on.

    Raises:
        RecordingError: there are fewer than two subjects.
    """
    order = _shuffled(names, 2, seed)
    n_held = _held_out(order)
    return Split(order[n_held:], order[:n_held], ())


def check_enough(names: Iterable[str], least: int = 3) -> list[str]:
    """Return the different subjects, in order.

    Raises:
        RecordingError: they are fewer than `least`.
    """
    distinct = sorted(set(names))
    if len(distinct) < least:
        raise RecordingError(
            f"expected at least {least} subjects, to learn from some and be tested on others, "
            f"found {len(distinct)}: {', '.join(distinct) or 'none'}"
        )
    return distinct


def _held_out(order: Sequence[str]) -> int:
    return min(max(1, len(order) // 10), MOST_HELD_OUT)


def _shuffled(names: Iterable[str], least: int, seed: int) -> tuple[str, ...]:
    distinct = check_enough(names, least)
    return tuple(distinct[i] for i in np.random.default_rng(seed).permutation(len(distinct)))
