"""`hypnod demo`: simulated mice through the real daemon, compared with what is true of them."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from engines.bundle import open_bundle
from models.errors import SpecError
from models.recordings.hypnograms.read import read_hypnogram
from models.recordings.open import open_recording
from models.recordings.writers import replacing
from models.simulator.simulate import channel_names, iterate_subjects
from models.spec import ModelSpec
from models.stages import MOUSE
from tools.client.subscriber import Subscriber
from tools.daemon_process import ChildError, DaemonProcess, confined_lsl, write_config
from tools.demo.report import Collector, DemoReport, draw_report, make_report
from tools.demo.screen import Screen
from tools.replay.process import ReplayProcess
from tools.simulate import write_edf
from tools.view.overview import Overview

STREAM = "demo"
SFREQ = 512.0
_POLL_S = 0.05
_SUBSCRIBED_S = 10.0
_SILENT_S = 30.0
"""Without a stage for this long the run is over, whatever is missing."""


@dataclass(frozen=True)
class _Run:
    """What is to be shown."""

    recording: Path
    spec: ModelSpec
    truth: Mapping[str, Sequence[str]]
    config: Mapping[str, Any]
    speed: str


def demo(
    speed: Annotated[str, typer.Option(help="Times real time, or max.", metavar="N|max")] = "15",
    minutes: Annotated[float, typer.Option(min=0.5, help="Length of the recording, min.")] = 10.0,
    subjects: Annotated[int, typer.Option(min=1, help="Simulated mice.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same mice.")] = 1,
    bundle: Annotated[
        Path | None, typer.Option(help="Model bundle; default: the one shipped.")
    ] = None,
    engine: Annotated[str, typer.Option(help="Engine; `hypnod doctor` lists them.")] = "auto",
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures here.")
    ] = None,
    png: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the picture goes.")
    ] = Path("hypnod-demo.png"),
) -> None:
    """Show the **whole way on simulated mice**: LSL stream, daemon, subscriber, truth.

    Simulates mice whose stages are known, plays them as one LSL stream (as `hypnod replay` does),
    starts the real daemon as its own process, and watches it over ZeroMQ (as `hypnod watch` does).
    Ends with the agreement of the stages with the truth, the latencies and a picture of the
    first mouse. LSL is confined to the demo, and ports are free ones: it disturbs nothing else.

    The exit code is 1 where an epoch is missing, double or out of order.

        hypnod demo --subjects 8 --minutes 30 --speed 60 --json demo.json
    """
    console = Console()
    with tempfile.TemporaryDirectory(prefix="hypnod-demo-") as scratch:
        folder = Path(scratch)
        console.print(
            f"simulating {subjects} mice for {minutes:g} min at {SFREQ:g} Hz "
            "(simulated data: no animal was recorded)"
        )
        run = _prepare(folder, subjects, minutes, seed, speed, bundle, engine)
        collector, startup_s = _stage(run, folder, console)
        report = make_report(
            collector,
            run.spec.stages,
            speed=speed if speed == "max" else float(speed),
            minutes=minutes,
            seed=seed,
            startup_s=startup_s,
        )
        console.print(draw_report(report))
        if png is not None:
            _draw(png, run, collector, report)
            console.print(f"[dim]picture   [/]{png}")
    if json_file is not None:
        with replacing(json_file) as draft:
            draft.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    if report.problems:
        raise typer.Exit(1)


def _prepare(
    folder: Path,
    n_subjects: int,
    minutes: float,
    seed: int,
    speed: str,
    bundle: Path | None,
    engine: str,
) -> _Run:
    """Simulate the recording, and read back from it what is true.

    Raises:
        SpecError: the bundle is not for mice.
    """
    opened = open_bundle(bundle)
    spec = opened.spec
    if spec.stages != MOUSE:
        raise SpecError(
            f"expected a bundle for {'/'.join(MOUSE)}, since mice are simulated; "
            f"found {opened.manifest.name} for {'/'.join(spec.stages)}"
        )
    recording = folder / f"{STREAM}.edf"
    mice = iterate_subjects(
        seed=seed, duration_s=60 * minutes, sfreq=SFREQ, n_subjects=n_subjects, every_stage=True
    )
    write_edf(recording, mice, SFREQ, n_subjects)
    names = [f"m{k}" for k in range(1, n_subjects + 1)]
    n_epochs = int(open_recording(recording).duration / spec.epoch_s + 1e-6)
    truth = {
        name: read_hypnogram(
            recording, spec.stages, subject=name if n_subjects > 1 else None
        ).to_epochs(spec.epoch_s, n_epochs)
        for name in names
    }
    return _Run(recording, spec, truth, _config(spec, names, opened.path, engine), speed)


def _config(spec: ModelSpec, names: Sequence[str], bundle: Path, engine: str) -> dict[str, Any]:
    channels = {
        name: {m: f"{m.upper()}{k}" for m in spec.modalities}
        for k, name in enumerate(names, start=1)
    }
    subjects = [{"name": name, "channels": channels[name]} for name in names]
    return {
        "streams": [{"name": STREAM, "match": {"name": STREAM}, "subjects": subjects}],
        "engine": {"kind": engine, "bundle": str(bundle.resolve())},
    }


def _stage(run: _Run, folder: Path, console: Console) -> tuple[Collector, float]:
    """Run the daemon and the replay; return what the subscriber received, and the start-up, s."""
    environ = confined_lsl(folder)
    collector = Collector(run.truth)
    with ExitStack() as stack:
        config = write_config(folder, run.config)
        daemon = stack.enter_context(DaemonProcess(config, environ))
        daemon.wait_ready()
        subscriber = stack.enter_context(Subscriber(daemon.endpoint))
        screen = stack.enter_context(Screen(subscriber, collector, console))

        def take_in(timeout_s: float) -> int:
            n = 0
            for received in subscriber.receive(timeout_s):
                collector.add(received)
                screen.show(received)
                n += 1
            screen.refresh()
            return n

        _subscribe(take_in, daemon)
        played = (run.recording, "--name", STREAM, "--speed", run.speed)
        replay = stack.enter_context(ReplayProcess(*played, environ=environ))
        _collect(take_in, collector, daemon, replay)
        daemon.ask_to_stop()
        while daemon.process.poll() is None:
            take_in(_POLL_S)
        daemon.wait_stopped()
        while take_in(_POLL_S):
            pass
        return collector, daemon.startup_s


def _subscribe(take_in: Callable[[float], int], daemon: DaemonProcess) -> None:
    """Wait for the first message: from then on every one is received."""
    deadline = time.monotonic() + _SUBSCRIBED_S
    while not take_in(_POLL_S):
        daemon.check_alive()
        if time.monotonic() > deadline:
            raise ChildError(
                f"expected a message from the daemon at {daemon.endpoint} within "
                f"{_SUBSCRIBED_S:g} s, found none"
            )


def _collect(
    take_in: Callable[[float], int],
    collector: Collector,
    daemon: DaemonProcess,
    replay: ReplayProcess,
) -> None:
    """Receive until every epoch is there, or nothing comes any more."""
    heard = time.monotonic()
    while collector.count("live") < collector.expected:
        daemon.check_alive()
        replay.check()
        n = collector.count("live")
        take_in(_POLL_S)
        now = time.monotonic()
        heard = now if collector.count("live") > n else heard
        if now - heard > _SILENT_S:
            return


def _draw(png: Path, run: _Run, collector: Collector, report: DemoReport) -> None:
    """Draw the first mouse's live stages against the truth."""
    from tools.view.night import Night, plot_night  # noqa: PLC0415  matplotlib takes a second to import

    subject = next(iter(run.truth))
    agreement = report.subjects[subject].live
    plot_night(
        png,
        Night(
            title=f"hypnod demo: {subject}, a simulated mouse, staged live",
            subtitle=(
                f"live stages, Cohen's κ {agreement.kappa or 0:.3f} with the simulated truth; "
                f"model {report.model}, {report.engine}"
            ),
            stages=run.spec.stages,
            hop_s=run.spec.epoch_s,
            hypnogram=collector.hypnogram("live", subject),
            probabilities=collector.probabilities("live", subject, run.spec.stages),
            overview=_overview(run),
            reference=run.truth[subject],
            reference_name="truth",
        ),
    )


def _overview(run: _Run) -> Overview:
    """Return the first mouse's signals for the picture."""
    recording = open_recording(run.recording, channel_names(1))
    overview = Overview(recording.sfreq, recording.duration)
    data = recording.read(0, recording.n_samples)
    overview.add(recording.timestamps(0, recording.n_samples), data[:, 0], data[:, 1])
    return overview
