"""Where the channels of the next subjects are, by the numbers of those of the first."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import typer

from models.signal.montage import parts_of


def check_step(first: Mapping[str, str], known: Sequence[str]) -> None:
    """Raise BadParameter where it is not clear which channels the second subject has.

    After CH1 and CH9 come CH10 and CH18, or CH2 and CH10 where all EEGs come first.
    """
    labels = [part for label in first.values() for part in parts_of(label, known)]
    split = [_split(label) for label in labels]
    if len({(before, after) for before, _, after in split}) != 1 or not split[0][1]:
        return
    numbers = {int(digits) for _, digits, _ in split}
    widest = max(numbers) - min(numbers) + 1
    steps = [s for s in range(1, widest + 1) if not numbers & {n + s for n in numbers}]
    second = {}
    for step in (steps[0], widest):
        for other in islice(count_up(first, known, endless=False, step=step), 1, 2):
            second[step] = " and ".join(other.values())
    if steps[0] < widest and second:
        ways = ", ".join(f"--step {step} for {channels}" for step, channels in second.items())
        raise typer.BadParameter(
            f"expected how to go on from {' and '.join(first.values())} to the next subject; give "
            f"{ways}, or --subjects 1"
        )


def count_up(
    first: Mapping[str, str], known: Sequence[str], *, endless: bool, step: int | None = None
) -> Iterator[dict[str, str]]:
    """Yield each subject's channels.

    Args:
        first: those of the first subject, by modality.
        known: the labels there are.
        endless: go on beyond the labels that there are.
        step: by how much the numbers grow; default: until the next ones are free.
    """
    parts = {modality: parts_of(label, known) or (label,) for modality, label in first.items()}
    split = {part: _split(part) for several in parts.values() for part in several}
    numbers: dict[tuple[str, str], list[int]] = {}
    for before, digits, after in split.values():
        numbers.setdefault((before, after), []).append(int(digits or 0))
    steps = {stem: step or max(found) - min(found) + 1 for stem, found in numbers.items()}
    yield dict(first)
    number = 1
    while all(digits for _, digits, _ in split.values()):
        labels = {
            part: f"{before}{int(digits) + number * steps[before, after]:0{len(digits)}}{after}"
            for part, (before, digits, after) in split.items()
        }
        if not endless and not set(labels.values()) <= set(known):
            return
        yield {m: "-".join(labels[part] for part in several) for m, several in parts.items()}
        number += 1


def _split(label: str) -> tuple[str, str, str]:
    """Return what is before, in and after the last number of a label; all empty without one."""
    found = re.fullmatch(r"(.*?)(\d+)(\D*)", label)
    return (found[1], found[2], found[3]) if found else ("", "", "")
