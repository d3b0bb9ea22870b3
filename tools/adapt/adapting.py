"""What `hypnod adapt` does: let the teacher label recordings, fine-tune, compare, write or not."""

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import torch
from rich.console import Console
from rich.progress import Progress

from engines.bundle import Bundle, open_bundle
from models.base import Model
from models.errors import SpecError
from models.scored_epochs import ScoredEpochs
from models.spec import MIXED, ModelSpec
from models.teacher import teacher_hash, teacher_of
from models.training.calibration import fit_temperatures, fold_temperatures
from models.training.devices import Device, open_device
from models.training.evaluate import evaluate
from models.training.export import export_bundle
from models.training.run import Pass, best_pass
from models.training.simulated import FIRST_UNSEEN_SEED, simulate_many
from models.training.splits import Split
from models.training.train import TrainConfig, train, with_loss
from models.weights import load_model
from tools.adapt.command import AdaptOptions
from tools.adapt.gain import LEAST_BLOCKS, Answers, answers_of, gain_of, kappa_of, shares_of
from tools.adapt.lessons import (
    Heard,
    Hearing,
    Parts,
    check_several,
    divide,
    hold_out,
    subjects_of,
)
from tools.adapt.report import READINGS, AdaptReport, Change, Gain, Taught
from tools.adapt.usual import USUAL
from tools.train.bars import Bars, open_bars
from tools.train.data import learnt_from, mixed
from tools.train.outcome import made_with
from tools.train.parts import Trainings, do_parts
from tools.train.report import PassReport

LAB_SHARE = 1.0
"""How often recordings are read, by simulated subjects."""
KEPT = 0.5
"""Of the weights of the bundle that it begins with."""
MOST_LOST = 0.01
"""κ that the simulated subjects may lose."""
_FIRST_SEED = 900_000
_SEEDS = 100  # simulated subjects that one seed of a run may have
_FIRST_TEST_SEED = FIRST_UNSEEN_SEED + 500_000
_LAG = 4  # of final, in epochs
_EVERY = 4  # epoch of simulated subjects is read


class Simulated(NamedTuple):
    """Simulated subjects."""

    learnt: list[ScoredEpochs]
    stopping: list[ScoredEpochs]
    held_out: list[ScoredEpochs]


class Given(NamedTuple):
    """What a run learns from."""

    heard: list[Heard]
    recordings: tuple[Taught, ...]
    simulated: Simulated


class Judged(NamedTuple):
    """What is said of what was held out."""

    before: list[Answers]
    """By the bundle that it began with."""
    after: list[Answers]


class Learnt(NamedTuple):
    """A net, and what came out of making it."""

    model: Model
    history: list[Pass]
    taken: Pass
    changed: dict[str, float]
    """What its logits are divided by, to be as sure of simulated subjects as before."""

    @property
    def kappa(self) -> float:
        """κ live of the pass that was taken, on what stops it."""
        return self.taken.kappa[MIXED]


def run(options: AdaptOptions, console: Console) -> AdaptReport:
    """Do it all.

    Raises:
        HypnodError: a recording or the bundle cannot be used, or the teacher is trusted in none.
    """
    torch.set_num_threads(options.threads)
    started = time.monotonic()
    bundle = open_bundle(options.start)
    check_teachable(bundle)
    with (
        open_device(options.device) as device,
        open_bars(console) as progress,
    ):
        return _Work(options, bundle, device, progress).do(prepare(options, progress), started)


def prepare(options: AdaptOptions, progress: Progress) -> Given:
    """Let the teacher stage every recording, and simulate subjects.

    Raises:
        HypnodError: a recording or the bundle cannot be used, or the teacher is trusted in none.
    """
    bundle = open_bundle(options.start)
    heard, recordings = Hearing(options, bundle, progress).hear_all()
    if options.leave_one_out:
        check_several(heard)
    return Given(heard, recordings, _simulate(options, bundle.spec, progress))


def try_seed(options: AdaptOptions, given: Given, progress: Progress, number: int) -> float:
    """Learn from one of several seeds, in a worker; return κ live on what stops it."""
    with open_device(options.device) as device:
        work = _Work(options, open_bundle(options.start), device, progress)
        parts = divide(given.heard, options.seed)
        return work.learn(parts, given.simulated, options.seed + number).kappa


def judge_without(options: AdaptOptions, given: Given, progress: Progress, number: int) -> Judged:
    """Learn without a subject, and judge by it, in a worker."""
    with open_device(options.device) as device:
        work = _Work(options, open_bundle(options.start), device, progress)
        return work.without(given, number)


def check_teachable(bundle: Bundle) -> None:
    """Raise SpecError unless a bundle has the stages, channels and epochs of the teacher."""
    spec, taught = bundle.spec, teacher_of(bundle.spec.species).spec
    for what in ("stages", "modalities", "epoch_s"):
        expected, found = getattr(taught, what), getattr(spec, what)
        if expected != found:
            raise SpecError(
                f"{bundle.manifest.name}: expected a bundle with the {what} of the teacher, "
                f"{expected}, found {found}"
            )


def _simulate(options: AdaptOptions, spec: ModelSpec, progress: Progress) -> Simulated:
    """Simulate what keeps the net from forgetting, what it is stopped by and judged on."""
    n = options.simulated
    n_judges = max(3, n // 4)
    first = _FIRST_SEED + _SEEDS * options.seed
    seeds = (
        *range(first, first + n + n_judges),
        *range(_FIRST_TEST_SEED, _FIRST_TEST_SEED + n_judges),
    )
    simulated = simulate_many(
        spec, seeds, options.hours, options.threads, read=USUAL[spec.species].read, wide=True
    )
    found = list(progress.track(simulated, len(seeds), description="simulating"))
    return Simulated(found[:n], found[n : n + n_judges], found[n + n_judges :])


class _Work:
    """A run, once the teacher has spoken."""

    def __init__(
        self, options: AdaptOptions, bundle: Bundle, device: Device, progress: Progress
    ) -> None:
        self.options, self.bundle, self.spec = options, bundle, bundle.spec
        self.grammar = bundle.manifest.grammar
        self.start = load_model(bundle.path)
        self.device, self.progress = device, progress
        self.lag = min(_LAG, self.spec.n_context - 1)
        config = TrainConfig(
            passes=options.passes,
            patience=options.passes,
            learning_rate=options.learning_rate,
            keep=KEPT,
        )
        self.config = with_loss(config, self.spec.model)

    def do(self, given: Given, started: float) -> AdaptReport:
        """Train, compare, and write the bundle where there is a gain."""
        heard, recordings, simulated = given
        seeds: dict[int, float] = {}
        if self.options.leave_one_out:
            judged, parts = self._in_turn(given), hold_out(heard, ())
            n = len(parts.split.training)
            described = f"{n} subjects, each with a net that never saw it"
            learnt = self.learn(parts, simulated, self.options.seed)
        else:
            parts = divide(heard, self.options.seed)
            described = parts.described
            learnt, seeds = self._best(parts, given)
            judged = self._judge(learnt.model, parts.held_out)
        model, history, taken, changed = learnt
        before, after = judged
        n_stages = len(self.spec.stages)
        block_s = USUAL[self.spec.species].block_s
        gain = gain_of(before, after, n_stages, round(block_s / self.spec.epoch_s))
        own = [
            evaluate(m, simulated.held_out, every=_EVERY)[MIXED, 0].kappa for m in self._both(model)
        ]
        forgotten = Change(before=own[0], after=own[1])
        left = why_not_written(taken.number, gain, forgotten, block_s)
        report = AdaptReport(
            command=shlex.join(["hypnod", *sys.argv[1:]]),
            bundle=f"{self.bundle.manifest.name} {self.bundle.hash[:12]}",
            teacher=teacher_hash(self.spec.species),
            device=str(self.device),
            minutes=round((time.monotonic() - started) / 60, 1),
            recordings=recordings,
            held_out=described,
            history=msgspec.convert(msgspec.to_builtins(history), tuple[PassReport, ...]),
            taken=taken.number,
            seeds=seeds,
            kappa={
                reading: Change(
                    before=kappa_of(before, reading, n_stages),
                    after=kappa_of(after, reading, n_stages),
                )
                for reading in READINGS
            },
            gain=gain,
            share={
                stage: Change(before=b, after=a)
                for stage, b, a in zip(
                    self.spec.stages,
                    shares_of(before, n_stages),
                    shares_of(after, n_stages),
                    strict=True,
                )
            },
            simulated=forgotten,
            written=None if left else str(self.options.out),
            outcome=left or f"wrote {self.options.out}",
        )
        if not left:
            self._write(model, report, changed, heard, parts.split)
        return report

    def without(self, given: Given, number: int) -> Judged:
        """Learn without a subject, and judge by it."""
        subject = subjects_of(given.heard)[number]
        parts = hold_out(given.heard, (subject,))
        learnt = self.learn(parts, given.simulated, self.options.seed, f"without {subject}, ")
        return self._judge(learnt.model, parts.held_out)

    def _in_turn(self, given: Given) -> Judged:
        """Judge by every subject, here or where the options say."""
        subjects, cluster = subjects_of(given.heard), self.options.cluster
        if cluster is None:
            found = [self.without(given, i) for i in range(len(subjects))]
        else:
            names = [f"without {subject}" for subject in subjects]
            each = Trainings(self.options, prepare, judge_without)
            found = do_parts(each, names, cluster, self._shared, self._say)
        return Judged(
            [answers for judged in found for answers in judged.before],
            [answers for judged in found for answers in judged.after],
        )

    @property
    def _shared(self) -> Path:
        return self.options.out.with_name(f"{self.options.out.name}.state")

    def _best(self, parts: Parts, given: Given) -> tuple[Learnt, dict[int, float]]:
        """Learn from every seed; return what does best on what stops it, and κ there by seed."""
        first, n, cluster = self.options.seed, self.options.seeds, self.options.cluster
        seeds = [first + i for i in range(n)]
        if n == 1 or cluster is None:
            titles = [f"seed {seed}, " if n > 1 else "" for seed in seeds]
            learnt = [
                self.learn(parts, given.simulated, seed, title)
                for seed, title in zip(seeds, titles, strict=True)
            ]
            kappas = dict(zip(seeds, (each.kappa for each in learnt), strict=True))
            return max(learnt, key=lambda each: each.kappa), kappas
        each = Trainings(self.options, prepare, try_seed)
        names = [f"seed {seed}" for seed in seeds]
        found = do_parts(each, names, cluster, self._shared, self._say)
        kappas = dict(zip(seeds, found, strict=True))
        best = max(kappas, key=kappas.__getitem__)
        return self.learn(parts, given.simulated, best, f"seed {best} again, "), kappas

    def learn(self, parts: Parts, simulated: Simulated, seed: int, title: str = "") -> Learnt:
        """Fine-tune the bundle's net from a seed, and take the best pass."""
        model, history = train(
            self.spec,
            mixed(simulated.learnt, parts.learnt, LAB_SHARE),
            mixed(simulated.stopping, parts.stopping, LAB_SHARE),
            msgspec.structs.replace(self.config, seed=seed),
            self.device,
            start=self.start,
            watcher=Bars(self.progress, title),
        )
        model.cpu()
        taken = best_pass(history)
        self._say(f"{title}took pass {taken.number} of {history[-1].number}, and compares")
        changed = self._calibrate(model, simulated.stopping, seed) if taken.number else {}
        return Learnt(model, history, taken, changed)

    def _both(self, model: Model) -> tuple[Model, Model]:
        return self.start, model

    def _say(self, what: str) -> None:
        self.progress.console.print(what)

    def _calibrate(
        self, model: Model, simulated: Sequence[ScoredEpochs], seed: int
    ) -> dict[str, float]:
        """Make the net as sure of simulated subjects as it was; return what divides its logits.

        Of recordings the teacher's stages alone are known, which would make it too sure.
        """
        before, after = (
            fit_temperatures(each, simulated, every=_EVERY, seed=seed) for each in self._both(model)
        )
        changed = {pathway: t / before[pathway] for pathway, t in after.items()}
        fold_temperatures(model, changed)
        return changed

    def _judge(self, model: Model, held_out: Sequence[ScoredEpochs]) -> Judged:
        return Judged(
            *(
                [answers_of(each, subject, self.grammar, self.lag) for subject in held_out]
                for each in self._both(model)
            )
        )

    def _write(
        self,
        model: Model,
        report: AdaptReport,
        changed: Mapping[str, float],
        heard: Sequence[Heard],
        split: Split,
    ) -> None:
        """Write the bundle; what is not the net's weights stays as it was."""
        self._say(f"writing {self.options.out}")
        manifest = self.bundle.manifest
        export_bundle(
            model,
            self.spec,
            self.options.out,
            self.options.out.name,
            _provenance(report),
            reference=manifest.reference,
            temperatures={p: t * changed[p] for p, t in manifest.temperatures.items()} or changed,
            grammar=self.grammar,
            learnt_from=learnt_from(
                [(each.file, frozenset([each.subject])) for each in heard],
                split,
                manifest.learnt_from,
            ),
            like=self.bundle.path,
        )


def why_not_written(taken: int, gain: Gain, simulated: Change, block_s: float) -> str | None:
    """Say why a bundle is left alone, None where there is a gain."""
    left = "wrote nothing, the bundle stays as it is"
    if not taken:
        return f"{left}: no pass was better than it"
    if gain.n_blocks < LEAST_BLOCKS:
        return (
            f"{left}: expected at least {LEAST_BLOCKS} blocks of {block_s:g} s to compare by, "
            f"found {gain.n_blocks}: give longer recordings"
        )
    if gain.low <= 0:
        what = "is a loss" if gain.high < 0 else "may be chance"
        return (
            f"{left}: κ with the teacher changed by {gain.kappa:+.3f} where nothing was learnt, "
            f"which {what} ({gain.low:+.3f} to {gain.high:+.3f})"
        )
    lost = (simulated.before or 0.0) - (simulated.after or 0.0)
    if lost > MOST_LOST:
        return f"{left}: simulated subjects lost {lost:.3f} of κ, more than {MOST_LOST:g}"
    return None


def _provenance(report: AdaptReport) -> dict[str, str]:
    """Return what the weights follow from, and what came out."""
    hours = sum(each.hours for each in report.recordings if not each.left_out)
    figures = {
        f"κ with the teacher, {name}": f"{change.before:.4f} before, {change.after:.4f} after"
        for name, change in (*report.kappa.items(), ("simulated subjects", report.simulated))
    }
    return {
        "adapted from": report.bundle,
        "data": f"{hours:.1f} h that nobody scored, by the offline teacher {report.teacher[:12]}",
        "held out": report.held_out,
        "command": report.command,
        "device": report.device,
        "minutes": f"{report.minutes:.0f}",
        **made_with(),
        **figures,
    }
