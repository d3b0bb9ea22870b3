"""Makes nets of the subjects that were read, calibrates and tests them."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rich.progress import Progress

from models.base import Model
from models.recordings.scores import Tally
from models.scored_epochs import ScoredEpochs
from models.spec import MIXED, Grammar, ModelSpec
from models.training.calibration import (
    fit_confidence,
    fit_grammar,
    fit_temperatures,
    fold_temperatures,
)
from models.training.devices import Device
from models.training.evaluate import Reading, tally
from models.training.run import Pass, best_pass
from models.training.splits import Split
from models.training.train import train
from models.weights import load_model
from tools.train.bars import Bars
from tools.train.command import TrainOptions
from tools.train.data import Data, choose_config, mixed, new_spec, read_or_simulate

FINAL_LAG = 4
"""Epochs of right-hand context of the final reading that is reported."""

Counted = dict[str, dict[Reading, Tally]]
"""What was counted, by subject."""


class Given(NamedTuple):
    """What a run starts from."""

    start: Model | None
    """The net that is fine-tuned; None: a new one."""
    spec: ModelSpec
    data: Data


class Trained(NamedTuple):
    """A net, and what came out of making it."""

    model: Model
    history: list[Pass]
    temperatures: dict[str, float]
    grammar: Grammar | None


def read(options: TrainOptions, progress: Progress) -> Given:
    """Read what a run starts from, or simulate its subjects.

    Raises:
        HypnodError: bundle or recordings cannot be used.
    """
    start = None if options.start is None else load_model(options.start)
    spec = new_spec(options) if start is None else start.spec
    return Given(start, spec, read_or_simulate(options, spec, progress))


class Nets:
    """The nets of a run: one for each split of its subjects."""

    def __init__(
        self, options: TrainOptions, given: Given, device: Device, progress: Progress
    ) -> None:
        self.options, self.device, self.progress = options, device, progress
        self.start, self.spec, self.data = given
        self.config = choose_config(options, self.spec.model)
        self.lag = min(FINAL_LAG, self.spec.n_context - 1)
        self.kept: list[Path] = []
        """The states of the nets that were trained, until the run's end."""

    def train(self, split: Split, title: str, state: str) -> Trained:
        """Train and calibrate one net; the test subjects of the split are not touched."""
        self.kept.append(self.state(state))
        model, history = train(
            self.spec,
            mixed(self.of(split.training), self.data.beside),
            self.data.stop_by or self.of(split.validation),
            self.config,
            self.device,
            start=self.start,
            state=self.kept[-1],
            watcher=Bars(self.progress, title),
        )
        taken = best_pass(history)
        self.say(
            f"{title}took pass {taken.number} of {history[-1].number}, validation κ live, mixed: "
            f"{taken.kappa[MIXED]:.3f}"
        )
        self.say(f"{title}calibrating its probabilities")
        validation = self.of(split.validation)
        temperatures = fit_temperatures(
            model,
            validation,
            masks=self.config.masks,
            balance=self.config.balance,
            every=self.config.validate_every,
            seed=self.config.seed,
        )
        fold_temperatures(model, temperatures)
        self.say(f"{title}fitting its grammar")
        grammar = fit_grammar(model, self.data.stop_by or validation, self.lag)
        if grammar is not None:
            grammar = fit_confidence(model, validation, grammar, self.lag)
        return Trained(model, history, temperatures, grammar)

    def test(self, trained: Trained, split: Split) -> Counted:
        """Count the epochs of each test subject, in the length that they were scored in."""
        counted: Counted = {}
        tests = self.of(split.test)
        for subject in self.progress.track(tests, description="testing"):
            found = tally(
                trained.model, subject, (0, self.lag), grammar=trained.grammar, as_scored=True
            )
            before = counted.get(subject.name)
            counted[subject.name] = (
                found if before is None else {r: before[r] + found[r] for r in found}
            )
        return counted

    def state(self, name: str) -> Path:
        """Return where a net's training is kept until the run's end."""
        return self.options.state / f"{name}.pt"

    def forget(self) -> None:
        """Remove the states, which have served, and their folder if nothing else is in it."""
        for path in self.kept:
            path.unlink(missing_ok=True)
        if not any(self.options.state.iterdir()):
            self.options.state.rmdir()

    def say(self, what: str) -> None:
        """Print a line above the bar."""
        self.progress.console.print(what)

    def of(self, names: Iterable[str]) -> list[ScoredEpochs]:
        """Return the recordings of these subjects."""
        chosen = set(names)
        return [s for s in self.data.subjects if s.name in chosen]
