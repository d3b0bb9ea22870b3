"""`hypnod explain`: what a decision of a recording rests on."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from daemon.config import Config, load_config
from daemon.messages import Kind
from daemon.stager import hops_per_epoch
from engines.bundle import Bundle
from models.errors import ConfigError, RecordingError
from models.recordings.channels import Chosen
from models.recordings.writers import replacing
from models.species import contradict
from tools.explain.decision import Decision, Window
from tools.explain.report import print_report
from tools.score.command import check_outputs
from tools.score.offline import open_configured, stage_configured
from tools.score.scored import refuse
from tools.shared import source
from tools.shared.channels import print_channels
from tools.shared.match import MatchOption
from tools.shared.plain import plain_console
from tools.shared.species import BundleOption, SpeciesOption
from tools.shared.times import parse_moment
from tools.shared.train_extra import train_extra
from tools.shared.unit import UnitOption


def explain(
    file: source.FileArgument,
    at: Annotated[
        str,
        typer.Option(
            help="A moment within the epoch: 03:12:30 on the recorder's clock, +03:12:30 since the "
            "first sample, or seconds since then.",
            metavar="TIME",
        ),
    ],
    png: Annotated[Path | None, typer.Option(help="Draw it on the traces.")] = None,
    as_json: Annotated[
        Path | None, typer.Option("--json", help="Write all numbers as JSON.", metavar="PATH")
    ] = None,
    kind: Annotated[
        Kind, typer.Option(help="live: as read at once; final: with the epochs after it.")
    ] = "final",
    of: Annotated[
        str | None,
        typer.Option(help="Whose decision, where there are several: m2.", metavar="NAME"),
    ] = None,
    config: source.ConfigOption = None,
    stream: source.StreamOption = None,
    eeg: source.EegOption = None,
    emg: source.EmgOption = None,
    eog: source.EogOption = None,
    subject: source.SubjectOption = None,
    unit: UnitOption = None,
    match: MatchOption = None,
    bundle: BundleOption = None,
    species: SpeciesOption = None,
    engine: source.EngineOption = None,
    anyway: source.AnywayOption = False,
) -> None:
    """Show what **one decision** rests on: which epochs, which seconds, which band.

    The recording is staged from its beginning as `hypnod score` stages it, up to the epoch that
    `--at` lies in: the stage and its probabilities are those that `hypnod score` gives. Then two
    things are told of the same net and the same window:

    *attention*, where the net looked: over the epochs of its context window, and, where it is
    given samples or parts, over the pieces of the epoch. Of SleepDIFFormer also what its
    differential attention amplifies and suppresses.

    *support*, what that counted for: by how much the log-odds of the stage fall when one epoch is
    masked, one span silenced, one band's level made what is usual for the subject, or a modality
    masked. Below 0 it spoke against the stage. A net can look without using what it sees, so where
    the two differ believe the support (docs/explain.md).

        hypnod explain night.edf --at 03:12:30 --png why.png

        hypnod explain night.edf --at +00:20:00 --kind live --json why.json

        hypnod explain psg.edf --species human --at 01:05:00 --png why.png

        hypnod explain night.xdf --config hypnod.toml --of m3 --at 4210

    Needs what training needs (pip install '.[train]').
    """
    check_outputs([file, config], [png, as_json])
    base = load_config(config) if config else Config(streams=())
    opened = source.open_asked(bundle, species, base)
    configured = base.stream(stream) if config else None
    channels = {"eeg": eeg, "emg": emg, "eog": eog}
    with train_extra():
        from tools.explain import computing  # noqa: PLC0415
    found = source.choose_asked(file, opened.spec, configured, channels, subject, unit, match)
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    print_channels(console, found)
    recording = found.recording
    labels = (*recording.ch_names, *recording.skipped)
    refuse(file, [contradict(labels, opened.spec)], anyway=anyway)
    for line in found.flaws if found.table else found.left_out:
        console.print(line, markup=False)
    at_s = parse_moment(at, recording.start)
    decision = decide(opened, found, base, at_s, kind, of, engine)
    explanation = computing.explain(decision, computing.open_net(opened), opened, recording)
    if as_json is not None:
        with replacing(as_json) as draft:
            draft.write_bytes(msgspec.json.format(msgspec.json.encode(explanation)) + b"\n")
    if png is not None:
        # here, not above: importing matplotlib takes most of a second
        from tools.view.explanation import plot_explanation  # noqa: PLC0415

        plot_explanation(png, explanation, decision, opened.spec)
    print_report(explanation, plain_console())


def decide(
    bundle: Bundle,
    chosen: Chosen,
    config: Config,
    at_s: float,
    kind: Kind,
    of: str | None = None,
    engine: str | None = None,
) -> Decision:
    """Stage a recording up to a decision.

    Args:
        bundle: the model.
        chosen: the recording, and whose its channels are.
        config: quality, staging and engine.
        at_s: a moment within the epoch, since the first sample, s.
        kind: of the estimate.
        of: whose, by name; None: the only one's.
        engine: as `--engine` has it.

    Raises:
        RecordingError: the moment lies outside, or nothing was decided there.
        ConfigError: it is not said whose decision.
        HypnodError: the recording does not fit, or the engine failed.
    """
    if not 0 <= at_s < chosen.recording.duration:
        raise RecordingError(
            f"--at: expected a moment of {chosen.recording.path.name}, 0 to "
            f"{chosen.recording.duration:g} s after its first sample{_clock(chosen)}, found "
            f"{at_s:g} s"
        )
    names = [s.name for s in chosen.stream.subjects]
    if (of is None and len(names) > 1) or of not in (None, *names):
        raise ConfigError(f"--of: expected one of {', '.join(names)}, found {of or 'none'}")
    number = 0 if of is None else names.index(of)
    hops = hops_per_epoch(config.staging.hop_s, bundle.spec)
    window = Window(bundle.spec, at_s, kind, hops, config.staging.final_lag)
    with open_configured(bundle, engine, config, n_rows=len(names)) as opened:
        staged = stage_configured(
            *(bundle, opened, chosen.recording, chosen.stream, config), look=window.look
        )
        return window.decide(staged, number, names[number])


def _clock(chosen: Chosen) -> str:
    """Say when the recording began, where it tells."""
    start = chosen.recording.start
    return "" if start is None else f" at {start:%H:%M:%S}"
