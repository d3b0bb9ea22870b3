"""An LSL outlet in a process of its own, driven by JSON lines; see tests/rigs/lsl.py.

One command a line on stdin, one reply a line on stdout. The process ends with its stdin.
"""

import json
import sys
from typing import Any

import numpy as np
import pylsl


def _open(spec: dict[str, Any]) -> pylsl.StreamOutlet:
    info = pylsl.StreamInfo(
        spec["name"],
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


def main() -> None:
    """Open the outlet described in the first argument and obey stdin."""
    spec = json.loads(sys.argv[1])
    outlet = _open(spec)
    _reply({"uid": outlet.get_info().uid()})
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "push":
            outlet.push_chunk(_samples(command, spec), command["timestamps"])
            reply: object = len(command["timestamps"])
        elif command["do"] == "wait_for_consumers":
            reply = outlet.wait_for_consumers(command["timeout"])
        elif command["do"] == "have_consumers":
            reply = outlet.have_consumers()
        else:
            reply = pylsl.local_clock()
        _reply(reply)


if __name__ == "__main__":
    main()
