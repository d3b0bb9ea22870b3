"""A source for `make chaos`: a simulated mouse, in real time, in a process of its own.

`python -m tests.rigs.chaos.source SPEC` pushes what a JSON `SourceSpec` says until it is killed,
and first prints when it began.
"""

import json
import sys
import threading

import msgspec
import numpy as np

from daemon.lsl.library import load_pylsl
from models.simulator.simulate import simulate_recording
from tools.replay.fault_plan import parse_plan
from tools.replay.faults import Injector, Samples
from tools.replay.outlets import OpenOutlets, first_outlet

_SIMULATED_S = 16
_CHUNK_S = 0.03
_SFREQ = 512.0
_CHANNELS = ("EEG", "EMG")


class SourceSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to push."""

    name: str
    """Of the stream."""
    source_id: str
    """Of the stream; empty: none."""
    labels: tuple[str, ...] = _CHANNELS
    """Of the channels; what is neither EEG nor EMG is noise."""
    faults: tuple[str, ...] = ()
    """As of `hypnod replay --fault`."""


class _Source:
    def __init__(self, spec: SourceSpec) -> None:
        mouse = simulate_recording(seed=1, duration_s=_SIMULATED_S, sfreq=_SFREQ, n_subjects=1).data
        noise = np.random.default_rng(2).normal(0.0, 20.0, len(mouse))
        known = dict(zip(_CHANNELS, mouse.T, strict=True))
        columns = [known.get(label, noise) for label in spec.labels]
        self._data = np.stack(columns, axis=1).astype(np.float32)
        units = ["microvolts"] * len(spec.labels)
        first = first_outlet(spec.labels, units, _SFREQ, spec.source_id)
        self._injector = Injector(parse_plan(spec.faults, seed=0), first)
        self._outlets = OpenOutlets(spec.name)
        self._outlets.become([first])

    def run(self) -> None:
        """Push every chunk when its last sample is due, stamped with its time, for ever."""
        n, clock = round(_CHUNK_S * _SFREQ), load_pylsl().local_clock
        began = clock()
        sys.stdout.write(json.dumps(began) + "\n")
        sys.stdout.flush()
        wait, at = threading.Event(), 0
        while True:
            wait.wait(max(0.0, began + (at + n) / _SFREQ - clock()))
            rows = np.arange(at, at + n)
            for each in self._injector.push(self._data[rows % len(self._data)], rows / _SFREQ):
                if isinstance(each, Samples):
                    self._outlets.push(each.data, each.stamps, began)
                else:
                    self._outlets.become(each.outlets)
            at += n


if __name__ == "__main__":
    _Source(msgspec.json.decode(sys.argv[1], type=SourceSpec)).run()
