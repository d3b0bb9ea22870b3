"""The stages as two LSL streams: words, which LabRecorder stores, and numbers, for all others."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from daemon.config import StreamConfig
from daemon.lsl.library import load_pylsl
from daemon.messages import StageMessage
from daemon.outbox import Round
from models.spec import ModelSpec
from models.stages import ART, UNKNOWN

CONTENT_TYPES = ("Hypnogram", "Hypnodensity")
"""What the two are in LSL."""


class StageOutlet:
    """The live stages of one stream, a sample per epoch, stamped with its onset.

    `hypnod.<stream>`, type Hypnogram, has a string channel for each subject: its stage.
    `hypnod.<stream>.prob`, type Hypnodensity, has a float32 channel for each subject and stage,
    `m1.Wake`, `m1.NREM`, …: its probability, NaN where the subject's stage is ART or UNKNOWN.

    Args:
        stream: the stream that is staged.
        spec: the model.
        model: hash of the bundle.
        config: hash of the config; with the name it identifies the outlets over a restart.
    """

    def __init__(self, stream: StreamConfig, spec: ModelSpec, model: str, config: str) -> None:
        self._stream, self._stages = stream.name, spec.stages
        self._subjects = tuple(subject.name for subject in stream.subjects)
        described = {
            "kind": "live",
            "stages": " ".join((*spec.stages, ART, UNKNOWN)),
            "epoch_s": f"{spec.epoch_s:g}",
            "model": model,
        }
        columns = [f"{subject}.{stage}" for subject in self._subjects for stage in self._stages]
        name, strings, floats = f"hypnod.{stream.name}", load_pylsl().cf_string, "float32"
        hypnogram, hypnodensity = CONTENT_TYPES
        self._words = _open(name, hypnogram, strings, config, described, self._subjects, "Stage")
        self._numbers = _open(
            f"{name}.prob", hypnodensity, floats, config, described, columns, "misc"
        )

    def take(self, what: Round) -> None:
        """Push the live stages of a round that are of this stream."""
        epochs: dict[float, dict[str, StageMessage]] = {}
        for m in what.messages:
            if isinstance(m, StageMessage) and m.kind == "live" and m.stream == self._stream:
                epochs.setdefault(m.onset, {})[m.subject] = m
        for onset, by_subject in epochs.items():
            self.push(by_subject, onset + what.clock_offsets[self._stream])

    def push(self, lives: Mapping[str, StageMessage], onset: float) -> None:
        """Push the live stages of one epoch.

        Args:
            lives: by subject; one without is UNKNOWN.
            onset: of the epoch, on this machine's LSL clock, s.
        """
        words, numbers = [], []
        for subject in self._subjects:
            live = lives.get(subject)
            words.append(live.stage if live else UNKNOWN)
            probabilities = live.probabilities if live else {}
            numbers += [probabilities.get(stage, math.nan) for stage in self._stages]
        self._words.push_sample(words, onset)
        self._numbers.push_sample(numbers, onset)

    def close(self) -> None:
        """Take the streams off the network."""
        del self._words, self._numbers


def _open(
    name: str,
    content: str,
    channel_format: Any,
    config: str,
    described: Mapping[str, str],
    labels: Sequence[str],
    kind: str,
) -> Any:
    """Return an outlet that says of itself what an XDF file should hold."""
    lsl = load_pylsl()
    info = lsl.StreamInfo(
        name=name,
        type=content,
        channel_count=len(labels),
        nominal_srate=lsl.IRREGULAR_RATE,
        channel_format=channel_format,
        source_id=f"{name}.{config}",
    )
    desc = info.desc()
    for key, value in described.items():
        desc.append_child_value(key, value)
    channels = desc.append_child("channels")
    for label in labels:
        channel = channels.append_child("channel")
        channel.append_child_value("label", label)
        channel.append_child_value("type", kind)
    return lsl.StreamOutlet(info)
