"""The picture of a training run: OUT-report.png."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models.recordings.scores import N_BINS
from models.recordings.writers import replacing
from models.stages import UNSCORED
from tools.train.report import TrainReport, digits
from tools.view.evaluation import draw_confusion
from tools.view.night import vertical_order


class Example(NamedTuple):
    """A stretch of a test subject's night."""

    name: str
    epoch_s: float
    truth: NDArray[np.int64]
    """(n,) the expert's stage, or `UNSCORED`."""
    answers: NDArray[np.float32]
    """(n, S) probabilities, read live; NaN where there are none."""


def draw_report(report: TrainReport, example: Example, path: Path) -> None:
    """Draw the learning curve, confusion, reliability, and a stretch of a night."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(3, 4, height_ratios=(1.2, 1.2, 0.8))
    readings = [name for name in report.scores if name.endswith("live")]
    _draw_history(figure.add_subplot(grid[0, :2]), report)
    _draw_reliability(figure.add_subplot(grid[0, 2:]), report, readings)
    final = [name for name in report.scores if name.startswith("mixed final")]
    for i, name in enumerate((*readings, *final)[:4]):
        draw_confusion(figure.add_subplot(grid[1, i]), report.scores[name], name)
    _draw_example(figure.add_subplot(grid[2, :]), example, report)
    figure.suptitle(f"{report.data}; tested: {report.tested}", fontsize=10)
    with replacing(path) as draft:
        figure.savefig(draft, format="png", dpi=100)


def _draw_history(axes: Axes, report: TrainReport) -> None:
    passes = [each.number for each in report.history]
    for pathway in report.history[0].kappa if report.history else ():
        axes.plot(passes, [p.kappa[pathway] for p in report.history], ".-", label=pathway)
    losses = np.array([p.loss for p in report.history], float)  # none is not drawn
    axes.plot(passes, losses, "k:", label="training loss")
    axes.set(title="validation κ, read live", xlabel="pass", ylim=(0, 1.05))
    axes.legend(fontsize=8)


def _draw_reliability(axes: Axes, report: TrainReport, readings: list[str]) -> None:
    axes.plot([0, 1], [0, 1], color="0.7")
    for name in readings:
        bins = [b for b in report.scores[name].reliability if b.n_epochs]
        error = digits(report.scores[name].ece)
        axes.plot(
            np.array([b.confidence for b in bins], float),
            np.array([b.accuracy for b in bins], float),
            ".-",
            label=f"{name}, ECE {error}",
        )
    axes.set(title=f"reliability, {N_BINS} bins", xlabel="confidence", ylabel="accuracy")
    axes.legend(fontsize=8)


def _draw_example(axes: Axes, example: Example, report: TrainReport) -> None:
    stages = next(iter(report.scores.values())).stages
    minutes = np.arange(len(example.truth)) * example.epoch_s / 60
    found = np.where(np.isnan(example.answers).any(-1), np.nan, example.answers.argmax(-1))
    truth = np.where(example.truth == UNSCORED, np.nan, example.truth)
    order = vertical_order(stages)
    level = np.array([*(len(order) - 1 - order.index(stage) for stage in stages), np.nan])

    def draw(indices: NDArray[np.floating], **style: Any) -> None:
        levels = level[np.where(np.isnan(indices), len(stages), indices).astype(int)]
        axes.step(minutes, levels, where="post", **style)

    draw(truth, color="0.6", linewidth=3, label="expert")
    draw(found, color="C0", linewidth=0.8, label="model, live")
    axes.set_yticks(range(len(order)), order[::-1])
    axes.set(title=example.name, xlabel="min")
    axes.legend(fontsize=8, loc="upper right")
