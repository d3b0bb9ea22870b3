"""Which channels of a recording belong to which subject, where no config says it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from models.errors import ConfigError
from models.recordings.as_stream import open_for
from models.recordings.open import Recording, open_recording
from models.signal.montage import StreamChannels, SubjectChannels

_NAME = "recording"


def choose(
    path: Path,
    stream: StreamChannels | None,
    channels: Mapping[str, Sequence[str]],
    names: Sequence[str],
    modalities: Sequence[str],
) -> tuple[Recording, StreamChannels, bool]:
    """Open a recording and settle which channels are whose.

    Args:
        path: the recording.
        stream: from a config; takes precedence.
        channels: labels by modality, one a subject; empty: they are guessed.
        names: of the subjects; default: m1, m2, …
        modalities: what the model reads.

    Returns:
        The recording, its subjects as a stream, and whether they were guessed.

    Raises:
        ConfigError: the options contradict each other, or the labels do not tell.
        RecordingError: the file cannot be used.
    """
    named = any(channels.values())
    if stream is not None:
        if named or names:
            raise ConfigError(
                "expected channels and subjects from the config or one by one, found both"
            )
        return open_for(path, stream), stream, False
    if named:
        chosen = StreamChannels(name=_NAME, subjects=named_subjects(channels, names))
        return open_for(path, chosen), chosen, False
    recording = open_recording(path)
    subjects = guess_subjects(recording.ch_names, modalities)
    if names:
        found = {m: [s.channels[m] for s in subjects if m in s.channels] for m in modalities}
        subjects = named_subjects(found, names)
    return recording, StreamChannels(name=_NAME, subjects=subjects), True


def guess_subjects(labels: Sequence[str], modalities: Sequence[str]) -> tuple[SubjectChannels, ...]:
    """Pair the channels whose labels differ in the modality alone, such as EEG1 and EMG1.

    Subjects are called m1, m2, … in the order of their first channels.

    Raises:
        ConfigError: the labels do not tell.
    """
    found: dict[str, dict[str, str]] = {}
    for label in labels:
        modality = next((m for m in modalities if m in label.lower()), None)
        if modality is not None:
            rest = re.sub(modality, "", label, count=1, flags=re.IGNORECASE).strip(" _-.:")
            found.setdefault(rest, {}).setdefault(modality, label)
    whole = [channels for channels in found.values() if len(channels) == len(modalities)]
    if not whole:
        whole = [_lone_subject(labels, list(found.values()), modalities)]
    return tuple(SubjectChannels(name=f"m{i}", channels=c) for i, c in enumerate(whole, start=1))


def _lone_subject(
    labels: Sequence[str], found: list[dict[str, str]], modalities: Sequence[str]
) -> dict[str, str]:
    """Return the channels of the only subject, if there is at most one of each modality."""
    pairs = [pair for channels in found for pair in channels.items()]
    if not pairs or len(dict(pairs)) != len(pairs):
        names = [m.upper() for m in modalities]
        raise ConfigError(
            f"expected labels that tell the subjects' channels apart, such as "
            f"{' and '.join(f'{name}1' for name in names)}, found {', '.join(labels)}; name them "
            f"with {' and '.join(f'--{m}' for m in modalities)}"
        )
    return dict(pairs)


def named_subjects(
    channels: Mapping[str, Sequence[str]], names: Sequence[str]
) -> tuple[SubjectChannels, ...]:
    """Return the subjects whose channels were named one by one.

    Args:
        channels: labels by modality, one a subject; a modality may have none.
        names: of the subjects; default: m1, m2, …

    Raises:
        ConfigError: the numbers do not match.
    """
    given = {modality: labels for modality, labels in channels.items() if labels}
    n = max(map(len, given.values()))
    names = names or [f"m{i}" for i in range(1, n + 1)]
    if {len(names), *map(len, given.values())} != {n}:
        counts = ", ".join(f"{len(labels)} × --{m}" for m, labels in given.items())
        raise ConfigError(
            f"expected as many channels of each modality as subjects, "
            f"found {counts} for {len(names)} subjects"
        )
    return tuple(
        SubjectChannels(name=name, channels={m: labels[i] for m, labels in given.items()})
        for i, name in enumerate(names)
    )
