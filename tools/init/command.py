"""`hypnod init`: a config for a stream that is visible, or for a recording's."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from daemon.config import parse_config
from daemon.lsl.library import check_stream, describe, identify, list_visible, matches
from daemon.lsl.outlet import CONTENT_TYPES
from engines.bundle import open_bundle
from models.errors import StreamError
from models.recordings.as_stream import describe as describe_recording
from models.recordings.open import check_match, open_recording
from models.recordings.psg.montage import likely_channels
from models.recordings.writers import replacing
from models.signal.chunk import StreamDescription, printable
from models.signal.conditioning import check_sfreq
from models.signal.montage import Montage, Unit, Units, parts_of, to_microvolts
from models.simulator.species import SIMULATORS
from models.spec import ModelSpec
from models.species import contradict
from models.stages import INITIAL
from tools.init.counting import check_step, count_up
from tools.shared.match import MatchOption, read_match
from tools.shared.species import SpeciesOption
from tools.shared.unit import read_unit
from tools.shared.visible import find_streams, full_info

_ONE = {"mouse": "animal", "human": "person"}
_SHOWN = 16
"""Labels that are shown to who is asked for one."""


def init(
    out: Annotated[Path, typer.Argument(help="The config to write.")] = Path("hypnod.toml"),
    stream: Annotated[
        str, typer.Option(help="Name of the LSL stream; default: the only one.", metavar="NAME")
    ] = "",
    recording: Annotated[
        Path | None, typer.Option(help="For this file, as hypnod replay plays it.", metavar="FILE")
    ] = None,
    match: MatchOption = None,
    species: SpeciesOption = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Model bundle; default: the one shipped.", metavar="DIR")
    ] = None,
    eeg: Annotated[
        str | None, typer.Option(help="EEG of the first subject: CH1, or CH1-CH2.", metavar="LABEL")
    ] = None,
    emg: Annotated[
        str | None, typer.Option(help="EMG of the first animal; none: ''.", metavar="LABEL")
    ] = None,
    eog: Annotated[
        str | None, typer.Option(help="EOG of the first person; none: ''.", metavar="LABEL")
    ] = None,
    subjects: Annotated[
        int | None,
        typer.Option(
            *("--subjects", "--animals"),
            min=1,
            help="How many; default: all that there are labels for.",
        ),
    ] = None,
    step: Annotated[
        int | None,
        typer.Option(
            min=1, help="By how much the numbers of the next subject's channels are higher."
        ),
    ] = None,
    unit: Annotated[
        str,
        typer.Option(
            help="Where the stream says none: V, mV or µV, or of some, as in EMG=mV.",
            metavar="UNIT",
        ),
    ] = "",
    timeout: Annotated[float, typer.Option(min=0.5, help="Search streams for this long, s.")] = 2.0,
) -> None:
    """Write **a config** for a stream that is visible, ready for doctor and run.

    The first subject's channels say where those of the next ones are, by their numbers: after CH1
    and CH2 come CH3 and CH4, after CH1 and CH3-CH4 come CH5 and CH7-CH8, after EEG1 and EMG1 come
    EEG2 and EMG2. Where others are as likely, as CH2 and CH10 after CH1 and CH9, --step tells.
    What is not given is asked for.

    With --species human the EEG and the EOG are looked for by the names of their electrodes, as
    `hypnod score` does, there is one person, and a stage is said every 5 s of the epochs of 30 s.

        hypnod init                                             # asks

        hypnod init --stream "Rack 1" --eeg CH1 --emg CH2 --animals 8

        hypnod init --stream "Rack 1" --eeg CH1 --emg CH9 --step 1

        hypnod init trial.toml --recording night.edf --eeg EEG1 --emg EMG1

        hypnod init --species human --eeg C4-M1 --eog E1-M2
    """
    if out.exists():
        raise typer.BadParameter(f"OUT: expected a file to make, found {out} there already")
    if recording is not None and stream:
        raise typer.BadParameter("expected --stream or --recording, found both")
    spec = open_bundle(bundle, species).spec
    info, asked = None, read_match(match)
    if recording is not None:
        check_match([recording], asked)
        opened = open_recording(recording, match=asked, min_sfreq=spec.min_sfreq)
        found = describe_recording(opened)
        meant = {"name": recording.stem}
    else:
        info, meant = _find(stream, asked, timeout, spec.min_sfreq)
        found = describe(info)
    if species is None and (contradiction := contradict(found.ch_names, spec)) is not None:
        raise typer.BadParameter(contradiction)
    first = _ask_channels(found, {"eeg": eeg, "emg": emg, "eog": eog}, spec)
    if spec.species == "human" and subjects is None:
        subjects = 1  # what comes after C4 is no other person's
    if step is None and subjects != 1:
        check_step(first, found.ch_names)
    counted = count_up(first, found.ch_names, endless=subjects is not None, step=step)
    each = list(islice(counted, subjects))
    units = read_unit(unit) if unit else _ask_unit(first, found)
    replay = []
    if recording is not None:
        chosen = " ".join(f"--match {shlex.quote(f'{k}={v}')}" for k, v in asked.items())
        replay = [f"hypnod replay {shlex.quote(str(recording))} {chosen}".rstrip()]
    engine = {} if bundle is None else {"bundle": str(bundle.resolve())}
    engine |= {"species": species} if species else {}
    text = _compose(out, meant, units, each, replay, spec) + _tell_model(engine, spec)
    config = parse_config(text, str(out)).streams[0]
    Montage(config, found, spec.modalities)
    check_sfreq(spec, found.sfreq)
    if info is not None:
        check_stream(config, info)
    with replacing(out) as draft:
        draft.write_text(text, encoding="utf-8")
    labels = {label for subject in each for label in subject.values()}
    taken = {part for label in labels for part in parts_of(label, found.ch_names)}
    if left := [label for label in found.ch_names if label not in taken]:
        typer.echo(f"of no {_ONE[spec.species]}: {_some(left)}")
    plural = SIMULATORS[spec.species].plural
    typer.echo(f"written: {out}, {plural}: {len(each)}\nnext: {_commands(out)[0]}")


def _find(
    name: str, asked: Mapping[str, str], timeout_s: float, min_sfreq: float
) -> tuple[Any, dict[str, str]]:
    """Return the full description of the stream that is meant, and what it alone has."""
    infos = [info for info in find_streams(timeout_s) if info.type() not in CONTENT_TYPES]
    named = [info for info in infos if name in ("", info.name()) and matches(info, asked)]
    fast = [info for info in named if info.nominal_srate() >= min_sfreq]
    meant = fast or named
    wanted = f"a stream {name!r}" if name else "a stream"
    if not meant:
        raise StreamError(
            f"expected {wanted}, found none: {list_visible(infos)}; start its source, or take a "
            "recording of it with --recording"
        )
    if len(meant) > 1:
        raise StreamError(
            f"expected one stream, found {wanted} among {', '.join(map(identify, meant))}; "
            f"{_choose(meant)}"
        )
    match = {"name": meant[0].name()}
    alike = [info for info in infos if info.name() == match["name"] and info is not meant[0]]
    for key in ("type", "source_id", "hostname"):
        value = getattr(meant[0], key)()
        if any(getattr(info, key)() == value for info in alike):
            continue
        return full_info(meant[0]), match | ({key: value} if alike else {})
    return full_info(meant[0]), match


def _choose(infos: Sequence[Any]) -> str:
    """Say which option chooses one of several streams."""
    options = {"--stream ": "name", "--match type=": "type", "--match source_id=": "source_id"}
    for option, key in options.items():
        values = sorted({str(getattr(info, key)()) for info in infos})
        if len(values) > 1:
            return f"choose by {' or '.join(option + shlex.quote(value) for value in values)}"
    return "stop one, or give each a source_id of its own to choose by"


def _ask_channels(
    found: StreamDescription, given: Mapping[str, str | None], spec: ModelSpec
) -> dict[str, str]:
    """Return the first subject's channels, as given or as a person says.

    Raises:
        BadParameter: there are none, or one is given that the model does not read.
    """
    typer.echo(f"{printable(found.name)}: {found.sfreq:g} Hz, {_some(found.ch_names)}")
    options = " or ".join(f"--{modality}" for modality in spec.modalities)
    if other := [m for m, label in given.items() if label and m not in spec.modalities]:
        raise typer.BadParameter(
            f"expected {options} for the species {spec.species}, found --{other[0]}"
        )
    guesses = _guess(found.ch_names, spec)
    channels = {}
    for modality in spec.modalities:
        text = f"{modality.upper()} of the first {_ONE[spec.species]}"
        text += " (A-B for a difference, empty for none)"
        label, guess = given[modality], guesses.get(modality, "")
        chosen = _ask(f"--{modality}", text, guess) if label is None else label
        if chosen:
            channels[modality] = chosen
    if not channels:
        raise typer.BadParameter(f"expected {options}, found neither")
    return channels


def _guess(labels: Sequence[str], spec: ModelSpec) -> dict[str, str]:
    """Return the likely channel of each modality; of people by the names of the electrodes."""
    if spec.species == "human":
        return {m: pick.label for m, pick in likely_channels(labels, spec.modalities).items()}
    named = {m: [label for label in labels if m in label.lower()] for m in spec.modalities}
    return {modality: several[0] for modality, several in named.items() if several}


def _some(labels: Sequence[str]) -> str:
    more = len(labels) - _SHOWN
    return ", ".join(labels[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _ask_unit(channels: Mapping[str, str], found: StreamDescription) -> Units | None:
    """Return the units where the stream says none that hypnod knows; None where it says all."""
    said = dict(zip(found.ch_names, found.units, strict=True))
    units = {m: {said[part] for part in parts_of(c, found.ch_names)} for m, c in channels.items()}
    strange = {u for each in units.values() for u in each if to_microvolts(u) is None}
    unknown = [modality for modality, each in units.items() if each & strange]
    if not unknown:
        return None
    of = "" if len(unknown) == len(channels) else f" of {' and '.join(unknown)}"
    says = ", ".join(sorted(printable(unit) for unit in strange if unit.strip())) or "none"
    text = f"Unit{of}; it says {says} ({', '.join(get_args(Unit))})"
    answer = read_unit(_ask("--unit", text, "µV"))
    if answer is None or isinstance(answer, dict) or not of:
        return answer
    return dict.fromkeys(unknown, answer)


def _ask(option: str, text: str, guess: str) -> str:
    try:
        answer: str = typer.prompt(text, default=guess, show_default=bool(guess))
    except typer.Abort as error:
        raise typer.BadParameter(f"expected {option}, or an answer; found none") from error
    return answer.strip()


def _compose(
    out: Path,
    match: Mapping[str, str],
    unit: Units | None,
    subjects: Sequence[Mapping[str, str]],
    replay: Sequence[str],
    spec: ModelSpec,
) -> str:
    """Return the config as TOML, with what to do with it on top, after the replay that it needs."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", match["name"]).strip("-_") or "stream"
    prefix = INITIAL[spec.species]
    lines = [f"# {line}" for line in (*replay, *_commands(out))]
    lines += [
        "# every key: docs/config.md",
        "",
        "[[streams]]",
        f"name = {json.dumps(name)}",
        f"match = {_inline(match)}",
        *([] if unit is None else [f"unit = {_toml(unit)}"]),
        "subjects = [",
        *(
            f'  {{ name = "{prefix}{number}", channels = {_inline(channels)} }},'
            for number, channels in enumerate(subjects, 1)
        ),
        "]",
    ]
    return "\n".join(lines) + "\n"


def _tell_model(engine: Mapping[str, str], spec: ModelSpec) -> str:
    """Return the TOML of whose model it is, and of how often it says a stage."""
    lines = (
        [] if not engine else ["", "[engine]", *(f"{k} = {_quoted(v)}" for k, v in engine.items())]
    )
    if spec.live_hop_s < spec.epoch_s:
        every = f"a stage every {spec.live_hop_s:g} s, of the last {spec.epoch_s:g} s each"
        lines += ["", "[staging]", f"hop_s = {spec.live_hop_s:g}  # {every}"]
    return "".join(f"{line}\n" for line in lines)


def _commands(out: Path) -> list[str]:
    config = f"--config {shlex.quote(str(out))}"
    return [f"hypnod {command} {config}" for command in ("doctor", "run", "watch")]


def _toml(unit: Units) -> str:
    return _inline(unit) if isinstance(unit, dict) else _quoted(unit)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _inline(table: Mapping[str, str]) -> str:
    pairs = (f"{key} = {_quoted(value)}" for key, value in table.items())
    return f"{{ {', '.join(pairs)} }}"
