"""What `hypnod demo` found out: counts, agreement with the simulated truth, latencies."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from daemon.messages import Kind, StageMessage, TriggerMessage
from models.recordings.agreement import Agreement, compare
from models.recordings.hypnogram import Hypnogram
from models.stages import UNKNOWN
from tools.client.subscriber import Received
from tools.demo.scenes import Scene
from tools.demo.triggers import judge_triggers
from tools.rehearse.report import RuleReport, draw_rules
from tools.shared.measure import Machine, Percentiles, describe_machine, percentiles
from tools.view.confusion import draw_confusion


class SubjectReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One subject's figures."""

    live: Agreement
    """Of the live stages with the truth."""
    final: Agreement
    """Of the final stages with the truth."""


class DemoReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `hypnod demo --json FILE` writes."""

    data: str
    """Where the data came from."""
    epochs_expected: int
    """Epochs in the simulated recording, of all subjects, one a hop."""
    hop_s: float
    """From one of them to the next, s."""
    epochs_published: int
    """Live messages received."""
    finals_expected: int
    """Those of them that do not overlap."""
    finals_published: int
    """Final messages received."""
    problems: tuple[str, ...]
    """What is missing, double or out of order; empty when all is well."""
    live: Agreement
    """Of the live stages with the truth, all subjects together."""
    final: Agreement
    """The same of the final stages."""
    subjects: dict[str, SubjectReport]
    triggers: tuple[RuleReport, ...]
    """What the rule of `--trigger` did to each subject, and how many of its pulses were right."""
    latency_ms: Percentiles | None
    """From the arrival of an epoch's last sample at the daemon (its pull from LSL) to the receipt
    of the live message by the subscriber, ms: the message's `latency_s`, and from its
    `published_utc` to the receipt on the same computer's clock."""
    engine: str
    model: str
    """First 12 digits of the bundle's SHA-256."""
    speed: float | str
    """Recording time per time, as asked for."""
    speed_reached: float
    """The same, as measured from the first live message to the last."""
    minutes: float
    """Of recording."""
    seed: int
    startup_s: float
    """From the daemon's start until it was ready, s."""
    machine: Machine


class Collector:
    """Keeps the stage messages of a run.

    Args:
        truth: the true stage of each epoch, one a hop, by subject.
        hops_per_epoch: of so many, the first one gets a final estimate.
    """

    def __init__(self, truth: Mapping[str, Sequence[str]], hops_per_epoch: int = 1) -> None:
        self.truth = truth
        self._every = hops_per_epoch
        self.expected = sum(map(len, truth.values()))
        self.latencies_s: list[float] = []
        self.received: list[float] = []
        self.triggers: list[TriggerMessage] = []
        self._messages: dict[Kind, dict[str, list[StageMessage]]] = {
            "live": defaultdict(list),
            "final": defaultdict(list),
        }

    def add(self, received: Received) -> None:
        """Take in a message; those that are neither stages nor decisions are left out."""
        message = received.message
        if isinstance(message, TriggerMessage):
            self.triggers.append(message)
        if not isinstance(message, StageMessage):
            return
        self._messages[message.kind][message.subject].append(message)
        if message.kind == "live":
            self.received.append(received.monotonic)
            if message.latency_s is not None:
                published = datetime.fromisoformat(message.published_utc).timestamp()
                self.latencies_s.append(message.latency_s + received.wall - published)

    def count(self, kind: Kind) -> int:
        """Return how many messages of this kind there are."""
        return sum(map(len, self._messages[kind].values()))

    def of(self, kind: Kind, subject: str) -> list[StageMessage]:
        """Return a subject's messages in the order they came."""
        return self._messages[kind][subject]

    def due(self, kind: Kind, subject: str) -> range:
        """Return the hops of which an estimate is due."""
        return range(0, len(self.truth[subject]), self._every if kind == "final" else 1)

    def find_problems(self) -> Iterable[str]:
        """Yield a sentence for whatever is not each epoch once and in order."""
        for kind in ("live", "final"):
            for subject in self.truth:
                due = [*self.due(kind, subject)]
                epochs = [message.hop for message in self.of(kind, subject)]
                if epochs != due:
                    missing = len(set(due).difference(epochs))
                    yield (
                        f"{subject}: expected {len(due)} {kind} epochs, each once and in order, "
                        f"found {len(epochs)}, of which {missing} are missing"
                    )

    def hypnogram(self, kind: Kind, subject: str) -> list[str]:
        """Return the stage of each epoch that is due; UNKNOWN where none came."""
        found = {message.hop: message.stage for message in self.of(kind, subject)}
        return [found.get(hop, UNKNOWN) for hop in self.due(kind, subject)]

    def probabilities(self, kind: Kind, subject: str, stages: Sequence[str]) -> NDArray[np.float64]:
        """Return the probabilities of each epoch, (n_epochs, n_stages); NaN where none came."""
        probabilities = np.full((len(self.truth[subject]), len(stages)), np.nan)
        for message in self.of(kind, subject):
            if message.probabilities and message.hop < len(probabilities):
                probabilities[message.hop] = [message.probabilities[s] for s in stages]
        return probabilities


def make_report(
    collector: Collector,
    stages: Sequence[str],
    hypnograms: Mapping[str, Hypnogram],
    scene: Scene,
    *,
    speed: float | str,
    minutes: float,
    seed: int,
    startup_s: float,
) -> DemoReport:
    """Return the report of a run.

    Args:
        collector: its messages.
        stages: the stage set.
        hypnograms: the truth by subject.
        scene: what was shown.
        speed: recording time per time, as asked for.
        minutes: of recording.
        seed: of the simulation.
        startup_s: of the daemon, s.
    """
    first = next((m for s in collector.truth for m in collector.of("live", s)), None)
    live, final = (_agree(collector, kind, collector.truth, stages) for kind in ("live", "final"))
    return DemoReport(
        data=scene.data,
        epochs_expected=collector.expected,
        hop_s=first.hop_s if first else 0.0,
        epochs_published=collector.count("live"),
        finals_expected=sum(len(collector.due("final", s)) for s in collector.truth),
        finals_published=collector.count("final"),
        problems=tuple(collector.find_problems()),
        live=live,
        final=final,
        subjects={
            subject: SubjectReport(
                live=_agree(collector, "live", [subject], stages),
                final=_agree(collector, "final", [subject], stages),
            )
            for subject in collector.truth
        },
        triggers=judge_triggers(
            collector.triggers,
            {s: {m.hop: m for m in collector.of("live", s)} for s in collector.truth},
            hypnograms,
            stages,
            scene.rule,
        ),
        latency_ms=percentiles(collector.latencies_s),
        engine=first.engine if first else "",
        model=first.model if first else "",
        speed=speed,
        speed_reached=_speed_reached(collector, first.hop_s if first else 0.0),
        minutes=minutes,
        seed=seed,
        startup_s=startup_s,
        machine=describe_machine(),
    )


def _agree(
    collector: Collector, kind: Kind, subjects: Iterable[str], stages: Sequence[str]
) -> Agreement:
    subjects = list(subjects)
    truth = [collector.truth[s][hop] for s in subjects for hop in collector.due(kind, s)]
    found = [stage for subject in subjects for stage in collector.hypnogram(kind, subject)]
    return compare(truth, found, stages)


def _speed_reached(collector: Collector, hop_s: float) -> float:
    if len(collector.received) < 2:
        return 0.0
    span_s = collector.received[-1] - collector.received[0]
    per_subject = len(collector.received) / len(collector.truth)
    return (per_subject - 1) * hop_s / span_s if span_s else 0.0


def draw_report(report: DemoReport) -> RenderableType:
    """Return the report for a terminal."""
    confusions = Columns(
        [
            draw_confusion(report.live.stages, report.live.confusion, "live, for closed loop"),
            draw_confusion(report.final.stages, report.final.confusion, "final, for the record"),
        ],
        padding=(1, 6, 0, 0),
    )
    parts: list[RenderableType] = [_draw_subjects(report), confusions]
    if report.triggers:
        parts.append(draw_rules(report.triggers))
    return Group(*(line for part in parts for line in (Text(), part)), Text(), *_draw_lines(report))


def _draw_subjects(report: DemoReport) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("agreement with the truth")
    for name in ("κ live", "κ final", "accuracy live", "final", "unscored", "epochs"):
        table.add_column(name, justify="right")
    rows = {**report.subjects, "all": SubjectReport(live=report.live, final=report.final)}
    for name, row in rows.items():
        table.add_row(
            name,
            *(_figure(a.kappa) for a in (row.live, row.final)),
            *(_percent(a.accuracy) for a in (row.live, row.final)),
            str(row.live.n_unscored),
            str(row.live.n_epochs + row.live.n_unscored),
            style="bold" if name == "all" else "",
        )
    return table


def _draw_lines(report: DemoReport) -> Iterable[Text]:
    latency = report.latency_ms
    if latency is not None:
        yield Text.assemble(
            ("latency   ", "dim"),
            f"p50 {latency.p50:.1f}, p95 {latency.p95:.1f}, p99 {latency.p99:.1f} ms  ",
            ("last sample's arrival → message received", "dim"),
        )
    yield Text.assemble(
        ("epochs    ", "dim"),
        f"{report.epochs_published} live of {report.epochs_expected} expected, "
        f"{report.finals_published} final of {report.finals_expected}",
        "" if report.problems else ("  each once, in order", "green"),
    )
    yield Text.assemble(
        ("engine    ", "dim"),
        f"{report.engine}, model {report.model}, ready {report.startup_s:.1f} s after its start",
    )
    yield Text.assemble(
        ("data      ", "dim"),
        f"{report.data}; {report.minutes:g} min of each, hop {report.hop_s:g} s, "
        f"seed {report.seed}, {report.speed_reached:.1f} × real time",
    )
    for problem in report.problems:
        yield Text(f"✖ {problem}", "bold red")


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
