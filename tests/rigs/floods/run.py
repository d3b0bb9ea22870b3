"""`make floods`: does a live message come as soon while clients do their worst?

Four streams are staged in real time; each flood runs against the daemon for a while, from a process
of its own, and another subscriber takes the time of every live message, from the end of its epoch
by the source's clock. A flood passes when the 99th percentile stays within 5 ms of the quiet one.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console

from daemon.messages import StageMessage
from models.simulator.mouse.simulate import SimulatedMice
from tests.rigs.floods.attack import KINDS
from tests.support.paths import ROOT
from tools.client.subscriber import Subscriber
from tools.daemon_process import DaemonProcess, confined_lsl, write_config
from tools.replay.process import ReplayProcess
from tools.shared.measure import Percentiles, describe_machine, percentiles
from tools.simulate import write_edf

WITHIN_MS = 5.0
_N_STREAMS, _SFREQ, _HOP_S = 4, 512.0, 0.125
_SETTLE_S = 2.0


def measure(seconds: float, kinds: list[str], folder: Path) -> Iterator[tuple[str, Percentiles]]:
    """Yield the times of live messages, ms: quiet, then under each flood."""
    environ = confined_lsl(folder)
    write_edf(
        folder / "mouse.edf",
        SimulatedMice(seed=0, duration_s=16, sfreq=_SFREQ, n_subjects=1).subjects(),
        _SFREQ,
        1,
    )
    names = [f"cage{k}" for k in range(1, _N_STREAMS + 1)]
    streams = [
        {
            "name": name,
            "match": {"name": name},
            "subjects": [{"name": f"m-{name}", "channels": {"eeg": "EEG1", "emg": "EMG1"}}],
        }
        for name in names
    ]
    config = write_config(folder, {"streams": streams, "staging": {"hop_s": _HOP_S}})
    with ExitStack() as stack:
        daemon = stack.enter_context(DaemonProcess(config, environ))
        daemon.wait_ready()
        for name in names:
            stack.enter_context(
                ReplayProcess(
                    folder / "mouse.edf", "--name", name, "--loop", "--chunk", "32", environ=environ
                )
            )
        subscriber = stack.enter_context(Subscriber(daemon.endpoint, ["stage."]))
        while not _live(subscriber, 1.0):
            daemon.check_alive()
        for kind in ("quiet", *kinds, "quiet again"):
            with _attack(kind, daemon):
                _live(subscriber, _SETTLE_S)
                found = percentiles(_live(subscriber, seconds))
                assert found is not None, f"no live message under {kind}"
                yield kind, found
        refused = [
            line
            for line in daemon.get("/metrics")[1].splitlines()
            if line.startswith("hypnod_refused")
        ]
        sys.stderr.write("\n".join(refused) + "\n")


@contextmanager
def _attack(kind: str, daemon: DaemonProcess) -> Iterator[None]:
    if kind not in KINDS:
        yield
        return
    command = [sys.executable, "-m", "tests.rigs.floods.attack", kind]
    ends = [daemon.endpoint, daemon.catch_up, daemon.url]
    with subprocess.Popen([*command, *ends], cwd=ROOT, env=os.environ) as process:
        try:
            yield
        finally:
            process.kill()


def _live(subscriber: Subscriber, seconds: float) -> list[float]:
    """Return how long the live messages of some time took, s."""
    found, end = [], time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        for received in subscriber.receive(min(left, 0.2)):
            message = received.message
            if (
                isinstance(message, StageMessage)
                and message.kind == "live"
                and message.age_s is not None
            ):
                found.append(received.monotonic - message.onset - message.epoch_s)
    return found


def main() -> None:
    """Flood a daemon in every way, or in those that are named, and print a table."""
    kinds = sys.argv[1:] or list(KINDS)
    console = Console(soft_wrap=True, highlight=False)
    machine = describe_machine()
    console.print(
        f"{machine.processor}, {machine.cores} cores; {_N_STREAMS} streams; live messages, ms"
    )
    quiet, good = None, True
    with tempfile.TemporaryDirectory(prefix="hypnod-floods-") as scratch:
        for kind, found in measure(
            float(os.environ.get("SECONDS_EACH", "20")), kinds, Path(scratch)
        ):
            quiet = quiet or found
            passed = found.p99 - quiet.p99 <= WITHIN_MS
            good &= passed
            console.print(
                f"{'✔' if passed else '✖'} {kind:15} p50 {found.p50:6.2f}  p95 {found.p95:6.2f}  "
                f"p99 {found.p99:6.2f}"
            )
    sys.exit(not good)


if __name__ == "__main__":
    main()
