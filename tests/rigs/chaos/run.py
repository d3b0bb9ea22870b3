"""`make chaos`: every fault of docs/faults.md against a real daemon, and how soon it says so.

Sources run in real time in processes of their own; they are killed, frozen, changed and fed with
the faults of `hypnod replay --fault`. A row is as expected when the daemon says what it should;
in every scenario the epochs must come one after the other on one grid, and no message be lost.
Every other scenario has a hop of a quarter of the epoch.
"""

import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from daemon.messages import Message, StageMessage, StreamMessage
from tests.rigs.chaos.rehearsal import Rehearsal, Says
from tools.shared.measure import describe_machine

AT_S, PACED_AT_S = 6, 24
"""When injected faults begin; clocks are set when the source has shown its pace."""
QUIET_S = 6.0
HOPS_S = (1.0, 0.25)
"""Of scenarios with even numbers and of those with odd ones."""
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


def without_emg(reason: str) -> Says:
    """Return the test for an epoch read from the EEG, as the EMG is bad."""
    return staged(pathway="eeg", validity={"eeg": "ok", "emg": reason})


def missing() -> Says:
    """Return the test for an epoch without samples."""
    return staged(stage="UNKNOWN", reason="eeg missing, emg missing")


def _settle(rehearsal: Rehearsal) -> float:
    """Wait until epochs come, and return the time."""
    rehearsal.until(lambda _: rehearsal.staged_s() >= AT_S // 2, 0.0)
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
    since = rehearsal.start(labels=("EEG", "ECG")).began
    yield Step("restart without the EMG's label", "STALLED", since, stalled("a channel 'EMG'"))
    since = time.monotonic()
    yield Step("… the epochs meanwhile", "UNKNOWN", since, missing())
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
    yield Step("… the epochs meanwhile", "UNKNOWN", since, missing())
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


def injected(fault: str, spec: str, expected: str, says: Says | None, at: float = AT_S) -> Scenario:
    """Return the scenario of a fault in the source's samples."""

    def steps(rehearsal: Rehearsal) -> Iterator[Step]:
        yield Step(fault, expected, rehearsal.source.began + at, says)

    return Scenario(steps, (spec.replace("@", f"@{at}"),))


def replaced(fault: str, kind: str, again: str = "") -> Scenario:
    """Return the scenario of a source that ends, and comes back after 2 s with a change.

    Args:
        fault: what it is.
        kind: as of `hypnod replay --fault`.
        again: what it is to come back so a second time.
    """
    ends = {fault: AT_S} | ({again: 2 * AT_S} if again else {})

    def steps(rehearsal: Rehearsal) -> Iterator[Step]:
        for what, at in ends.items():
            since = rehearsal.source.began + at + 2
            yield Step(what, "reconnected, same grid", since, noted("reconnected"))
            yield Step("… its next epoch", "staged", since, staged(pathway="mixed"))

    return Scenario(steps, tuple(f"{kind}@{at}+2" for at in ends.values()))


SCENARIOS = (
    Scenario(_killed),
    replaced("restart without a source_id", "no-id", "… and again, as neither had one"),
    replaced("restart at another rate", "new-rate=1000"),
    replaced("restart with another order", "new-order"),
    replaced("restart with more channels", "more-channels"),
    Scenario(_unfit),
    Scenario(_another_host),
    Scenario(_rebooted),
    Scenario(_frozen),
    Scenario(_twins),
    Scenario(_daemon_stopped),
    injected("samples lost for 3 s", "gap@+3", "UNKNOWN", missing()),
    injected("outlet closed for 1 s", "drop@+1", "reconnected", noted("reconnected")),
    injected("restart, stamped anew from 10 s", "reboot@+2", "same grid", noted("set"), PACED_AT_S),
    injected("samples repeated", "duplicate@+1", "no epoch masked", None),
    injected("samples in the wrong order", "reorder@+0.4", "UNKNOWN", missing()),
    injected("bunches of 15 ms", "bunch=0.015@+60", "no epoch masked", None),
    injected("bunches of 100 ms", "bunch=0.1@+90", "says what to set", noted("would do")),
    injected("jitter of 4 ms (SD)", "jitter=0.004@+60", "no epoch masked", None),
    injected("drift of 200 ppm", "drift=200@", "no epoch masked", None),
    *(
        injected(
            f"clock set by {jump}", f"clock-jump={by}@", "same grid", noted("was set"), PACED_AT_S
        )
        for jump, by in (("+2 s", 2), ("−2 s", -2), ("+1 year", 3e7), ("−1 year", -3e7))
    ),
    *(
        injected(f"EMG {what}", f"{spec}:EMG", "EEG alone", without_emg(reason))
        for what, spec, reason in (
            ("is NaN", "nan@+4", "not_finite"),
            ("is infinite", "inf@+4", "not_finite"),
            ("is flat", "flat@+4", "flat"),
            ("is clipped", "clip=1@+4", "clipped"),
            ("has mains hum", "mains@+4", "mains"),
            ("electrode is off", "electrode-off@+10", "mains"),
        )
    ),
    injected("all channels are NaN", "nan@+4", "UNKNOWN", staged(stage="UNKNOWN")),
)


def run(scenario: Scenario, folder: Path, hop_s: float) -> Iterator[Row]:
    """Do what a scenario says, and yield what comes of it."""
    with Rehearsal(folder, scenario.faults, hop_s) as rehearsal:
        for step in scenario.steps(rehearsal):
            yield _look(rehearsal, step)
        rehearsal.listen(2.5)
        problem = rehearsal.grid_problem()
        if problem:
            yield Row("… the record", "every epoch once, on its grid", problem, None, good=False)


def _look(rehearsal: Rehearsal, step: Step) -> Row:
    if step.says is None:
        rehearsal.listen(max(0.0, step.since + QUIET_S - time.monotonic()))
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


def choose(numbers: Sequence[str]) -> list[int]:
    """Return which scenarios are to run, without a number all of them; end where there is none."""
    known = [str(k) for k in range(len(SCENARIOS))]
    for number in numbers:
        if number not in known:
            sys.exit(f"expected numbers of scenarios, 0 to {known[-1]}, found {number!r}")
    return sorted({int(number) for number in numbers or known})


def main() -> None:
    """Run every scenario, or those of the numbers given, and print a table."""
    chosen = choose(sys.argv[1:])
    console, machine = Console(soft_wrap=True, highlight=False), describe_machine()
    console.print(
        f"Measured {datetime.now(UTC):%Y-%m-%d} on {machine.processor}, Python {machine.python}; "
        "seconds from the fault to the message.\n"
    )
    console.print("| fault | expected | seen | s |\n|---|---|---|---|")
    bad = 0
    with tempfile.TemporaryDirectory(prefix="hypnod-chaos-") as scratch:
        for k in chosen:
            for row in run(SCENARIOS[k], Path(scratch) / str(k), HOPS_S[k % 2]):
                bad += not row.good
                took = "" if row.seconds is None else f"{row.seconds:.2f}"
                seen = row.seen if row.good else f"**{row.seen}**"
                console.print(f"| {row.fault} | {row.expected} | {seen} | {took} |", markup=False)
    console.print(f"\n{bad} not as expected" if bad else "\nall as expected")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
