"""What is seen of a training run while it goes on."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.training.run import Pass
from models.training.train import Watcher


def open_bars(console: Console) -> Progress:
    """Return bars that count what is done and say how long the rest takes; to be entered."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console)


class Bars(Watcher):
    """Shows steps as a bar and passes as lines."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress = progress
        self._title = title
        self._task = progress.add_task(title, total=None)
        self._n = 1

    def resumed(self, n_passes: int) -> None:
        """Say that it goes on."""
        self._n = n_passes + 1
        self._progress.console.print(f"{self._title}goes on after pass {n_passes}")

    def step(self, done: int, total: int, loss: float) -> None:
        """Advance the bar."""
        text = f"{self._title}pass {self._n}, loss {loss:.3f}"
        self._progress.update(self._task, completed=done, total=total, description=text)

    def passed(self, result: Pass) -> None:
        """Print a pass."""
        self._n = result.number + 1
        found = ", ".join(f"{p} {k:.3f}" for p, k in result.kappa.items())
        what = "before" if result.loss is None else f"pass {result.number}: loss {result.loss:.4f}"
        self._progress.console.print(f"{self._title}{what}, validation κ live: {found}")
