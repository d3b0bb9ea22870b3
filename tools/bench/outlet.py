"""A source for `hypnod bench`: LSL streams pushed in real time by a process of its own.

`python -m tools.bench.outlet SPEC` pushes the streams of a JSON `OutletSpec`, when somebody reads
them all, and prints a line of JSON `Pushed` at the end, which comes after `seconds` or when its
standard input is closed.
"""

import select
import sys
from typing import Any

import msgspec
import numpy as np

from daemon.lsl.library import load_pylsl
from models.simulator.simulate import SimulatedRecording, simulate_recording

_SIMULATED_S = 16
_WAIT_S = 30.0


class OutletSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to push."""

    names: tuple[str, ...]
    """Of the streams; their chunks alternate at equal distances, so that no two coincide."""
    n_subjects: int
    """In each stream: channels EEG1, EMG1, EEG2, …"""
    sfreq: float
    """Hz."""
    chunk: int
    """Samples pushed at once."""
    seconds: float
    """Length, s."""


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """When what was pushed, on this machine's LSL clock, which is Linux's monotonic clock."""

    t0: dict[str, float]
    """Timestamp of the first sample of each stream, s."""
    times: dict[str, list[float]]
    """When each chunk of each stream was handed to LSL, s."""


def main() -> None:
    """Push until the end, or until standard input is closed."""
    spec = msgspec.json.decode(sys.argv[1], type=OutletSpec)
    recording = simulate_recording(
        seed=0, duration_s=_SIMULATED_S, sfreq=spec.sfreq, n_subjects=spec.n_subjects
    )
    outlets = [_open(name, spec, recording) for name in spec.names]
    for outlet in outlets:
        if not outlet.wait_for_consumers(_WAIT_S):
            sys.exit("expected a reader of every stream, found none")
    pushed = _push(spec, recording, outlets)
    sys.stdout.write(msgspec.json.encode(pushed).decode() + "\n")
    sys.stdout.flush()
    sys.stdin.read()  # the streams stay until nobody needs them


def _push(spec: OutletSpec, recording: SimulatedRecording, outlets: list[Any]) -> Pushed:
    """Push every chunk when its last sample is due."""
    clock = load_pylsl().local_clock
    chunk_s = spec.chunk / spec.sfreq
    began = clock() + chunk_s
    t0 = [began + i * chunk_s / len(outlets) for i in range(len(outlets))]
    times: list[list[float]] = [[] for _ in outlets]
    for k in range(round(spec.seconds / chunk_s)):
        at = np.arange(k * spec.chunk, (k + 1) * spec.chunk)
        data = recording.data[at % len(recording.data)]
        for i, outlet in enumerate(outlets):
            if _closed(t0[i] + (k + 1) * chunk_s - clock()):
                return _summary(spec, t0, times)
            times[i].append(clock())
            outlet.push_chunk(data, (t0[i] + at / spec.sfreq).tolist())
    return _summary(spec, t0, times)


def _closed(wait_s: float) -> bool:
    """Wait; return early, and say so, when standard input is closed."""
    return bool(select.select([sys.stdin], [], [], max(0.0, wait_s))[0])


def _summary(spec: OutletSpec, t0: list[float], times: list[list[float]]) -> Pushed:
    return Pushed(
        t0=dict(zip(spec.names, t0, strict=True)),
        times=dict(zip(spec.names, times, strict=True)),
    )


def _open(name: str, spec: OutletSpec, recording: SimulatedRecording) -> Any:
    lsl = load_pylsl()
    n_channels = len(recording.ch_names)
    info = lsl.StreamInfo(name, "EEG", n_channels, spec.sfreq, "float32", f"hypnod-bench-{name}")
    info.set_channel_labels(list(recording.ch_names))
    info.set_channel_units(["microvolts"] * n_channels)
    return lsl.StreamOutlet(info)


if __name__ == "__main__":
    main()
