"""`hypnod demo`: simulated subjects through the real daemon, held against what is true of them."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import typer
from rich.console import Console
from rich.markup import escape

from daemon.stager import hops_per_epoch
from engines.bundle import Bundle, open_bundle
from models.errors import ConfigError
from models.recordings.hypnogram import Hypnogram
from models.recordings.hypnograms.read import read_hypnogram
from models.recordings.open import open_recording
from models.recordings.writers import replacing
from models.simulator.species import SIMULATORS
from models.spec import ModelSpec
from tools.client.subscriber import Subscriber
from tools.daemon_process import ChildError, DaemonProcess, confined_lsl, write_config
from tools.demo.report import Collector, DemoReport, draw_report, make_report
from tools.demo.scenes import SCENES, Scene
from tools.demo.screen import Screen
from tools.demo.web import show_page
from tools.replay.process import ReplayProcess
from tools.shared.species import BundleOption, SpeciesOption
from tools.shared.stopping import ended_by_sigterm
from tools.simulate import write_edf
from tools.view.overview import Overview

STREAM = "demo"
_POLL_S = 0.05
_SUBSCRIBED_S = 10.0
_SILENT_S = 30.0
"""Without a stage for this long beyond an epoch the run is over, whatever is missing."""


@dataclass(frozen=True)
class _Run:
    """What is to be shown."""

    recording: Path
    spec: ModelSpec
    scene: Scene
    hypnograms: Mapping[str, Hypnogram]
    hop_s: float
    truth: Mapping[str, Sequence[str]]
    """Of each epoch, one a hop."""
    config: Mapping[str, Any]


def demo(
    speed: Annotated[
        str | None,
        typer.Option(
            help="Times real time, or max; default: 15, of people 120, with --trigger 1.",
            metavar="N|max",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.5,
            help="Length of the recording, min; default: 10, with --trigger 4, with --web 60; of "
            "people 120, 6, 180.",
        ),
    ] = None,
    subjects: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Simulated subjects; default: 4 mice or 2 people, with --web 8 or 4.",
            metavar="N",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same subjects.")] = 1,
    species: SpeciesOption = None,
    bundle: BundleOption = None,
    engine: Annotated[str, typer.Option(help="Engine; `hypnod doctor` lists them.")] = "auto",
    hop: Annotated[
        float | None, typer.Option(help="Seconds from stage to stage; default: 1, of people 5.")
    ] = None,
    trigger: Annotated[
        bool, typer.Option("--trigger", help="Show a rule at work: in REM, of people in N2 and N3.")
    ] = False,
    web: Annotated[
        bool, typer.Option("--web", help="Show them on the live page of a browser.")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures here.")
    ] = None,
    png: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the picture goes.")
    ] = Path("hypnod-demo.png"),
) -> None:
    """Show the **whole way on simulated mice or people**: LSL stream, daemon, subscriber, truth.

    Simulates subjects whose stages are known, plays them as one LSL stream (as `hypnod replay`
    does), starts the real daemon as its own process, and watches it over ZeroMQ (as `hypnod watch`
    does). Ends with the agreement of the stages with the truth, the latencies and a picture of the
    first one. LSL is confined to the demo, and ports are free ones: it disturbs nothing else.

    People are staged in epochs of 30 s, a new one every 5 s: two hours of them pass in a minute.

    With `--trigger` a rule restricts REM: after 2 s of it a pulse of 2 s, and again. The screen
    says when it is on or refused, and why; how many pulses were right comes last. Rules act in
    real time alone: they trust no estimate that is ahead of time. There is no hardware. For people
    it is sounds of 2 s in N2 and N3; they fall asleep ten times as fast as people do.

    With `--web` the page of `hypnod web` shows eight mice, of which one is unplugged and one looks
    unlike those that the model learnt from; or four people, of whom one is unplugged. The first
    third of the recording is staged as fast as can be, so that there is a past; the rest is in real
    time. It ends with the recording or Ctrl-C, and writes the morning's report (`hypnod night
    --html`) to hypnod-demo.html.

    The exit code is 1 where an epoch is missing, double or out of order.

        hypnod demo --subjects 8 --minutes 30 --speed 60 --json demo.json

        hypnod demo --trigger --hop 0.25

        hypnod demo --web

        hypnod demo --species human
    """
    console = Console()
    if web and speed is not None:
        raise ConfigError(f"expected --web without --speed, found --speed {speed}")
    if web and json_file is not None:
        raise ConfigError(f"expected --web without --json: no figures, found {json_file}")
    opened = open_bundle(bundle, species)
    who, scene = SIMULATORS[opened.spec.species], SCENES[opened.spec.species]
    speed = speed or ("1" if trigger else scene.speed)
    usual = scene.trigger_minutes if trigger else scene.minutes
    minutes = minutes or (scene.web_minutes if web else usual)
    subjects = subjects or (scene.web_subjects if web else scene.subjects)
    if trigger and speed != "1":
        raise ConfigError(
            "expected --trigger with --speed 1, for a rule trusts no estimate that is ahead of "
            f"time, found --speed {speed}"
        )
    if trigger and 60 * minutes <= scene.rule["leave_out_s"]:
        raise ConfigError(
            f"expected --trigger with --minutes above {scene.rule['leave_out_s'] / 60:g}, for its "
            f"rule leaves out so much at first, found {minutes:g}"
        )
    with ended_by_sigterm(), tempfile.TemporaryDirectory(prefix="hypnod-demo-") as scratch:
        folder = Path(scratch)
        console.print(
            f"simulating {subjects} {who.plural} for {minutes:g} min at {who.default_sfreq:g} Hz "
            f"({scene.data})"
        )
        run = _prepare(folder, subjects, minutes, seed, opened, engine, hop, trigger=trigger)
        if web:
            show_page(run.recording, STREAM, run.config, folder, minutes, scene)
            return
        collector, startup_s = _stage(run, speed, folder, console)
        report = make_report(
            collector,
            run.spec.stages,
            run.hypnograms,
            scene,
            speed=speed if speed == "max" else float(speed),
            minutes=minutes,
            seed=seed,
            startup_s=startup_s,
        )
        console.print(draw_report(report))
        if png is not None:
            _draw(png, run, collector, report)
            console.print(f"[dim]picture   [/]{escape(str(png))}")
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
    bundle: Bundle,
    engine: str,
    hop_s: float | None,
    *,
    trigger: bool,
) -> _Run:
    """Simulate the recording, and read back from it what is true.

    Raises:
        ConfigError: the hop is no whole fraction of its epoch.
    """
    spec = bundle.spec
    hop_s = spec.epoch_s / hops_per_epoch(hop_s or spec.live_hop_s, spec, "--hop")
    who, scene = SIMULATORS[spec.species], SCENES[spec.species]
    time_scale = scene.trigger_time_scale if trigger else 1.0
    file = folder / f"{STREAM}.edf"
    simulated = who(
        seed=seed,
        duration_s=60 * minutes,
        sfreq=who.default_sfreq,
        n_subjects=n_subjects,
        time_scale=time_scale,
        every_stage=minutes * time_scale >= scene.every_stage_from,
    ).subjects()
    write_edf(file, simulated, who.default_sfreq, n_subjects)
    names = [f"{who.subject.prefix}{k}" for k in range(1, n_subjects + 1)]
    hypnograms = {
        name: read_hypnogram(file, spec.stages, subject=name if n_subjects > 1 else None)
        for name in names
    }
    recording = open_recording(file)
    n_epochs = 1 + int((recording.duration - spec.epoch_s) / hop_s + 1e-6)
    truth = {n: h.to_epochs(spec.epoch_s, n_epochs, hop_s) for n, h in hypnograms.items()}
    labels = np.reshape(recording.ch_names, (n_subjects, -1)).tolist()
    channels = {
        name: dict(zip(who.subject.modalities, own, strict=True))
        for name, own in zip(names, labels, strict=True)
    }
    config = _config(channels, bundle.path, engine) | {"staging": {"hop_s": hop_s}}
    if trigger:
        config["triggers"] = [scene.rule]
    return _Run(file, spec, scene, hypnograms, hop_s, truth, config)


def _config(channels: Mapping[str, Mapping[str, str]], bundle: Path, engine: str) -> dict[str, Any]:
    subjects = [{"name": name, "channels": own} for name, own in channels.items()]
    return {
        "streams": [{"name": STREAM, "match": {"name": STREAM}, "subjects": subjects}],
        "engine": {"kind": engine, "bundle": str(bundle.resolve())},
    }


def _stage(run: _Run, speed: str, folder: Path, console: Console) -> tuple[Collector, float]:
    """Run the daemon and the replay; return what the subscriber received, and the start-up, s."""
    environ = confined_lsl(folder)
    collector = Collector(run.truth, hops_per_epoch(run.hop_s, run.spec))
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
        played = (run.recording, "--name", STREAM, "--speed", speed)
        replay = stack.enter_context(ReplayProcess(*played, environ=environ))
        _collect(take_in, collector, daemon, replay, _SILENT_S + run.spec.epoch_s)
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
    patience_s: float,
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
        if now - heard > patience_s:
            return


def _draw(png: Path, run: _Run, collector: Collector, report: DemoReport) -> None:
    """Draw the first subject's live stages against the truth."""
    from tools.view.night import Night, plot_night  # noqa: PLC0415  matplotlib takes a second to import

    subject = next(iter(run.truth))
    agreement = report.subjects[subject].live
    plot_night(
        png,
        Night(
            title=f"hypnod demo: {subject}, simulated, staged live",
            subtitle=(
                f"live stages, Cohen's κ {agreement.kappa or 0:.3f} with the simulated truth; "
                f"model {report.model}, {report.engine}"
            ),
            stages=run.spec.stages,
            hop_s=run.hop_s,
            hypnogram=collector.hypnogram("live", subject),
            probabilities=collector.probabilities("live", subject, run.spec.stages),
            overview=_overview(run),
            reference=run.truth[subject],
            reference_name="truth",
        ),
    )


def _overview(run: _Run) -> Overview:
    """Return the first subject's signals for the picture."""
    eeg, second = run.spec.modalities
    own = run.config["streams"][0]["subjects"][0]["channels"]
    recording = open_recording(run.recording, (own[eeg], own[second]))
    overview = Overview(recording.sfreq, recording.duration)
    data = recording.read(0, recording.n_samples)
    emg = data[:, 1] if second == "emg" else np.full(len(data), np.nan)
    overview.add(recording.timestamps(0, recording.n_samples), data[:, 0], emg)
    return overview
