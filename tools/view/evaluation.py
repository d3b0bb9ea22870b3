"""The picture of an evaluation: what is taken for what, and what confidence is worth."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from models.recordings.scores import Scores
from models.recordings.writers import replacing
from tools.evaluate.report import Evaluation, find, name_read
from tools.view.panels import BLUE, INK, ORANGE


def plot_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Draw confusion and reliability, live and final, a row for each choice of modalities.

    Raises:
        RecordingError: the place cannot be written to.
    """
    live, final = find(evaluation, "live"), find(evaluation, "final")
    figure = Figure(figsize=(13, 0.7 + 3.4 * len(live)), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(
        f"{evaluation.bundle} {evaluation.model} · {evaluation.data}", color=INK, fontsize=11
    )
    axes = figure.subplots(len(live), 4, squeeze=False)
    for row, without in zip(axes, live, strict=True):
        for pair, result in zip((row[:2], row[2:]), (live[without], final[without]), strict=True):
            title = f"{name_read(result.without)}, {result.kind}"
            draw_confusion(pair[0], result.pooled, title)
            _draw_reliability(pair[1], result.pooled)
    with replacing(path) as draft:
        figure.savefig(draft, format="png", dpi=110)


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
