"""What shall go wrong in a played stream, so that users can rehearse their rig.

A fault is `KIND[=AMOUNT][@START[+DURATION]][:CHANNEL]`, times in seconds of recording time:
`gap@600+12`, `electrode-off@600+600:EMG`, `clock-jump=-2@3600`, `new-rate=1000@900`;
`storm=20/h` draws so many an hour. Everything is a function of the samples' times and the seed:
the same arguments give the same stream.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.errors import HypnodError


class FaultError(HypnodError):
    """A fault that cannot be read, or a channel that is not there."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class FaultKind:
    """What can go wrong."""

    about: str
    """For the help."""
    duration: float = math.inf
    """Unless told otherwise, s."""
    amount: float = 0.0
    """Unless told otherwise."""
    least: float = -math.inf
    """Amount allowed."""
    most: float = math.inf
    """Amount allowed."""


KINDS = {
    "gap": FaultKind("no samples", 5.0),
    "drop": FaultKind("the stream ends and comes back", 10.0),
    "freeze": FaultKind("no samples, then all of them at once", 5.0),
    "duplicate": FaultKind("sent twice", 1.0),
    "reorder": FaultKind("second half sent before the first", 1.0),
    "bunch": FaultKind("timestamps in bunches of =0.1 s", 60.0, 0.1, 0.001),
    "jitter": FaultKind("timestamps off by =0.005 s (SD)", 60.0, 0.005),
    "clock-jump": FaultKind("timestamps jump by =2 s", amount=2.0),
    "drift": FaultKind("the clock gains =200 ppm", amount=200.0),
    "nan": FaultKind("samples are NaN", 5.0),
    "inf": FaultKind("samples are infinite", 5.0),
    "flat": FaultKind("samples are 0", 30.0),
    "clip": FaultKind("samples end at ±=30 µV", 30.0, 30.0),
    "mains": FaultKind("=1000 µV of 50 Hz on top", 30.0, 1000.0),
    "electrode-off": FaultKind("=300 µV of 50 Hz and nothing else", 600.0, 300.0),
    "no-id": FaultKind("comes back without a source_id", 10.0),
    "new-rate": FaultKind("comes back at =1000 Hz", 10.0, 1000.0, 1.0, 1e5),
    "new-order": FaultKind("comes back with its channels in reverse order", 10.0),
    "more-channels": FaultKind("comes back with one channel more, before the others", 10.0),
    "reboot": FaultKind("comes back with timestamps that begin anew, at 10 s", 10.0),
    "twin": FaultKind("a second stream of the same name", 60.0),
}
# What a fault acts on: the values; when samples are sent; the outlets, for good or for a while.
SIGNAL = ("nan", "inf", "flat", "clip", "mains", "electrode-off")
HELD = ("freeze", "duplicate", "reorder")
DELIVERY = ("gap", *HELD)
REPLACING = ("no-id", "new-rate", "new-order", "more-channels", "reboot")
OUTLETS = ("drop", "twin", *REPLACING)
STORM = tuple(name for name in KINDS if name not in (*REPLACING, "twin"))
"""What a storm draws from: nothing in it changes a stream for good."""
_SPEC = re.compile(
    r"(?P<kind>[a-z-]+)(?:=(?P<amount>[-+.\de]+))?"
    r"(?:@(?P<start>[.\de]+)(?:\+(?P<duration>[.\de]+))?)?(?::(?P<channel>.+))?"
)
_STORM = re.compile(r"storm=(?P<rate>[.\d]+)/h")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    kind: str
    """A key of KINDS."""
    start: float
    """Recording time since the start, s."""
    duration: float
    """s."""
    amount: float
    """In the kind's unit."""
    channel: str = ""
    """Label, or part of it; empty: all channels."""

    @property
    def end(self) -> float:
        """When it is over, s."""
        return self.start + self.duration

    def covers(self, times: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell for each time whether it lasts then."""
        return np.asarray((times >= self.start) & (times < self.end), np.bool_)

    def as_json(self) -> dict[str, object]:
        """Return it for a summary; a fault without end has no duration."""
        endless = math.isinf(self.duration)
        return {**asdict(self), "duration": None if endless else self.duration}


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """All that shall go wrong."""

    faults: tuple[Fault, ...] = ()
    storm_per_h: float = 0.0
    seed: int = 0


def parse_plan(specs: Sequence[str], seed: int) -> FaultPlan:
    """Return the plan in the arguments of `--fault`.

    Raises:
        FaultError: one of them is no fault.
    """
    storms = [match for spec in specs if (match := _STORM.fullmatch(spec))]
    faults = [parse_fault(spec) for spec in specs if not _STORM.fullmatch(spec)]
    return FaultPlan(tuple(faults), sum(_number(match["rate"], match[0]) for match in storms), seed)


def parse_fault(spec: str) -> Fault:
    """Return the fault in a text such as `flat@600+30:EMG`; raises FaultError."""
    match = _SPEC.fullmatch(spec)
    if match is None or match["kind"] not in KINDS:
        raise FaultError(
            f"--fault: expected KIND[=AMOUNT][@START[+DURATION]][:CHANNEL] with one of "
            f"{', '.join(KINDS)}, or storm=N/h, found {spec!r}"
        )
    kind = KINDS[match["kind"]]
    if match["channel"] and match["kind"] not in SIGNAL:
        raise FaultError(f"--fault: expected no channel for a {match['kind']}, found {spec!r}")
    fault = Fault(
        match["kind"],
        _number(match["start"] or "0", spec),
        _number(match["duration"], spec) if match["duration"] else kind.duration,
        _number(match["amount"], spec) if match["amount"] else kind.amount,
        match["channel"] or "",
    )
    if not kind.least <= fault.amount <= kind.most:
        raise FaultError(
            f"--fault: expected {fault.kind}=AMOUNT from {kind.least:g} to {kind.most:g}, "
            f"found {spec!r}"
        )
    return fault


def _number(text: str, spec: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise FaultError(f"--fault: expected a number, found {text!r} in {spec!r}")
    return number


def draw_storm(plan: FaultPlan, hour: int, ch_names: Sequence[str]) -> list[Fault]:
    """Return the faults of a storm in one hour: as many, as long and where chance has it."""
    rng = np.random.default_rng([plan.seed, hour])
    faults = []
    for _ in range(rng.poisson(plan.storm_per_h)):
        name = str(rng.choice(STORM))
        kind = KINDS[name]
        long = min(kind.duration, 60.0) * float(rng.uniform(0.2, 2.0))
        fault = Fault(name, 3600.0 * (hour + float(rng.random())), long, kind.amount)
        if name == "clock-jump":
            fault = replace(fault, amount=float(rng.choice([-2.0, 2.0])))
        elif name in SIGNAL:
            fault = replace(fault, channel=str(rng.choice(list(ch_names))))
        faults.append(fault)
    return faults
