"""The stages as an LSL stream, so that LabRecorder stores them beside the raw data."""

from collections.abc import Mapping, Sequence
from typing import Any

from daemon.config import StreamConfig
from daemon.lsl.library import load_pylsl
from daemon.messages import StageMessage
from daemon.outbox import Round
from models.spec import ModelSpec
from models.stages import ART, UNKNOWN

CONTENT_TYPE = "Hypnogram"


class StageOutlet:
    """One LSL stream of live stages: a string channel per subject, a sample per epoch.

    Args:
        stream: the stream that is staged; the outlet is `hypnod.<its name>`.
        spec: the model.
        model: hash of the bundle.
        config: hash of the config; with the name it identifies the outlet over a restart.
    """

    def __init__(self, stream: StreamConfig, spec: ModelSpec, model: str, config: str) -> None:
        self._stream = stream.name
        self._subjects = tuple(subject.name for subject in stream.subjects)
        lsl = load_pylsl()
        name = f"hypnod.{stream.name}"
        info = lsl.StreamInfo(
            name=name,
            type=CONTENT_TYPE,
            channel_count=len(self._subjects),
            nominal_srate=lsl.IRREGULAR_RATE,
            channel_format=lsl.cf_string,
            source_id=f"{name}.{config}",
        )
        _describe(info, self._subjects, spec, model)
        self._outlet = lsl.StreamOutlet(info)

    def take(self, what: Round) -> None:
        """Push the live stages of a round that are of this stream."""
        stages = [m for m in what.messages if isinstance(m, StageMessage) and m.kind == "live"]
        lives: dict[float, dict[str, str]] = {}
        for live in stages:
            if live.stream == self._stream:
                lives.setdefault(live.onset, {})[live.subject] = live.stage
        for onset, by_subject in lives.items():
            self.push(by_subject, onset + what.clock_offsets[self._stream])

    def push(self, stages: Mapping[str, str], onset: float) -> None:
        """Push the live stages of one epoch.

        Args:
            stages: stage by subject; a subject without one is UNKNOWN.
            onset: of the epoch, on this machine's LSL clock, s.
        """
        sample = [stages.get(subject, UNKNOWN) for subject in self._subjects]
        self._outlet.push_sample(sample, onset)

    def close(self) -> None:
        """Take the stream off the network."""
        del self._outlet


def _describe(info: Any, subjects: Sequence[str], spec: ModelSpec, model: str) -> None:
    desc = info.desc()
    desc.append_child_value("kind", "live")
    desc.append_child_value("stages", " ".join((*spec.stages, ART, UNKNOWN)))
    desc.append_child_value("epoch_s", f"{spec.epoch_s:g}")
    desc.append_child_value("model", model)
    channels = desc.append_child("channels")
    for subject in subjects:
        channel = channels.append_child("channel")
        channel.append_child_value("label", subject)
        channel.append_child_value("type", "Stage")
