"""`make chaos`: every fault of docs/faults.md against a real daemon, and how soon it says so.

Sources run in real time in processes of their own; they are killed, frozen, changed and fed with
the faults of `hypnod replay --fault`. A row is as expected when the daemon says what it should;
in every scenario the epochs must come one after the other on one grid, and no message be lost.
Every other scenario has a hop of a quarter of the epoch, or all have the one given.

    python -m tests.rigs.chaos.run --species human 0 25
    python -m tests.rigs.chaos.run --hop 0.25
"""

import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from daemon.messages import Message, StageMessage, StreamMessage
from daemon.stager import hops_per_epoch
from engines.bundle import Bundle, open_bundle
from models.spec import ModelSpec
from tests.rigs.chaos.rehearsal import Rehearsal, Says
from tools.shared.measure import describe_machine
from tools.shared.species import SpeciesOption

_BEFORE_S, _PACED_AT_S = 5.0, 24.0
"""Injected faults begin so long after the first epoch; clocks are set when the source has shown its
pace."""
_SETTLED_S = 3.0
HOPS = (1, 4)
"""Per epoch, of scenarios with even numbers and of those with odd ones."""
_OTHER_HOST = ("unshare", "--uts", "sh", "-c", 'hostname otherhost; exec "$@"', "sh")


@dataclass(frozen=True, slots=True)
class Step:
    """Something that was done, and what the daemon must say of it."""

    fault: str
    expected: str
    since: float
    """When, on the monotonic clock, s."""
    says: Says | None
    """Whether a message says it; None: no epoch may be masked."""


@dataclass(frozen=True, slots=True)
class Row:
    """What came of it."""

    fault: str
    expected: str
    seen: str
    seconds: float | None
    """From the fault to the message."""
    good: bool


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is done to one daemon."""

    steps: Callable[[Rehearsal], Iterator[Step]]
    faults: tuple[str, ...] = ()


def stalled(reason: str) -> Says:
    """Return the test for a STALLED for this reason."""
    return lambda m: isinstance(m, StreamMessage) and m.state == "STALLED" and reason in m.reason


def noted(reason: str) -> Says:
    """Return the test for a word about the stream."""
    return lambda m: isinstance(m, StreamMessage) and reason in m.reason


def staged(**fields: object) -> Says:
    """Return the test for a live estimate with these fields."""

    def says(message: Message) -> bool:
        live = isinstance(message, StageMessage) and message.kind == "live"
        return live and all(getattr(message, key) == value for key, value in fields.items())

    return says


def missing(spec: ModelSpec) -> Says:
    """Return the test for an epoch without samples."""
    reason = ", ".join(f"{modality} missing" for modality in spec.modalities)
    return staged(stage="UNKNOWN", reason=reason)


def _settle(rehearsal: Rehearsal) -> float:
    """Wait until epochs come, and return the time."""
    rehearsal.until(lambda _: rehearsal.staged_s() >= _SETTLED_S, 0.0)
    return time.monotonic()


def _killed(rehearsal: Rehearsal) -> Iterator[Step]:
    since = _settle(rehearsal)
    rehearsal.source.kill()
    yield Step("source killed", "STALLED", since, stalled("the connection was lost"))
    began = rehearsal.start().began
    yield Step("… started again, same source_id", "reconnected", began, noted("reconnected"))
    yield Step("… its next epoch", "staged", began, staged(pathway="mixed"))


def _unfit(rehearsal: Rehearsal) -> Iterator[Step]:
    _settle(rehearsal)
    rehearsal.source.kill()
    first, second = rehearsal.labels
    since = rehearsal.start(labels=(first, "ECG")).began
    said = stalled(f"a channel '{second}'")
    yield Step(f"restart without the {second}'s label", "STALLED", since, said)
    since = time.monotonic()
    yield Step("… the epochs meanwhile", "UNKNOWN", since, missing(rehearsal.spec))
    rehearsal.restart()
    yield Step("… back with it", "reconnected", rehearsal.source.began, noted("reconnected"))


def _another_host(rehearsal: Rehearsal) -> Iterator[Step]:
    _settle(rehearsal)
    rehearsal.source.kill()
    since = rehearsal.start(within=_OTHER_HOST).began
    yield Step("replacement on another host", "reconnected", since, noted("reconnected"))


def _rebooted(rehearsal: Rehearsal) -> Iterator[Step]:
    _settle(rehearsal)
    rehearsal.source.kill()
    back = 5 - round(time.monotonic())
    rehearsal.start(
        within=("unshare", "--time", "--monotonic", str(back), "--fork", "--kill-child")
    )
    since = time.monotonic()
    yield Step("computer rebooted, clock near 0", "reconnected", since, noted("reconnected"))
    yield Step("… its next epoch", "staged", since, staged(pathway="mixed"))


def _frozen(rehearsal: Rehearsal) -> Iterator[Step]:
    since = _settle(rehearsal)
    rehearsal.source.freeze()
    yield Step("source frozen (SIGSTOP)", "STALLED", since, stalled("connected, but no samples"))
    yield Step("… the epochs meanwhile", "UNKNOWN", since, missing(rehearsal.spec))
    since = time.monotonic()
    rehearsal.source.thaw()
    yield Step("… thaws, sends all at once", "staged", since, staged(pathway="mixed"))


def _twins(rehearsal: Rehearsal) -> Iterator[Step]:
    since = _settle(rehearsal)
    first = rehearsal.source
    second = rehearsal.start(source_id="other")
    yield Step("a second stream of the name", "no epoch masked", since, None)
    rehearsal.start(source_id="third")
    since = time.monotonic()
    first.kill()
    yield Step("… two left, the first gone", "STALLED", since, stalled("exactly one visible"))
    since = time.monotonic()
    second.kill()
    yield Step("… one left", "reconnected", since, noted("reconnected"))


def _daemon_stopped(rehearsal: Rehearsal) -> Iterator[Step]:
    since = _settle(rehearsal)
    rehearsal.daemon.process.send_signal(signal.SIGSTOP)
    rehearsal.listen(5.0)
    rehearsal.daemon.process.send_signal(signal.SIGCONT)
    yield Step("daemon stood still for 5 s", "no epoch masked", since, None)


def injected(fault: str, spec: str, expected: str, says: Says | None, at: float) -> Scenario:
    """Return the scenario of a fault in the source's samples, `at` s from their beginning on."""

    def steps(rehearsal: Rehearsal) -> Iterator[Step]:
        yield Step(fault, expected, rehearsal.source.began + at, says)

    return Scenario(steps, (spec.replace("@", f"@{at:g}"),))


def replaced(at: float, fault: str, kind: str, again: str = "") -> Scenario:
    """Return the scenario of a source that ends, and comes back after 2 s with a change.

    Args:
        at: when, s.
        fault: what it is.
        kind: as of `hypnod replay --fault`.
        again: what it is to come back so a second time.
    """
    ends = {fault: at} | ({again: 2 * at} if again else {})

    def steps(rehearsal: Rehearsal) -> Iterator[Step]:
        for what, end in ends.items():
            since = rehearsal.source.began + end + 2
            yield Step(what, "reconnected, same grid", since, noted("reconnected"))
            yield Step("… its next epoch", "staged", since, staged(pathway="mixed"))

    return Scenario(steps, tuple(f"{kind}@{end:g}+2" for end in ends.values()))


def scenarios(spec: ModelSpec) -> tuple[Scenario, ...]:
    """Return all of them, of faults as long as a model's epochs need to show them."""
    return (*_of_sources(spec), *_of_samples(spec), *_of_clocks(spec), *_of_signals(spec))


def _begin(spec: ModelSpec) -> float:
    """Return when injected faults begin, s."""
    return spec.epoch_s + _BEFORE_S


def _of_sources(spec: ModelSpec) -> Iterator[Scenario]:
    at = _begin(spec)
    yield Scenario(_killed)
    yield replaced(at, "restart without a source_id", "no-id", "… and again, as neither had one")
    yield replaced(at, "restart at another rate", "new-rate=1000")
    yield replaced(at, "restart with another order", "new-order")
    yield replaced(at, "restart with more channels", "more-channels")
    for steps in (_unfit, _another_host, _rebooted, _frozen, _twins, _daemon_stopped):
        yield Scenario(steps)


def _of_samples(spec: ModelSpec) -> Iterator[Scenario]:
    at, unseen = _begin(spec), "no epoch masked"
    in_parts = spec.relative is not None and spec.relative.n_parts > 1
    lost_s = 1.5 * spec.epoch_s if in_parts else 3.0  # most of an epoch, wherever it begins
    reordered_s = 2 * lost_s if in_parts else 0.4  # half of it is late; more than may be missing
    yield injected(
        f"samples lost for {lost_s:g} s", f"gap@+{lost_s:g}", "UNKNOWN", missing(spec), at
    )
    yield injected("outlet closed for 1 s", "drop@+1", "reconnected", noted("reconnected"), at)
    paced = max(_PACED_AT_S, at)
    yield injected("restart, stamped anew from 10 s", "reboot@+2", "same grid", noted("set"), paced)
    yield injected("samples repeated", "duplicate@+1", unseen, None, at)
    yield injected(
        "samples in the wrong order", f"reorder@+{reordered_s:g}", "UNKNOWN", missing(spec), at
    )
    yield injected("bunches of 15 ms", "bunch=0.015@+60", unseen, None, at)
    yield injected("bunches of 100 ms", "bunch=0.1@+90", "says what to set", noted("would do"), at)
    yield injected("jitter of 4 ms (SD)", "jitter=0.004@+60", unseen, None, at)
    yield injected("drift of 200 ppm", "drift=200@", unseen, None, at)


def _of_clocks(spec: ModelSpec) -> Iterator[Scenario]:
    for jump, by in (("+2 s", 2), ("−2 s", -2), ("+1 year", 3e7), ("−1 year", -3e7)):
        at = max(_PACED_AT_S, _begin(spec))
        yield injected(
            f"clock set by {jump}", f"clock-jump={by}@", "same grid", noted("was set"), at
        )


def _of_signals(spec: ModelSpec) -> Iterator[Scenario]:
    at, long = _begin(spec), 4 * spec.epoch_s
    second = spec.modalities[1]
    alone = "eeg" if "eeg" in spec.pathways else "mixed"
    for what, fault, reason in (
        ("is NaN", f"nan@+{long:g}", "not_finite"),
        ("is infinite", f"inf@+{long:g}", "not_finite"),
        ("is flat", f"flat@+{long:g}", "flat"),
        ("is clipped", f"clip=1@+{long:g}", "clipped"),
        ("has mains hum", f"mains@+{long:g}", "mains"),
        ("electrode is off", f"electrode-off@+{2.5 * long:g}", "mains"),
    ):
        says = staged(pathway=alone, validity={"eeg": "ok", second: reason})
        label = second.upper()
        yield injected(f"{label} {what}", f"{fault}:{label}", "EEG alone", says, at)
    says = staged(stage="UNKNOWN")
    yield injected("all channels are NaN", f"nan@+{long:g}", "UNKNOWN", says, at)


def run(scenario: Scenario, folder: Path, bundle: Bundle, hops: int) -> Iterator[Row]:
    """Do what a scenario says, with so many hops an epoch, and yield what comes of it."""
    hop_s = bundle.spec.epoch_s / hops
    with Rehearsal(folder, bundle, scenario.faults, hop_s) as rehearsal:
        for step in scenario.steps(rehearsal):
            yield _look(rehearsal, step)
        rehearsal.listen(1.5 + bundle.spec.epoch_s)
        problem = rehearsal.grid_problem()
        if problem:
            yield Row("… the record", "every epoch once, on its grid", problem, None, good=False)


def _look(rehearsal: Rehearsal, step: Step) -> Row:
    if step.says is None:
        quiet_s = _begin(rehearsal.spec)
        rehearsal.listen(max(0.0, step.since + quiet_s - time.monotonic()))
        masked = [m.epoch for m in rehearsal.live(step.since) if m.pathway != "mixed"]
        seen = f"epochs {masked} masked" if masked else "no epoch masked"
        return Row(step.fault, step.expected, seen, None, good=not masked)
    found = rehearsal.until(step.says, step.since)
    if found is None:
        return Row(step.fault, step.expected, "nothing", None, good=False)
    seconds = found.monotonic - step.since
    return Row(step.fault, step.expected, _describe(found.message), seconds, good=True)


def _describe(message: Message) -> str:
    if isinstance(message, StageMessage):
        bad = ", ".join(f"{m} {why}" for m, why in message.validity.items() if why != "ok")
        told = "UNKNOWN" if message.pathway is None else f"staged from {message.pathway}"
        return f"{told}: {bad}" if bad else told
    return f"{message.state}: {message.reason}" if isinstance(message, StreamMessage) else ""


def choose(numbers: Sequence[str], n: int) -> list[int]:
    """Return which of n scenarios are to run, without a number all; end where there is none."""
    known = [str(k) for k in range(n)]
    for number in numbers:
        if number not in known:
            sys.exit(f"expected numbers of scenarios, 0 to {known[-1]}, found {number!r}")
    return sorted({int(number) for number in numbers or known})


def main(
    numbers: Annotated[list[str] | None, typer.Argument(help="Which; default: all.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Default: the one shipped.")] = None,
    species: SpeciesOption = None,
    hop: Annotated[
        float | None,
        typer.Option(help="From one estimate to the next, s; default: the epoch and a quarter."),
    ] = None,
) -> None:
    """Run every scenario, or those of the numbers given, and print a table."""
    opened = open_bundle(bundle, species)
    every = HOPS if hop is None else (hops_per_epoch(hop, opened.spec, "--hop"),)
    planned = scenarios(opened.spec)
    chosen = choose(numbers or (), len(planned))
    console, machine = Console(soft_wrap=True, highlight=False), describe_machine()
    console.print(
        f"Measured {datetime.now(UTC):%Y-%m-%d} on {machine.processor}, Python {machine.python}; "
        "seconds from the fault to the message.\n"
    )
    console.print("| fault | expected | seen | s |\n|---|---|---|---|")
    bad = 0
    with tempfile.TemporaryDirectory(prefix="hypnod-chaos-") as scratch:
        for k in chosen:
            for row in run(planned[k], Path(scratch) / str(k), opened, every[k % len(every)]):
                bad += not row.good
                took = "" if row.seconds is None else f"{row.seconds:.2f}"
                seen = row.seen if row.good else f"**{row.seen}**"
                console.print(f"| {row.fault} | {row.expected} | {seen} | {took} |", markup=False)
    console.print(f"\n{bad} not as expected" if bad else "\nall as expected")
    sys.exit(bad > 0)


if __name__ == "__main__":
    typer.run(main)
