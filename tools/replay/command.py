"""`hypnod replay`: recordings as live LSL streams."""

import json
import math
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from daemon.lsl.library import load_pylsl
from models.recordings.open import check_match, open_recording
from tools.replay.fault_plan import KINDS, STORM, FaultPlan, parse_plan
from tools.replay.player import AHEAD_S, Playback, Player
from tools.shared.match import MatchOption, read_match
from tools.shared.plain import plain_console

SHOW_EVERY_S = 0.2


def replay(
    files: Annotated[
        list[Path], typer.Argument(help="EDF, BDF, XDF or .mat files, one stream each.")
    ],
    name: Annotated[
        str, typer.Option(help="Name of the stream, for one file; default: the file's name.")
    ] = "",
    speed: Annotated[
        str, typer.Option(help="1 is real time; N times that; or max.", metavar="N|max")
    ] = "1",
    start: Annotated[float, typer.Option(min=0, help="Start this far in, s.")] = 0.0,
    duration: Annotated[
        float | None, typer.Option(min=0.001, help="Play so much of it, s; default: all.")
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Start over at the end, for ever.")] = False,
    ahead: Annotated[
        float, typer.Option(min=1, help="Above real time, wait when so far behind, s.")
    ] = AHEAD_S,
    chunk: Annotated[
        int | None, typer.Option(min=1, help="Samples sent at once; default: some 30 ms.")
    ] = None,
    t0: Annotated[
        float | None,
        typer.Option(min=1, help="Timestamp of the first sample, s; default: LSL's clock now."),
    ] = None,
    match: MatchOption = None,
    faults: Annotated[
        list[str] | None, typer.Option("--fault", help="What goes wrong, see below; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what chance decides.")] = 0,
    no_markers: Annotated[bool, typer.Option("--no-markers", help="Send no annotations.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Start at once, read or not.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="End with a summary as JSON.")] = False,
) -> None:
    """Play **recordings as live LSL streams**, as an amplifier would send them.

    Each stream has the file's labels, units and rate, the type EEG and the source_id
    `hypnod-replay-NAME`. It starts when somebody reads it. Annotations go out as `NAME-markers`.
    Samples that a file lacks (EDF+D, XDF) are not sent: a gap stays one.

    Timestamps are t0 + recording time **at any speed**, so hypnod stages the same at any speed.
    Above real time, a hypnod on this machine is never overrun: the replay waits whenever it is
    60 s of recording behind (`--ahead`), and for one that is started again. `--speed max` is as
    fast as that. Other programs cannot tell how far they have read; where only they read, max is
    100 and they must keep up with it.

        hypnod replay night.edf --speed 20

        hypnod replay a.edf b.edf --loop --start 3600

    **Faults** rehearse what a night brings: `--fault KIND[=AMOUNT][@START[+DURATION]][:CHANNEL]`,
    times in seconds of recording time since the start (with `--start`: since there), a channel by
    its label or part of it, for one stream of several as `NAME/KIND…`:

    KINDS

    What comes back is gone for DURATION (10 s), and stays as it came back; a second fault adds to
    the first.

        hypnod replay night.edf --fault gap@600+12 --fault electrode-off@900+600:EMG

        hypnod replay night.edf --fault clock-jump=-2@60 --fault drop@300+20 --fault jitter=0.004

        hypnod replay night.edf --fault new-rate=1000@300+20 --fault twin@600+60

        hypnod replay night.edf --speed 20 --fault storm=20/h --seed 7 --json
    """
    playback = Playback(
        speed=_parse_speed(speed),
        start_s=start,
        duration_s=math.inf if duration is None else duration,
        loop=loop,
        ahead_s=ahead,
        markers=not no_markers,
        chunk=chunk,
        plan=FaultPlan(),
    )
    names = _stream_names(files, name)
    asked = read_match(match)
    check_match(files, asked)
    plans = [parse_plan(_faults_of(stream, names, faults or ()), seed) for stream in names]
    with ExitStack() as stack:
        stop = stack.enter_context(_stop_on_signals())
        players = [
            stack.enter_context(
                closing(
                    Player(open_recording(file, match=asked), stream, replace(playback, plan=plan))
                )
            )
            for file, stream, plan in zip(files, names, plans, strict=True)
        ]
        if not no_wait:
            _wait_for_readers(players, stop, quiet=quiet)
        began = load_pylsl().local_clock()
        _play(players, playback, began if t0 is None else t0, stop, quiet=quiet)
        if as_json:
            typer.echo(json.dumps(_summary(players, began if t0 is None else t0, began, stop)))


replay.__doc__ = (replay.__doc__ or "").replace(
    "KINDS",
    "; ".join(f"`{name}` {kind.about}" for name, kind in KINDS.items())
    + f"; `storm=20/h` any of those up to `{STORM[-1]}`, so many an hour.",
)


def _parse_speed(text: str) -> float:
    if text == "max":
        return math.inf
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 0 < speed < math.inf:
        raise typer.BadParameter(f"expected a number above 0, or max, found {text!r}")
    return speed


def _stream_names(files: Sequence[Path], name: str) -> list[str]:
    if name and len(files) > 1:
        raise typer.BadParameter(f"--name: expected one file, found {len(files)}")
    names = [name or file.stem for file in files]
    twice = sorted({one for one in names if names.count(one) > 1})
    if twice:
        raise typer.BadParameter(f"expected files of different names, found twice: {twice[0]}")
    return names


def _faults_of(stream: str, names: Sequence[str], specs: Sequence[str]) -> list[str]:
    """Return what is for one stream, or for all of them."""
    split = [
        spec.partition("/") if spec.partition("/")[0] in names else ("", "", spec) for spec in specs
    ]
    return [spec for name, _, spec in split if name in ("", stream)]


@contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """Set an event at SIGINT and SIGTERM, so that streams end as they should."""
    stop = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: stop.set()) for number in signals]
    try:
        yield stop
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


def _wait_for_readers(players: Sequence[Player], stop: threading.Event, *, quiet: bool) -> None:
    names = ", ".join(player.name for player in players)
    console = plain_console(stderr=True, quiet=quiet, soft_wrap=True)
    console.print(f"waiting for a reader of {names} (Ctrl-C ends, --no-wait starts at once)")
    for player in players:
        player.wait_for_reader(stop)


def _play(
    players: Sequence[Player], playback: Playback, t0: float, stop: threading.Event, *, quiet: bool
) -> None:
    """Send every chunk of every recording when it is due, to the end or until stopped."""
    clock = load_pylsl().local_clock
    began = shown = clock()
    with _progress(quiet=quiet) as progress:
        tasks = [progress.add_task(p.name, total=_total(p)) for p in players]
        while not stop.is_set():
            player = min(players, key=lambda player: player.due)
            if player.due == math.inf:
                break
            player.hold_back(t0, stop)
            stop.wait(max(0.0, began + player.due / playback.speed - clock()))
            if stop.is_set():
                break
            player.push(t0, stop)
            if clock() - shown > SHOW_EVERY_S:
                shown = clock()
                _show(progress, tasks, players)
        for player in players:
            player.finish(t0, stop)
        _show(progress, tasks, players)


def _total(player: Player) -> float | None:
    return None if math.isinf(player.total) else player.total


def _progress(*, quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.0f} s"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=quiet,
        transient=True,
    )


def _show(progress: Progress, tasks: Sequence[TaskID], players: Sequence[Player]) -> None:
    for task, player in zip(tasks, players, strict=True):
        progress.update(task, completed=player.position)


def _summary(
    players: Sequence[Player], t0: float, began: float, stop: threading.Event
) -> dict[str, object]:
    took = load_pylsl().local_clock() - began
    return {
        "t0": t0,
        "took_s": took,
        "interrupted": stop.is_set(),
        "streams": [
            {
                "name": player.name,
                "samples": player.sent,
                "markers": player.markers_sent,
                "recording_s": player.position,
                "faults": [fault.as_json() for fault in player.injected],
            }
            for player in players
        ],
    }
