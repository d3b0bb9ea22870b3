"""How long the pin of a board stays high after something went wrong.

    python -m tests.rigs.pin --repeats 3

brings about each cause right after an `on` with the whole time to live, with source, daemon and
`hypnod pulse` in processes of their own and a board on a pseudo-terminal, and writes the longest
into docs/closed-loop.md (6 minutes).
"""

import json
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, NamedTuple, Self

import numpy as np
import typer

from daemon.messages import StageMessage, TriggerMessage
from models.simulator.mouse.simulate import SimulatedMice
from tests.rigs.accuracy.page import table, write_sections
from tests.rigs.closed_loop import PAGE
from tests.rigs.daemon import Daemon, Listener, one_stream, write_config
from tests.rigs.forked import Forked
from tests.rigs.lsl import Source
from tests.support.bundles import TINY, make_bundle
from tools.bench.board import Board
from tools.daemon_process import confined_lsl
from tools.shared.measure import describe_machine

SFREQ = 512
RULE = """
[[triggers]]
name = "any"
stages = ["Wake", "NREM", "REM"]
probability = 0
usable = 0
max_age_s = 5
on_s = 3600
armed = "always"
"""
_TTL_S = 2.0
_STANDS_STILL_S = 16.0


class Rig(NamedTuple):
    """All three, `hypnod pulse` hearing the decisions of a daemon that stages already."""

    source: Source
    daemon: Daemon
    pulse: Forked
    board: Board


@contextmanager
def _pulsing(config: Path) -> Iterator[Forked]:
    """Run `hypnod pulse`, from when its outputs are open."""
    with Forked(["pulse", "--config", config], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            assert (ready["event"], ready["outputs"]) == ("ready", ["serial"])
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


@contextmanager
def running(
    source: Source, bundle: Path, folder: Path, rule: str = RULE, **stream: Any
) -> Iterator[Rig]:
    """Run all three.

    Args:
        source: of the stream.
        bundle, folder: see `write_config`.
        rule: TOML of the rule, and of other sections.
        stream: other keys of the stream.
    """
    with Board() as board:
        output = f'[[pulse]]\ndriver = "serial"\noptions = {{ port = "{board.port}" }}\n'
        more = f"{rule}{output}[journal]\npath = '{folder / 'journal.sqlite'}'\n"
        streams = one_stream(source.spec["name"], **stream)
        with Daemon(folder, streams, bundle, more=more) as daemon:
            daemon.listen()
            with Listener(daemon.endpoint, "trigger.") as subscriber:
                subscriber.next()
            (folder / "pulse").mkdir()
            config = write_config(
                folder / "pulse",
                streams,
                bundle,
                more=rule + output,
                bind=daemon.endpoint,
                catchup_bind=daemon.catch_up,
            )
            with _pulsing(config) as pulse:
                yield Rig(source, daemon, pulse, board)


def limit_files(daemon: Daemon, size: int | None) -> None:
    """Let the daemon's files grow up to a size: its journal cannot be written beyond."""
    _, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(
        daemon.process.pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard)
    )


class Player:
    """Plays a mouse in real time, until it is told to play something else.

    Args:
        source: what it is pushed to.
        more: other channels, at 0.

    Attributes:
        data: what is played, again and again (n_samples, n_channels).
    """

    def __init__(self, source: Source, more: int = 0) -> None:
        self._source = source
        mouse = SimulatedMice(seed=1, duration_s=16, sfreq=SFREQ, n_subjects=1).record().data
        self.data = np.concatenate([mouse, np.zeros((len(mouse), more))], axis=1)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def play_noise(self) -> None:
        """Play what no brain sends from now on."""
        self.data = np.random.default_rng(0).normal(0, 50, self.data.shape)

    def _run(self) -> None:
        n, at, began = SFREQ // 4, 0, self._source.clock()
        while not self._over.wait(max(0.0, began + (at + n) / SFREQ - self._source.clock())):
            self._source.push(n, data=self.data[np.arange(at, at + n) % len(self.data)].round(2))
            at += n

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def _send(process: Any, number: signal.Signals) -> None:
    process.send_signal(number)


CAUSES: dict[str, Callable[[Rig], object]] = {
    "daemon killed": lambda rig: rig.daemon.process.kill(),
    f"daemon stopped by SIGSTOP for {_STANDS_STILL_S:g} s": lambda rig: _send(
        rig.daemon.process, signal.SIGSTOP
    ),
    "source frozen": lambda rig: rig.source.freeze(),
    "source killed": lambda rig: rig.source.process.kill(),
    "outlet of the source closed": lambda rig: rig.source.close(),
    "no room on the disk for the journal": lambda rig: limit_files(rig.daemon, 4096),
    "`hypnod pulse` killed": lambda rig: rig.pulse.kill(),
    f"`hypnod pulse` stopped by SIGSTOP for {_STANDS_STILL_S:g} s": lambda rig: _send(
        rig.pulse, signal.SIGSTOP
    ),
}
_STOPPED = {
    name: cause for name, cause in CAUSES.items() if name.endswith(f"{_STANDS_STILL_S:g} s")
}


def high_after(rig: Rig, cause: Callable[[], object]) -> float:
    """Return for how long the pin stayed high after a cause that came right after an `on`, s."""
    assert rig.board.wait_for(high=True)
    with Listener(rig.daemon.endpoint, "trigger.") as subscriber:
        subscriber.until(_is_fresh_on)
        began = time.monotonic()
        cause()
    assert rig.board.wait_for(high=False)
    return rig.board.edges[-1][0] - began


def _is_fresh_on(message: object) -> bool:
    return (
        isinstance(message, TriggerMessage)
        and message.action == "on"
        and message.ttl_s >= _TTL_S - 1e-6
    )


def measure(name: str, bundle: Path, folder: Path) -> float:
    """Return for how long the pin stayed high after a cause, s; it must not rise by itself."""
    with (
        Source(f"pin-{folder.name}-{os.getpid()}", sfreq=SFREQ, faults=[]) as source,
        running(source, bundle, folder) as rig,
    ):
        high_s = high_after(rig, partial(CAUSES[name], rig))
        rises = len(rig.board.edges)
        if name in _STOPPED:
            until = time.monotonic() + _STANDS_STILL_S - high_s
            while (left_s := until - time.monotonic()) > 0:
                assert not rig.board.wait_for(high=True, n=rises + 1, timeout_s=left_s)
            stopped = rig.pulse if "pulse" in name else rig.daemon.process
            stopped.send_signal(signal.SIGCONT)
            assert rig.board.wait_for(high=True, n=rises + 1)
        return high_s


def measure_noise(bundle: Path, folder: Path) -> float:
    """Return for how long the pin stayed high once noise came in the place of a brain, s."""
    with (
        Source(f"pin-{folder.name}-{os.getpid()}", sfreq=SFREQ) as source,
        Player(source) as player,
        running(source, bundle, folder, f"{RULE}[quality]\nno_brain = true\n") as rig,
    ):
        with Listener(rig.daemon.endpoint, "stage.") as subscriber:
            subscriber.until(knows_lead)
        return high_after(rig, player.play_noise)


def knows_lead(message: object) -> bool:
    """Whether it is a live estimate of which it is known whether its lead has just come off."""
    return isinstance(message, StageMessage) and message.lead_off is not None


def changes_by_another(bundle: Path, folder: Path) -> int:
    """Return how often the pin changed while another subscriber heard three decisions."""
    with (
        Source(f"pin-{folder.name}-{os.getpid()}", sfreq=SFREQ, faults=[]) as source,
        running(source, bundle, folder) as rig,
    ):
        assert rig.board.wait_for(high=True)
        n = len(rig.board.edges)
        with Listener(rig.daemon.endpoint) as subscriber:
            for _ in range(3):
                subscriber.until(lambda m: isinstance(m, TriggerMessage))
        return len(rig.board.edges) - n


def main(
    repeats: Annotated[int, typer.Option(min=1, help="Of each cause.")] = 3,
    page: Annotated[Path, typer.Option(help="Where the table goes.")] = PAGE,
) -> None:
    """Measure each cause, and write the longest into the page."""
    with TemporaryDirectory() as scratch:
        os.environ.update(confined_lsl(Path(scratch)))
        small: dict[str, Any] = {"n_context": 5, **TINY}
        bundle = make_bundle(Path(scratch), **small)
        folders = (Path(scratch) / str(k) for k in range(1000))

        def each(measured: Callable[[Path, Path], float]) -> list[float]:
            found = []
            for folder in (next(folders) for _ in range(repeats)):
                folder.mkdir()
                found.append(measured(bundle, folder))
            return found

        rows = []
        for name in CAUSES:
            rows.append((name, f"{max(each(partial(measure, name))):.2f}"))
            typer.echo(" ".join(rows[-1]))
        noise = "noise in the place of EEG and EMG, a rule that asks for any stage"
        rows.append((noise, f"{max(each(measure_noise)):.1f}"))
        changes = max(each(changes_by_another))
        rows.append(("a second subscriber joins", f"{changes} changes" if changes else "no change"))
    machine = describe_machine()
    how = (
        f"{repeats} of each, {datetime.now(UTC):%Y-%m-%d}, {machine.processor}, "
        f"{machine.cores} cores, load {os.getloadavg()[0]:.1f}."
    )
    write_sections(page, {"pin": f"{how}\n\n{table(['cause', 's, longest'], rows)}"})


if __name__ == "__main__":
    typer.run(main)
