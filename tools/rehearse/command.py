"""`hypnod rehearse`: what the triggers of a config would have done in a recording."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from daemon.config import Config, StreamConfig, load_config
from daemon.stager import Estimate
from daemon.trigger.rules import check_model
from engines.bundle import Bundle, open_bundle
from models.errors import ConfigError, RecordingError
from models.recordings.channels import choose
from models.recordings.find import Found, find_recordings
from models.recordings.hypnogram import Hypnogram
from models.recordings.hypnograms.account import in_words
from models.recordings.hypnograms.interpret import Legend, Scoring
from models.recordings.hypnograms.read import is_scored, read_hypnograms
from models.recordings.open import Recording, check_match
from tools.rehearse.rehearsal import Timing, play, see
from tools.rehearse.report import Rehearsed, print_rehearsed, report_rules
from tools.score.command import (
    check_outputs,
    stage_recorded,
)
from tools.score.drift import DriftLog, summarise
from tools.score.report import write_pictures
from tools.score.scored import Scored, by_bundle
from tools.shared import expert
from tools.shared.match import MatchOption, read_match
from tools.shared.unit import UnitOption, read_unit


def rehearse(
    recordings: Annotated[
        list[Path], typer.Argument(help="EDF, BDF, .mat or XDF, or folders.", metavar="RECORDING…")
    ],
    config: Annotated[Path, typer.Option(help="The hypnod.toml with streams and triggers.")],
    stream: Annotated[
        str | None, typer.Option(help="Which stream of the config; default: its only one.")
    ] = None,
    match: MatchOption = None,
    unit: UnitOption = None,
    hypnogram: Annotated[
        Path | None,
        typer.Option(help="Compare with this one; default: the one beside or in the recording."),
    ] = None,
    hypnogram_epoch: expert.HypnogramEpochOption = None,
    codes: expert.CodesOption = None,
    ignore: expert.IgnoreOption = None,
    same_start: expert.SameStartOption = False,
    age_s: Annotated[
        float, typer.Option("--age", min=0, help="How old each estimate is taken to be, s.")
    ] = 0.05,
    png: Annotated[
        Path | None, typer.Option(help="Draw pulses over hypnogram and signals.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
) -> None:
    """Rehearse **triggers** in recordings, before an animal is involved.

    Prints what would have fired, when, and why not otherwise. Estimates are those of `hypnod
    score`, decisions those of `hypnod run`, as if every rule had been armed from the first sample.

    Beside an expert's hypnogram, or the true one of a simulated animal: how many of the stays that
    the rule asks for were hit, how many pulses were right, how many false in an hour, and seconds
    from the true onset to the pulse, the rule's own dwell included.

        hypnod rehearse --config hypnod.toml night.edf --png night.png

        hypnod rehearse --config hypnod.toml scored/ --json
    """
    settings = load_config(config)
    chosen = settings.stream(stream)
    chosen = chosen if unit is None else msgspec.structs.replace(chosen, unit=read_unit(unit))
    if not settings.triggers:
        raise ConfigError(f"{config}: expected [[triggers]] to rehearse, found none")
    bundle = open_bundle(settings.engine.folder, settings.engine.species)
    check_model(settings.triggers, bundle.spec)
    found = find_recordings(recordings)
    if hypnogram is not None and len(found) > 1:
        raise ConfigError(f"expected --hypnogram with one recording, found {len(found)}")
    check_outputs([*recordings, config, hypnogram], [png])
    asked = read_match(match)
    check_match([each.recording for each in found], asked)
    legend = expert.read_legend(hypnogram_epoch, codes, ignore, same_start)
    done = []
    if hypnogram is not None:
        found = [each._replace(hypnogram=hypnogram) for each in found]
    for each in found:
        several = f"-{each.recording.stem}" if len(found) > 1 else ""
        picture = png.with_name(f"{png.stem}{several}{png.suffix}") if png is not None else None
        done.append(_rehearse_one(each, chosen, asked, settings, bundle, legend, age_s, picture))
    print_rehearsed(done, as_json=as_json)


def _rehearse_one(
    found: Found,
    stream: StreamConfig,
    match: Mapping[str, str],
    config: Config,
    bundle: Bundle,
    legend: Legend,
    age_s: float,
    png: Path | None,
) -> Rehearsed:
    spec = bundle.spec
    chosen = choose(found.recording, stream, {}, (), spec, match or stream.match)
    recording = chosen.recording
    names = [s.name for s in stream.subjects]
    scorings, where = _truth(found, recording, names, bundle, legend)
    truth = {name: scoring.hypnogram for name, scoring in scorings.items()}
    hop_s = config.staging.hop_s or spec.epoch_s
    drift = DriftLog(names, spec.modalities, hop_s)
    console = Console(stderr=True)
    estimates, engine = stage_recorded(bundle, None, recording, stream, config, drift, console)
    live = [e for e in estimates if e.kind == "live"]
    if not live:
        raise RecordingError(
            f"{recording.path}: expected at least one epoch of {spec.epoch_s:g} s, "
            f"found {recording.duration:g} s"
        )
    timing = Timing(start=recording.start, age_s=age_s, hop_s=hop_s)
    sights = see(live, spec, timing)
    told = play(config.triggers, sights)
    rows = report_rules(told, sights, truth, spec.stages)
    if png is not None:
        scored = _scored(recording, stream, bundle, engine, hop_s, estimates, truth, where, drift)
        spans: dict[str, dict[str, list[tuple[float, float, bool]]]] = {name: {} for name in names}
        for row in rows:
            drawn = [(pulse.start, pulse.duration, pulse.sham) for pulse in row.pulses]
            spans[row.subject][row.rule] = drawn
        write_pictures(scored, png, spans)
    return Rehearsed(
        file=str(recording.path),
        model=bundle.hash[:12],
        hop_s=hop_s,
        age_s=age_s,
        truth=None if where is None else str(where),
        remarks=(
            *chosen.left_out,
            *(line for scoring in scorings.values() for line in in_words(scoring.account)),
        ),
        rules=rows,
    )


def _truth(
    found: Found, recording: Recording, names: list[str], bundle: Bundle, legend: Legend
) -> tuple[dict[str, Scoring], Path | None]:
    path, stages = found.hypnogram, bundle.spec.stages
    inside = path == found.recording
    if path is None or (inside and not is_scored(path, stages, legend)):
        return {}, None
    return read_hypnograms(path, names, stages, recording, legend), path


def _scored(
    recording: Recording,
    stream: StreamConfig,
    bundle: Bundle,
    engine: str,
    hop_s: float,
    estimates: list[Estimate],
    truth: dict[str, Hypnogram],
    where: Path | None,
    drift: DriftLog,
) -> Scored:
    return Scored(
        recording=recording,
        stream=stream,
        by=by_bundle(bundle),
        engine=engine,
        kind="live",
        hop_s=hop_s,
        estimates=estimates,
        references=truth,
        reference_name=where.name if where is not None else "",
        drift=summarise(drift.seen),
    )
