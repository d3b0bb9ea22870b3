"""From a stream's channels to microvolts of each subject's modalities."""

import difflib
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.errors import ConfigError, StreamError
from models.signal.chunk import StreamDescription

_MICROVOLTS = {
    "nv": 1e-3,
    "nanovolts": 1e-3,
    "uv": 1.0,
    "µv": 1.0,  # micro sign
    "μv": 1.0,  # Greek mu, as some amplifiers write it
    "microvolt": 1.0,
    "microvolts": 1.0,
    "mv": 1e3,
    "millivolt": 1e3,
    "millivolts": 1e3,
    "v": 1e6,
    "volt": 1e6,
    "volts": 1e6,
}

_LISTED = 32
"""Channels that a sentence names."""

Unit = Literal["V", "mV", "µV", "uV"]
"""As a config or an option says it."""
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class SubjectChannels(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which channels are one animal's or person's."""

    name: Name
    """Name of the subject, unique in the file."""
    channels: Annotated[dict[str, str], msgspec.Meta(min_length=1)]
    """The channel of each modality, by label, e.g. `{ eeg = "EEG1", emg = "EMG1-EMG2" }`; `A-B`
    is the difference of two channels."""


class StreamChannels(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which channels of a stream or a recording are whose."""

    name: Name
    """Name of the stream in messages, metrics and logs, unique in the file."""
    subjects: tuple[SubjectChannels, ...]
    """The subjects in it."""
    unit: Unit | None = None
    """Unit of all channels; default: what the stream's description says of each."""
    jitter_s: Annotated[float, msgspec.Meta(gt=0)] = 0.02
    """How far a timestamp may lie from where the sampling rate puts it; a sample later than that
    comes after a gap, s."""


def check_modalities(subject: SubjectChannels, modalities: Sequence[str]) -> None:
    """Raise ConfigError unless the subject's channels are of modalities that the model reads."""
    unknown = sorted(set(subject.channels) - set(modalities))
    if unknown or not subject.channels:
        raise ConfigError(
            f"subject {subject.name!r}: expected channels for {' and '.join(modalities)}, "
            f"found {', '.join(subject.channels) or 'none'}"
        )


class Montage:
    """Picks, subtracts and scales channels; columns are subject × n_modalities + modality.

    A modality that a subject has no channel for is a column of NaN: always missing.

    Args:
        stream: the subjects and their channels by label.
        description: the stream's labels and units.
        modalities: in the model's order.

    Raises:
        ConfigError: a modality that the model does not know.
        StreamError: a label the stream does not have, twice the same label, or no known unit.
    """

    def __init__(
        self, stream: StreamChannels, description: StreamDescription, modalities: Sequence[str]
    ) -> None:
        plus, minus, column = [], [], []
        self.units = [""] * len(stream.subjects) * len(modalities)
        """Unit of each column as declared; empty where there is no channel."""
        for s, subject in enumerate(stream.subjects):
            check_modalities(subject, modalities)
            for modality, label in subject.channels.items():
                anode, cathode = _find_channels(label, description)
                plus.append(anode)
                minus.append(cathode)
                column.append(s * len(modalities) + modalities.index(modality))
                self.units[column[-1]] = stream.unit or description.units[anode]
        self.n_columns = len(stream.subjects) * len(modalities)
        self._column = np.array(column)
        self._plus, self._plus_uv = self._scaled(plus, stream, description)
        differences = [i for i, cathode in enumerate(minus) if cathode is not None]
        self._difference = np.array(differences, dtype=np.intp)
        cathodes = [cathode for cathode in minus if cathode is not None]
        self._minus, self._minus_uv = self._scaled(cathodes, stream, description)

    @staticmethod
    def _scaled(
        channels: list[int], stream: StreamChannels, description: StreamDescription
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        units = [stream.unit or description.units[c] for c in channels]
        labels = [description.ch_names[c] for c in channels]
        scale = [
            to_microvolts(u, label, description.name)
            for u, label in zip(units, labels, strict=True)
        ]
        return np.array(channels, dtype=np.intp), np.array(scale)

    def apply(self, data: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the columns in µV.

        Args:
            data: (n_samples, n_channels), in the stream's units.

        Returns:
            (n_samples, n_subjects * n_modalities).
        """
        # Elementwise on purpose: a matrix product rounds differently with the chunk's length.
        picked = data[:, self._plus] * self._plus_uv
        with np.errstate(invalid="ignore"):  # infinity less infinity is not a number, and goes on
            picked[:, self._difference] -= data[:, self._minus] * self._minus_uv
        out = np.full((len(data), self.n_columns), np.nan)
        out[:, self._column] = picked
        return out


def to_microvolts(unit: str, label: str, stream: str) -> float:
    """Return the µV in one `unit`; raises StreamError where the unit is unknown."""
    factor = _MICROVOLTS.get(unit.strip().lower())
    if factor is None:
        found = repr(unit) if unit else "no unit"
        raise StreamError(
            f"stream {stream!r}: expected channel {label!r} in V, mV or µV, found {found}; "
            f"set the stream's unit in the config"
        )
    return factor


def parts_of(label: str, known: Sequence[str]) -> tuple[str, ...]:
    """Return a channel's label, or both labels of a difference `A-B`; none where it is unknown."""
    if label in known:
        return (label,)
    for i, character in enumerate(label):
        pair = label[:i].strip(), label[i + 1 :].strip()
        if character == "-" and set(pair) <= set(known):
            return pair
    return ()


def _find_channels(label: str, description: StreamDescription) -> tuple[int, int | None]:
    """Return the index of the channel, or of both channels of a difference `A-B`."""
    names = description.ch_names
    parts = parts_of(label, names)
    if not parts:
        near = difflib.get_close_matches(label, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        if all(name.isdecimal() for name in names):
            hint = "; without labels in its description, channels go by their numbers: use those"
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        raise StreamError(
            f"stream {description.name!r}: expected a channel {label!r}, "
            f"found {', '.join(names[:_LISTED])}{more}{hint}"
        )
    found = [_index(part, description) for part in parts]
    return found[0], found[1] if len(found) > 1 else None


def _index(label: str, description: StreamDescription) -> int:
    count = description.ch_names.count(label)
    if count > 1:
        raise StreamError(
            f"stream {description.name!r}: expected one channel {label!r}, found {count} of them"
        )
    return description.ch_names.index(label)
