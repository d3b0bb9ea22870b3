"""`hypnod demo --web`: the live page of simulated subjects, of whom not all are well."""

import json
import os
import subprocess
import time
import webbrowser
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

import hypnod
from daemon.lsl.library import load_pylsl
from tools.daemon_process import ChildError, DaemonProcess, confined_lsl, write_config
from tools.demo.scenes import Scene
from tools.replay.process import ReplayProcess

_UNPLUGGED, _DRIFTING = 3, 6
_PAST = 1 / 3
"""So much of the recording is played as fast as can be: a page without a past shows little."""
_PAST_WELL = 0.8  # of that, until one is unplugged
_HUM_UV = 40  # of mains on the EEG of the one that drifts: less than makes its epochs artefacts
_HURRIES = 2
"""The first one takes a while, which the second one makes good: then a few seconds are missing."""
_POLL_S = 0.1
REPORT = "hypnod-demo.html"
"""Where the morning's report of it goes."""
_DARK_MIN = 10


class _Playing:
    """Plays a recording: a part of it as what was before, as fast as can be, then in real time.

    Args:
        recording: what is played.
        stream: the name that it is played under.
        environ: confines LSL.
        daemon: who stages it.
        faults: of `hypnod replay`, by where it starts in the recording, s.
    """

    def __init__(
        self,
        recording: Path,
        stream: str,
        environ: Mapping[str, str],
        daemon: DaemonProcess,
        faults: Callable[[float], list[str]],
    ) -> None:
        self._recording, self._stream, self._faults = recording, stream, faults
        self._environ, self._daemon = environ, daemon

    def play(self, past_s: float) -> None:
        """Play it to its end."""
        clock = load_pylsl().local_clock
        zero = clock() - past_s  # the time of its first sample
        at = 0.0
        for _ in range(_HURRIES):
            behind_s = clock() - zero - at
            self._play("max", zero + at, at, "--duration", behind_s)
            at += behind_s
        self._play("1", clock(), at)

    def _play(self, speed: str, t0: float, start_s: float, *more: object) -> None:
        faults = [part for fault in self._faults(start_s) for part in ("--fault", fault)]
        options = ("--name", self._stream, "--speed", speed, "--t0", t0, "--start", start_s)
        arguments = (self._recording, *options, *faults, *more)
        with ReplayProcess(*arguments, environ=self._environ) as replay:
            while replay.is_playing:
                self._daemon.check_alive()
                time.sleep(_POLL_S)


def show_page(
    recording: Path,
    stream: str,
    config: Mapping[str, Any],
    folder: Path,
    minutes: float,
    scene: Scene,
) -> None:
    """Stage a recording and serve the page of it, until it is over or Ctrl-C; then report on it.

    Args:
        recording: is played.
        stream: name of the LSL stream that it is played as.
        config: of the daemon.
        folder: for the journal and so on.
        minutes: length of the recording.
        scene: what is shown.

    Raises:
        ChildError: a process that this starts does not do its part.
    """
    file = write_config(folder, {**config, "triggers": [scene.rule], "day": _day()})
    environ = confined_lsl(folder)
    past_s = 60 * minutes * _PAST
    channels = [subject["channels"] for subject in config["streams"][0]["subjects"]]
    console = Console(highlight=False)
    with ExitStack() as stack:
        stack.enter_context(suppress(KeyboardInterrupt))
        daemon = stack.enter_context(DaemonProcess(file, environ))
        daemon.wait_ready()
        url = stack.enter_context(_serving(file, daemon))
        console.print(f"{url}  (Ctrl-C ends, and writes the report: {REPORT})")
        if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
            webbrowser.open(url)
        faults = partial(_faults, past_s, channels)
        _Playing(recording, stream, environ, daemon, faults).play(past_s)
        console.print("the recording is over")
    _report(folder / "journal.sqlite", console)


def _report(journal: Path, console: Console) -> None:
    """Write the morning's report of what was staged."""
    command = hypnod.command("night", str(journal), "--session", "last", "--html", REPORT)
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own command
    console.print(f"report: {REPORT}" if done.returncode == 0 else done.stderr.strip())


def _faults(past_s: float, channels: Sequence[Mapping[str, str]], start_s: float) -> list[str]:
    """Return what is wrong with two of the subjects, where there are so many.

    Args:
        past_s: of the recording is the past.
        channels: labels of each subject's, by modality.
        start_s: where it is played from, which the times of faults count from.
    """
    off = f"electrode-off@{max(0.0, past_s * _PAST_WELL - start_s):.0f}+1e6"
    faults = []
    if len(channels) >= _UNPLUGGED:
        faults += [f"{off}:{label}" for label in channels[_UNPLUGGED - 1].values()]
    if len(channels) >= _DRIFTING:
        faults.append(f"mains={_HUM_UV}@0+1e6:{channels[_DRIFTING - 1]['eeg']}")
    return faults


def _day() -> dict[str, str]:
    """Return lights that went off a few minutes ago, so that both are on the page."""
    off = datetime.now().astimezone() - timedelta(minutes=_DARK_MIN)
    on = off - timedelta(hours=12)
    return {"lights_on": f"{on:%H:%M}", "lights_off": f"{off:%H:%M}"}


@contextmanager
def _serving(config: Path, daemon: DaemonProcess) -> Iterator[str]:
    """Run `hypnod web` for a daemon; yield the address of the page.

    Raises:
        ChildError: it does not serve.
    """
    where = ("--connect", daemon.endpoint, "--catch-up", daemon.catch_up)
    command = hypnod.command("web", "--config", str(config), *where, "--port", "0", "--json")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603  our own command
        try:
            said = server.stdout.readline() if server.stdout is not None else ""
            if not said:
                code = server.wait()
                raise ChildError(f"expected hypnod web to serve, found exit code {code}")
            yield json.loads(said)["url"]
        finally:
            server.terminate()
