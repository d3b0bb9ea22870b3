"""What `hypnod explain` prints of an explanation."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from models.signal.quality import OK
from tools.explain.explanation import Explanation
from tools.view.live import STAGE_STYLES

_MOST = 5  # of a list
_LEAST = 0.005  # what is said to count is not 0.00
_T = TypeVar("_T")


def print_report(explanation: Explanation, console: Console) -> None:
    """Print the decision, and what weighs most in it."""
    console.print(_decided(explanation))
    for modality, why in explanation.validity.items():
        if why != OK:
            console.print(f"staged without {modality} ({why})")
    if (alone := explanation.alone) != explanation.stage:
        console.print(
            f"the net alone would say {alone}: with the stages around it, the grammar decided"
        )
    for table in _tables(explanation):
        if table.row_count:
            console.print(table)
    if any(len(parts) == 1 for parts in explanation.parts.values()):
        console.print(
            "the net reads an epoch as one piece: attention tells nothing within it, levels do"
        )


def _decided(e: Explanation) -> Table:
    title = f"{e.subject} at {e.when}: {e.stage} ({e.kind}, {e.pathway}, {e.model})"
    table = Table("", title=title)
    for stage in e.probabilities:
        table.add_column(stage, justify="right", style=STAGE_STYLES[stage])
    for name, values in (("probability", e.probabilities), ("the net's own", e.evidence)):
        table.add_row(name, *(f"{p:.3f}" for p in values.values()))
    return table


def _tables(e: Explanation) -> Iterable[Table]:
    table = Table("epoch", "stage", title=f"epochs of the window that count most for {e.stage}")
    table.add_column("support", justify="right")
    table.add_column("attention", justify="right")
    for slot in _most(e.window, [s.support for s in e.window]):
        away = f"{slot.onset_s - e.onset_s:+g} s" if slot is not e.own else "the epoch itself"
        table.add_row(away, slot.stage, f"{slot.support:+.2f}", f"{100 * slot.attention:.0f} %")
    yield table
    pieces = [(m, p) for m, parts in e.parts.items() for p in parts if len(parts) > 1]
    table = Table("", "within the epoch", title=f"spans of the epoch that count most for {e.stage}")
    table.add_column("support", justify="right")
    table.add_column("attention", justify="right")
    for modality, part in _most(pieces, [p.support for _, p in pieces]):
        row = (f"{part.support:+.2f}", f"{part.attention:.2f} ×")
        table.add_row(modality.upper(), part.name, *row)
    yield table
    table = Table("", "level", title=f"levels of the epoch that count most for {e.stage}")
    table.add_column("support", justify="right")
    table.add_column("SDs from usual", justify="right")
    for band in _most(e.bands, [b.support for b in e.bands]):
        table.add_row(
            band.modality.upper(), band.name, f"{band.support:+.2f}", f"{band.level:+.1f}"
        )
    yield table
    table = Table("all of", title="a whole modality")
    table.add_column("support", justify="right")
    for modality, support in e.modalities.items():
        table.add_row(modality.upper(), f"{support:+.2f}")
    yield table


def _most(items: Sequence[_T], support: Sequence[float]) -> list[_T]:
    """Return those that count most, for or against, that which counts most first."""
    order = sorted(range(len(items)), key=lambda i: -abs(support[i]))
    return [items[i] for i in order[:_MOST] if abs(support[i]) >= _LEAST]
