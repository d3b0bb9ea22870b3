"""An LSL source in a process of its own; see `tests.rigs.lsl.Source`, which drives it.

It says in a line of JSON what it opened. Then it obeys one command a line on stdin, with one reply
a line on stdout; or it plays a simulated subject with faults, in real time. It ends with its stdin.
"""

import json
import select
import sys
from typing import Any

import numpy as np
import pylsl

_SIMULATED_S = 16
_CHUNK_S = 0.03


def _open(spec: dict[str, Any], name: str) -> pylsl.StreamOutlet:
    info = pylsl.StreamInfo(
        name,
        spec["type"],
        spec["n_channels"],
        spec["sfreq"],
        spec["format"],
        spec["source_id"],
    )
    if spec["labels"] is not None:
        info.set_channel_labels(spec["labels"])
    if spec["units"] is not None:
        info.set_channel_units(spec["units"])
    return pylsl.StreamOutlet(info, 0, 360)


def _samples(command: dict[str, Any], spec: dict[str, Any]) -> Any:
    """Return the samples of a push: as given, else the sample number + 1000 x channel."""
    if spec["format"] == "string":
        return [["text"] * spec["n_channels"]] * len(command["timestamps"])
    dtype = np.dtype({"double64": "float64"}.get(spec["format"], spec["format"]))
    if command["data"] is not None:
        return np.array(command["data"], dtype)
    number = command["first"] + np.arange(len(command["timestamps"]))
    return (number[:, None] + 1000 * np.arange(spec["n_channels"])).astype(dtype)


def _reply(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _obey(spec: dict[str, Any]) -> None:
    outlets = [_open(spec, name) for name in (spec["name"], *spec["twins"])]
    _reply({"uid": outlets[0].get_info().uid()})
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "push":
            for outlet in outlets:
                outlet.push_chunk(_samples(command, spec), command["timestamps"])
            reply: object = len(command["timestamps"])
        elif command["do"] == "wait_for_consumers":
            reply = all(outlet.wait_for_consumers(command["timeout"]) for outlet in outlets)
        elif command["do"] == "have_consumers":
            reply = outlets[0].have_consumers()
        else:
            reply = pylsl.local_clock()
        _reply(reply)


def _play(spec: dict[str, Any]) -> None:
    """Push every chunk when its last sample is due, stamped with its time, for ever."""
    # Here, not above: they take seconds to import, and most sources need them not.
    from models.simulator.species import SIMULATORS  # noqa: PLC0415
    from tools.replay.fault_plan import parse_plan  # noqa: PLC0415
    from tools.replay.faults import Injector, Samples  # noqa: PLC0415
    from tools.replay.outlets import OpenOutlets, first_outlet  # noqa: PLC0415

    labels, sfreq = spec["labels"], spec["sfreq"]
    who = SIMULATORS[spec["species"]]
    (one,) = who(seed=1, duration_s=_SIMULATED_S, sfreq=sfreq).subjects()
    noise = np.random.default_rng(2).normal(0.0, 20.0, len(one.data))
    known = {m.upper(): x for m, x in zip(one.modalities, one.data.T, strict=True)}
    data = np.stack([known.get(label, noise) for label in labels], axis=1).astype(np.float32)
    first = first_outlet(labels, [spec["units"]] * len(labels), sfreq, spec["source_id"])
    injector, outlets = (
        Injector(parse_plan(spec["faults"], seed=0), first),
        OpenOutlets(spec["name"]),
    )
    outlets.become([first])
    n, at, began = round(_CHUNK_S * sfreq), 0, pylsl.local_clock()
    _reply({"began": began})
    while not _closed(began + (at + n) / sfreq - pylsl.local_clock()):
        rows = np.arange(at, at + n)
        for each in injector.push(data[rows % len(data)], rows / sfreq):
            if isinstance(each, Samples):
                outlets.push(each.data, each.stamps, began)
            else:
                outlets.become(each.outlets)
        at += n


def _closed(wait_s: float) -> bool:
    """Wait; return early, and say so, when stdin is closed."""
    return bool(select.select([sys.stdin], [], [], max(0.0, wait_s))[0])


if __name__ == "__main__":
    described = json.loads(sys.argv[1])
    (_obey if described["faults"] is None else _play)(described)
