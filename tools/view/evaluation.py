"""The picture of an evaluation: what is taken for what, when, in whom, and how surely."""

from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from models.recordings.scores import Scores
from models.recordings.writers import replacing
from tools.evaluate.report import Evaluation, find, name_read
from tools.evaluate.tables import Rows, animals_table, bouts_table, remarks
from tools.view.panels import BLUE, INK, ORANGE

_ROW_INCH = 0.22
_NOTE_WIDTH = 180  # characters
_MOST_ANIMALS = 40  # the worst ones


def plot_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Draw confusion, reliability, live and final, bouts and animals by choice of modalities.

    Raises:
        RecordingError: the place cannot be written to.
    """
    live, final = find(evaluation, "live"), find(evaluation, "final")
    tables = [t for without in live for t in _tables(evaluation, without)]
    notes = "\n".join(fill(line, _NOTE_WIDTH) for line in remarks(evaluation))
    heights = [_ROW_INCH * (len(t.rows) + 2) for t in tables]
    heights = [h for k in range(len(live)) for h in (3.4, *heights[2 * k : 2 * k + 2])]
    heights.append(_ROW_INCH * (notes.count("\n") + 1))
    figure = Figure(figsize=(13, 0.7 + sum(heights)), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(
        f"{evaluation.bundle} {evaluation.model} · {evaluation.data}", color=INK, fontsize=11
    )
    grid = figure.add_gridspec(len(heights), 4, height_ratios=heights)
    for k, without in enumerate(live):
        for j, result in enumerate((live[without], final[without])):
            title = f"{name_read(result.without)}, {result.kind}"
            at, beside = (figure.add_subplot(grid[3 * k, 2 * j + i]) for i in range(2))
            draw_confusion(at, result.pooled, title)
            _draw_reliability(beside, result.pooled)
        for i in range(2):
            _draw_table(figure.add_subplot(grid[3 * k + 1 + i, :]), tables[2 * k + i])
    axis = figure.add_subplot(grid[-1, :])
    axis.set_axis_off()
    note = axis.text(0, 1, notes, va="top", color=INK, fontsize=8, parse_math=False)
    note.set_in_layout(False)
    with replacing(path) as draft:
        figure.savefig(draft, format="png", dpi=110)


def _tables(evaluation: Evaluation, without: tuple[str, ...]) -> tuple[Rows, Rows]:
    """Return bouts and animals; of many animals the worst."""
    animals = animals_table(evaluation, without)
    n = len(animals.rows)
    if n > _MOST_ANIMALS:
        rest = (f"and {n - _MOST_ANIMALS} better ones", *[""] * (len(animals.columns) - 1))
        animals = Rows(animals.columns, [*animals.rows[:_MOST_ANIMALS], rest])
    return bouts_table(evaluation, without), animals


def _draw_table(axis: Axes, rows: Rows) -> None:
    axis.set_axis_off()
    table = axis.table(
        [list(row) for row in rows.rows],
        colLabels=list(rows.columns),
        cellLoc="left",
        colLoc="left",
        edges="horizontal",
        bbox=Bbox.unit(),
    )
    table.set_in_layout(False)
    table.auto_set_font_size(False)
    table.set_fontsize(8)
    table.auto_set_column_width(list(range(len(rows.columns))))
    for cell in table.get_celld().values():
        cell.set_edgecolor("#E0E0E0")
        cell.get_text().set_color(INK)
        cell.get_text().set_parse_math(False)


def draw_confusion(axis: Axes, scores: Scores, title: str) -> None:
    """Draw each true stage's row in percent; the title says κ as well."""
    stages = scores.stages
    counts = np.array(scores.confusion, float)
    percent = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    for (i, j), value in np.ndenumerate(percent):
        colour = "white" if value > 60 else INK
        axis.text(j, i, f"{value:.1f}", ha="center", va="center", color=colour, fontsize=9)
    axis.set_xticks(range(len(stages)), stages)
    axis.set_yticks(range(len(stages)), stages)
    axis.set_xlabel("found, % of the row", color=INK)
    axis.set_ylabel("truth", color=INK)
    text = "" if scores.kappa is None else f"\nκ {scores.kappa:.3f}"
    axis.set_title(f"{title}{text}", color=INK, fontsize=10)


def _draw_reliability(axis: Axes, scores: Scores) -> None:
    """Draw how often a stage is right against how sure it was, and where the epochs are."""
    n_bins = len(scores.reliability)
    there = [b for b in scores.reliability if b.n_epochs]
    points = np.array([(b.confidence, b.accuracy) for b in there], float).reshape(-1, 2)
    share = [b.n_epochs / max(scores.n_epochs, 1) for b in scores.reliability]
    centres = (np.arange(n_bins) + 0.5) / n_bins
    axis.bar(centres, share, 0.9 / n_bins, color=ORANGE, alpha=0.5, label="share of epochs")
    axis.plot([0, 1], [0, 1], color="#B0B0B0", linewidth=1)
    axis.plot(points[:, 0], points[:, 1], "o-", color=BLUE, label="accuracy")
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1.02)
    axis.set_box_aspect(1)
    axis.set_xlabel("confidence", color=INK)
    text = "none" if scores.ece is None else f"{scores.ece:.3f}"
    axis.set_title(f"calibration error {text}", color=INK, fontsize=10)
    axis.legend(frameon=False, fontsize=8, loc="upper left")
