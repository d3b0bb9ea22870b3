"""`hypnod doctor`: is everything there that a night needs, and if not, what to do."""

import math
import os
import platform
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer
import zmq
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from daemon.baseline import read_baselines
from daemon.config import Config, JournalConfig, PulseConfig, StreamConfig, load_config
from daemon.errors import JournalError
from daemon.journal.file import journal_path
from daemon.journal.forecast import bytes_a_day, measure_room
from daemon.journal.reader import JournalReader
from daemon.lsl.library import (
    LIBLSL_NEEDED,
    check_stream,
    identify,
    in_words,
    list_visible,
    load_pylsl,
    matches,
    tell_apart,
)
from daemon.lsl.listen import listen
from daemon.sockets.gate import check_endpoint
from daemon.stager import hops_per_epoch
from daemon.trigger.rules import check_model
from daemon.watch.echo import EchoLines
from engines.bundle import Bundle, open_bundle
from engines.gpu.folder import SERVICE, plan_folder
from engines.gpu.trial import failures
from engines.select import available_engines, explain_auto
from models.errors import HypnodError, StreamError
from models.signal.chunk import printable
from models.signal.conditioning import check_sfreq
from models.signal.montage import Montage
from models.spec import ModelSpec
from models.species import contradict
from tools.pulse.output import look_at_output
from tools.shared.plain import plain_console
from tools.shared.visible import VisibleStream, find_streams, full_info, inspect

_CORRECT = "correct the file"
_DAYS_LEFT = 14
"""With less room the journal is warned of, days."""
_SHOWN = 16
"""Channels of a stream that the table names; --json has all."""
STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found."""

    check: str
    """What was looked at."""
    level: Literal["ok", "warning", "error"]
    """ok: fine. warning: hypnod runs, but look at it. error: something needed is broken."""
    found: str
    """What was found."""
    do: str = ""
    """What to do; empty where there is nothing to do."""


def doctor(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Check this config file as well.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.5, help="Search streams for this long, s.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say **what works here, what does not, and what to do** about it.

    Looks at liblsl, ZeroMQ, the engines, a GPU that crashed or hung, the model bundle and the LSL
    streams that are visible, with their channels, rates and units. With a config: does its model
    read the modalities, does exactly one visible stream match each of its streams, is that as
    configured, has it all the labels, do its timestamps agree with the arrival of its samples, is
    the journal one that this version can go on with, and for how long has its disk room, and could
    each output of `hypnod pulse` be opened, as far as can be seen without touching it?

    The exit code is 0 where all is well (warnings included), 1 where something needed is broken.

        hypnod doctor --config hypnod.toml
    """
    bundle_finding, bundle = _check_bundle(None)
    findings = [_check_python(), _check_zmq(), _check_engines(), *_check_gpu(), bundle_finding]
    infos, liblsl = _search(timeout)
    findings.append(liblsl)
    streams = [inspect(info) for info in infos]
    if liblsl.level != "error" and not streams:
        findings.append(_nothing_visible(timeout))
    if config is not None:
        findings += _check_config(config, infos, bundle)
    if as_json:
        report = {"ok": _all_well(findings), "findings": findings, "streams": streams}
        typer.echo(msgspec.json.encode(report))
    else:
        _show(findings, streams)
    if not _all_well(findings):
        raise typer.Exit(1)


def _all_well(findings: Sequence[Finding]) -> bool:
    return all(finding.level != "error" for finding in findings)


def _check_python() -> Finding:
    found = f"Python {platform.python_version()}, hypnod {metadata.version('hypnod')}"
    return Finding(check="python", level="ok", found=f"{found}, {platform.platform()}")


def _check_zmq() -> Finding:
    found = f"pyzmq {zmq.pyzmq_version()}, libzmq {zmq.zmq_version()}"
    return Finding(check="zeromq", level="ok", found=found)


def _check_engines() -> Finding:
    engines = available_engines()
    found = "; ".join(f"{name}: {what}" for name, what in engines.items())
    if all(what.startswith("not available") for what in engines.values()):
        return Finding(
            check="engines", level="error", found=found, do="run: pip install onnxruntime"
        )
    return Finding(check="engines", level="ok", found=f"{found}; auto takes {explain_auto()}")


def _check_gpu() -> Iterator[Finding]:
    """Yield what ended a process that tried a GPU, for which it is not tried again."""
    for folder in {plan_folder(), SERVICE}:
        for marker, sentence in failures(folder):
            do = f"mend the driver, or name engine.kind; to have it tried again: rm {marker}"
            yield Finding(check="gpu", level="warning", found=sentence, do=do)


def _check_bundle(path: Path | None, species: str | None = None) -> tuple[Finding, Bundle | None]:
    check = f"bundle {path}" if path else "shipped bundle"
    try:
        bundle = open_bundle(path, species)
    except HypnodError as error:
        do = "correct [engine] in the config" if path or species else "install hypnod again"
        return Finding(check=check, level="error", found=str(error), do=do), None
    spec = bundle.spec
    found = (
        f"{bundle.hash[:12]}, all files as they should be: {', '.join(spec.modalities)} in epochs "
        f"of {spec.epoch_s:g} s, {spec.n_context} at once, to {', '.join(spec.stages)}; "
        f"{_describe_drift(bundle)}"
    )
    return Finding(check=check, level="ok", found=found), bundle


def _describe_drift(bundle: Bundle) -> str:
    reference = bundle.manifest.reference
    if reference is None:
        return "it does not say what its training animals look like, so drift is not measured"
    return f"drift is measured from {reference.n_animals} training animals"


def _search(timeout: float) -> tuple[list[Any], Finding]:
    """Return the visible streams, and what is to say about liblsl."""
    try:
        lsl = load_pylsl()
    except StreamError as error:
        do = "install liblsl as said, then run hypnod doctor again"
        return [], Finding(check="liblsl", level="error", found=str(error), do=do)
    version = lsl.library_version()
    own = os.environ.get("LSLAPICFG")
    found = f"{version // 100}.{version % 100}, {lsl.lib.lib._name}"  # noqa: SLF001 - no other way
    found += f", configured by LSLAPICFG={own}" if own else ""
    infos = find_streams(timeout)
    if version < LIBLSL_NEEDED:
        do = "get liblsl 1.18 or newer: older ones find only one of several local streams"
        return infos, Finding(check="liblsl", level="warning", found=found, do=do)
    return infos, Finding(check="liblsl", level="ok", found=found)


def _nothing_visible(timeout: float) -> Finding:
    return Finding(
        check="streams",
        level="warning",
        found=f"no LSL stream is visible within {timeout:g} s",
        do="start the acquisition's LSL output (or: hypnod replay FILE); from another machine, "
        "open UDP 16571-16604 and TCP 16572-16604 in both firewalls, or list the other machine "
        "under KnownPeers (see systemd/lsl_api.cfg); both must have the same SessionID",
    )


def _check_config(path: Path, infos: Sequence[Any], shipped: Bundle | None) -> list[Finding]:
    """Check a config file, its bundle, and each of its streams against what is visible."""
    try:
        config = load_config(path)
    except HypnodError as error:
        return [Finding(check="config", level="error", found=str(error), do=_CORRECT)]
    names = ", ".join(s.name for stream in config.streams for s in stream.subjects)
    findings = [Finding(check="config", level="ok", found=f"{path}: subjects {names}")]
    bundle = shipped
    engine = config.engine
    if engine.bundle or engine.species:
        finding, bundle = _check_bundle(engine.folder, engine.species)
        findings.append(finding)
    findings.append(_check_journal(config, bundle))
    findings += _check_outputs(config.pulse)
    modalities = bundle.spec.modalities if bundle else _modalities(config)
    try:
        check_endpoint(config.security, config.publish.bind, "publish.bind")
        check_endpoint(config.security, config.publish.catchup_bind, "publish.catchup_bind")
        if bundle is not None:
            hops_per_epoch(config.staging.hop_s, bundle.spec)
            check_model(config.triggers, bundle.spec)
    except HypnodError as error:
        return [*findings, Finding(check="config", level="error", found=str(error), do=_CORRECT)]
    try:
        config.check_modalities(modalities)
    except HypnodError as error:
        do = "correct channels in the config, or name a bundle that reads them in engine.bundle"
        return [*findings, Finding(check="modalities", level="error", found=str(error), do=do)]
    spec = None if bundle is None else bundle.spec
    matching = [_check_match(stream, infos, modalities, spec) for stream in config.streams]
    findings += matching
    findings += _check_shared(config.streams, infos)
    fitting = [
        stream
        for stream, match in zip(config.streams, matching, strict=True)
        if match.level != "error"
    ]
    with ThreadPoolExecutor() as listeners:
        findings += listeners.map(partial(_check_clock, infos), fitting)
    with_baseline = [s for s in config.streams if any(subject.baseline for subject in s.subjects)]
    if bundle is not None:
        findings += [_check_baselines(stream, config, bundle) for stream in with_baseline]
    return findings


def _check_outputs(outputs: Sequence[PulseConfig]) -> Iterator[Finding]:
    """Yield for each output whether it could be opened; it is not, since it may be driven now."""
    for k, output in enumerate(outputs):
        check = f"output {k}, {output.driver}"
        try:
            look_at_output(output.driver, output.options)
        except HypnodError as error:
            do = "correct [[pulse]] in the config, or run hypnod doctor as who runs hypnod pulse"
            yield Finding(check=check, level="error", found=str(error), do=do)
        else:
            yield Finding(check=check, level="ok", found="could be opened, and was not")


def _check_journal(config: Config, bundle: Bundle | None) -> Finding:
    """See whether the journal on disk is one that the daemon can go on with, and has room."""
    path = journal_path(config.journal.path)
    try:
        n = len(JournalReader(path).sessions())
    except JournalError as error:
        unreadable = isinstance(error.__cause__, sqlite3.Error)
        return Finding(
            check="journal",
            level="warning" if unreadable else "error",
            found=str(error),
            do="run hypnod doctor as the daemon's user; a broken one is set aside at the next start"
            if unreadable
            else f"mv {path} with its -wal and -shm elsewhere: hypnod run begins a new one; the "
            "version that wrote it can still read it (hypnod night)",
        )
    found = f"{path}: {n} runs of the daemon so far"
    if bundle is None:
        return Finding(check="journal", level="ok", found=found)
    return _check_room(path, found, bytes_a_day(config, bundle.spec.epoch_s), config.journal)


def _check_room(path: Path, found: str, a_day: float, config: JournalConfig) -> Finding:
    """See for how long the journal's disk has room for it."""
    try:
        room = measure_room(path)
    except OSError as error:
        do = "run hypnod doctor as the daemon's user"
        return Finding(check="journal", level="warning", found=f"{found}; {error}", do=do)
    days = room.full_in_days(a_day, config.keep_days)
    found += f", {decimal(room.size)}; {decimal(round(a_day))} a day to come with all subjects, "
    found += f"{decimal(room.free)} free"
    if math.isinf(days):
        most = decimal(round(a_day * (config.keep_days or 0)))
        return Finding(check="journal", level="ok", found=f"{found}: at most about {most}")
    found += f": full in {days:.0f} days"
    if days >= _DAYS_LEFT:
        return Finding(check="journal", level="ok", found=found)
    do = "let old messages be deleted (journal.keep_days), or name another disk in journal.path"
    return Finding(check="journal", level="warning", found=found, do=do)


def _check_baselines(stream: StreamConfig, config: Config, bundle: Bundle) -> Finding:
    """Read a stream's baseline recordings as the daemon does at its start."""
    check = f"baselines of {stream.name}"
    try:
        read_baselines(stream, config.staging.hop_s, config.quality, bundle.spec, None)
    except HypnodError as error:
        do = "correct the subject's baseline in the config, or leave it out"
        return Finding(check=check, level="error", found=str(error), do=do)
    return Finding(check=check, level="ok", found="all can be used")


def _modalities(config: Config) -> tuple[str, ...]:
    """Return what the config speaks of, where no bundle says what the model reads."""
    subjects = (subject for stream in config.streams for subject in stream.subjects)
    return tuple(sorted({modality for subject in subjects for modality in subject.channels}))


def _check_match(
    stream: StreamConfig, infos: Sequence[Any], modalities: Sequence[str], spec: ModelSpec | None
) -> Finding:
    """See whether exactly one visible stream matches, is as configured and has the labels.

    Where the model is known (`spec`), also whether it stages that rate, and such labels.
    """
    check = f"stream {stream.name}"
    matching = [info for info in infos if matches(info, stream.match)]
    if len(matching) != 1:
        found = " and ".join(map(identify, matching)) or f"none: {list_visible(infos)}"
        return Finding(
            check=check,
            level="error",
            found=f"expected exactly one visible stream with {in_words(stream.match)}, "
            f"found {found}",
            do=tell_apart(matching) if matching else "start it, or mend match",
        )
    try:
        description = check_stream(stream, full_info(matching[0]))
        Montage(stream, description, modalities)
        EchoLines(stream).find(description)
        if spec is not None:
            check_sfreq(spec, description.sfreq)
    except HypnodError as error:
        do = "make the config say what the stream is, or the stream be what the config says"
        return Finding(check=check, level="error", found=str(error), do=do)
    if spec is not None and (contradiction := contradict(description.ch_names, spec)) is not None:
        do = "name the bundle of who is recorded in [engine]: triggers stay off"
        return Finding(check=check, level="warning", found=contradiction, do=do)
    found = f"{identify(matching[0])}, all channels found, {description.sfreq:g} Hz"
    return Finding(check=check, level="ok", found=found)


def _check_shared(streams: Sequence[StreamConfig], infos: Sequence[Any]) -> Iterator[Finding]:
    """Yield where several streams of the config are one visible stream, by other properties."""
    for info in infos:
        names = [repr(stream.name) for stream in streams if matches(info, stream.match)]
        if len(names) > 1:
            yield Finding(
                check="streams",
                level="warning",
                found=f"{' and '.join(names)} are all {identify(info)}",
                do="put the subjects of one LSL stream into one [[streams]], or match by source_id",
            )


def _check_clock(infos: Sequence[Any], stream: StreamConfig) -> Finding:
    """Hold the timestamps of the stream that matches against the arrival of its samples."""
    check = f"clock of {stream.name}"
    do = "let the source stamp with the LSL clock, at the rate that it declares"
    (info,) = (info for info in infos if matches(info, stream.match))
    try:
        sfreq, contradictions = listen(stream, info)
    except HypnodError as error:
        return Finding(check=check, level="error", found=str(error), do=do)
    if sfreq is None:
        return Finding(check=check, level="warning", found="no samples come", do="start them")
    if contradictions:
        return Finding(check=check, level="warning", found="; ".join(contradictions), do=do)
    found = f"timestamps and the arrival of samples agree, {sfreq:.0f} Hz"
    return Finding(check=check, level="ok", found=found)


def _show(findings: Sequence[Finding], streams: Sequence[VisibleStream]) -> None:
    """Print the streams first: what has to be done is what a person sees last."""
    console = plain_console(soft_wrap=True)
    if streams:
        plain_console().print(_table(streams))
    for finding in findings:
        level = (f"{finding.level:7}", STYLES[finding.level])
        console.print(Text.assemble(level, " ", (finding.check, "bold"), f": {finding.found}"))
        if finding.do:
            console.print(f"        → {finding.do}")
    counts = Counter(finding.level for finding in findings)
    console.print(f"errors: {counts['error']}, warnings: {counts['warning']}")


def _table(streams: Sequence[VisibleStream]) -> Table:
    columns = ("name", "type", "source_id", "host", "Hz", "channels (unit)")
    table = Table(*columns, title="visible LSL streams")
    for s in streams:
        pairs = zip(s.ch_names, map(printable, s.units), strict=True)
        channels = [f"{name} ({unit or 'no unit'})" for name, unit in pairs]
        if (more := len(channels) - _SHOWN) > 0:
            channels = [*channels[: _SHOWN - 1], f"… {more} more …", channels[-1]]
        said = map(printable, (s.name, s.type, s.source_id, s.hostname))
        table.add_row(*said, f"{s.sfreq:g}", ", ".join(channels))
    return table
