"""Which recording is staged, whose channels are which, and by what: options and what they mean."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from daemon.config import Config, StreamConfig
from engines.bundle import Bundle, open_bundle
from models.recordings.channels import Chosen, choose
from models.recordings.open import check_match
from models.spec import ModelSpec
from tools.shared.match import read_match
from tools.shared.unit import read_unit

FileArgument = Annotated[Path, typer.Argument(help="EDF, BDF, .mat or XDF.", metavar="FILE")]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", help="Take subjects, channels, quality and staging from a hypnod.toml."
    ),
]
StreamOption = Annotated[
    str | None, typer.Option("--stream", help="Which stream of the config; default: its only one.")
]
EegOption = Annotated[
    list[str] | None,
    typer.Option("--eeg", help="Label of a subject's EEG; once for each subject."),
]
EmgOption = Annotated[
    list[str] | None, typer.Option("--emg", help="Label of its EMG; `A-B` is a difference.")
]
SubjectOption = Annotated[
    list[str] | None, typer.Option("--subject", help="Its name; default: m1, m2, …, of people p1.")
]
EogOption = Annotated[list[str] | None, typer.Option("--eog", help="Label of its EOG.")]
EngineOption = Annotated[
    str | None,
    typer.Option("--engine", help="onnxruntime or torch; default: the best one here."),
]
AnywayOption = Annotated[
    bool,
    typer.Option("--anyway", help="Also where it is not of animals that the model knows."),
]


def open_asked(path: Path | None, species: str | None, config: Config) -> Bundle:
    """Open the bundle that the options name, or else the config.

    Raises:
        BundleError: it cannot be opened, or is of another species.
    """
    if path is None and species is None:
        return open_bundle(config.engine.folder, config.engine.species)
    return open_bundle(path, species)


def choose_asked(
    file: Path,
    spec: ModelSpec,
    configured: StreamConfig | None,
    channels: Mapping[str, Sequence[str] | None],
    names: Sequence[str] | None,
    unit: str | None,
    match: Sequence[str] | None,
) -> Chosen:
    """Open a recording and settle which channels are whose, in which unit.

    Args:
        file: the recording.
        spec: the model.
        configured: from a config; takes precedence.
        channels: labels by modality, one a subject; none: they are guessed.
        names: of the subjects.
        unit: as `--unit` has it.
        match: as `--match` has it.

    Raises:
        ConfigError: the options contradict each other, or the labels do not tell.
        RecordingError: the file cannot be used.
    """
    asked = read_match(match)
    check_match([file], asked)
    asked = asked or (configured.match if configured else {})
    labels = {modality: given or [] for modality, given in channels.items()}
    units = read_unit(unit)
    found = choose(file, configured, labels, names or [], spec, asked)
    if units is None:
        return found
    return found._replace(stream=msgspec.structs.replace(found.stream, unit=units))
