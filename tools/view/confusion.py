"""Which stage is taken for which, for a terminal."""

from collections.abc import Sequence

from rich.table import Table


def draw_confusion(
    stages: Sequence[str], confusion: Sequence[Sequence[int]], title: str = ""
) -> Table:
    """Return a table whose rows are the truth: the share of each found stage, and all epochs.

    Args:
        stages: the stage set.
        confusion: epochs by true stage (row) and by found stage (column).
        title: above it.
    """
    columns = ("truth", *(f"{stage} %" for stage in stages), "epochs")
    table = Table(*columns, title=title or None, title_justify="left", box=None, pad_edge=False)
    for stage, row in zip(stages, confusion, strict=True):
        percent = ("–" if not sum(row) else f"{100 * n / sum(row):.1f}" for n in row)
        table.add_row(stage, *percent, str(sum(row)))
    return table
