"""From a stream's channels to microvolts of each subject's modalities."""

import difflib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.errors import ConfigError, HypnodError, RecordingError, StreamError
from models.signal.chunk import StreamDescription

_PREFIXES = {
    "": 1e6,
    **dict.fromkeys(("m", "milli"), 1e3),
    **dict.fromkeys(("µ", "μ", "u", "mu", "mc", "mk", "micro", "mikro"), 1.0),
    # What became of a µ: code page 437 or Shift JIS read as Latin-1, or no letter that was known.
    **dict.fromkeys(("æ", "\x83ê", "âµ", "?", "\ufffd"), 1.0),
    **dict.fromkeys(("n", "nano"), 1e-3),
}
_POWERS = {"0": 1e6, "-3": 1e3, "-6": 1.0, "-9": 1e-3}  # of ten, in V, as MNE-LSL sends them
_MICROVOLTS = {
    **{prefix + volt: uv for prefix, uv in _PREFIXES.items() for volt in ("v", "volt", "volts")},
    **_POWERS,
    **{f"{float(power):.1f}": uv for power, uv in _POWERS.items()},
}

_KINDS = ("EEG", "EMG", "EOG", "ECG")  # nobody who writes one of these in a label means another
_LISTED = 32
"""Channels that a sentence names."""

Unit = Literal["V", "mV", "µV", "uV", "nV"]
"""As a config or an option says it."""
Units = Unit | dict[str, Unit]
"""Of all channels, or of those of a modality."""
Nothing: Mapping[str, str] = MappingProxyType({})
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}\Z")]


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
    unit: Units | None = None
    """Unit of all channels, or of a modality's, e.g. `{ emg = "mV" }`; default: what the stream's
    description says of each."""
    jitter_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 0.02
    """How far a timestamp may lie from where the sampling rate puts it; a sample later than that
    comes after a gap, s."""

    @property
    def by_eog_alone(self) -> str | None:
        """Say who is staged without an EEG; None where nobody is."""
        names = [s.name for s in self.subjects if {"eeg", "eog"} & s.channels.keys() == {"eog"}]
        if not names:
            return None
        return (
            f"no EEG of {', '.join(names)}: staged by the EOG alone, which nobody has measured on "
            "real people"
        )


class _Picked(NamedTuple):
    """A channel that is used."""

    channel: int
    modality: str
    unit: str
    """As it is set, or else declared."""


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
        StreamError, RecordingError: a label the stream or recording does not have, or no known
            unit.
    """

    def __init__(
        self, stream: StreamChannels, description: StreamDescription, modalities: Sequence[str]
    ) -> None:
        if isinstance(stream.unit, dict) and not {*stream.unit} <= {*modalities}:
            raise ConfigError(
                f"unit: expected units of {' and '.join(modalities)}, found one of "
                f"{', '.join(stream.unit)}"
            )
        plus: list[_Picked] = []
        minus: list[_Picked] = []
        column: list[int] = []
        differences: list[int] = []
        self.units = [""] * len(stream.subjects) * len(modalities)
        """Unit of each column as declared; empty where there is no channel."""
        taken: dict[frozenset[int | None], str] = {}
        for s, subject in enumerate(stream.subjects):
            check_modalities(subject, modalities)
            for modality, label in subject.channels.items():
                anode, cathode = _find_channels(label, description)
                if anode == cathode:
                    raise misfit(
                        description,
                        f"expected two channels as {modality} of {subject.name}, found {label!r}",
                    )
                channels = frozenset((anode, cathode))
                if channels in taken:
                    raise misfit(
                        description,
                        f"expected another signal as {modality} of {subject.name} than "
                        f"{taken[channels]!r}, found {label!r}, which holds nothing else",
                    )
                taken[channels] = label
                unit = unit_of(stream, modality)
                plus.append(_Picked(anode, modality, unit or description.units[anode]))
                if cathode is not None:
                    differences.append(len(column))
                    minus.append(_Picked(cathode, modality, unit or description.units[cathode]))
                column.append(s * len(modalities) + modalities.index(modality))
                self.units[column[-1]] = plus[-1].unit
        self.n_columns = len(stream.subjects) * len(modalities)
        self._column = np.array(column)
        known = {picked.modality for picked in plus if to_microvolts(picked.unit) is not None}
        self._plus, self._plus_uv = self._scaled(plus, known, stream, description)
        self._difference = np.array(differences, dtype=np.intp)
        self._minus, self._minus_uv = self._scaled(minus, known, stream, description)

    @staticmethod
    def _scaled(
        channels: list["_Picked"],
        known: set[str],
        stream: StreamChannels,
        description: StreamDescription,
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        scale = [
            microvolts_in(
                unit,
                description.ch_names[channel],
                description,
                units_with(stream, modality, "µV", apart=bool(known - {modality})),
            )
            for channel, modality, unit in channels
        ]
        return np.array([picked.channel for picked in channels], dtype=np.intp), np.array(scale)

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


def to_microvolts(unit: str) -> float | None:
    """Return the µV in one `unit`, or in one of so many powers of ten V; None: it is unknown."""
    return _MICROVOLTS.get("".join(unit.lower().split()).strip("\0."))


def unit_of(stream: StreamChannels, modality: str) -> Unit | None:
    """Return the unit that is set for a modality's channels."""
    return stream.unit.get(modality) if isinstance(stream.unit, dict) else stream.unit


def units_with(stream: StreamChannels, modality: str, unit: Unit, *, apart: bool) -> Units:
    """Return the units to set where one modality has another one: of all channels, or apart."""
    if not apart:
        return unit
    modalities = dict.fromkeys(m for subject in stream.subjects for m in subject.channels)
    said = {m: set_to for m in modalities if (set_to := unit_of(stream, m)) is not None}
    return said | {modality: unit}


def microvolts_in(
    unit: str, label: str, description: StreamDescription, advised: Units = "µV"
) -> float:
    """Return the µV in one `unit` of a channel.

    Args:
        unit: as somebody wrote it.
        label: of the channel, for people.
        description: of its stream or recording.
        advised: the units to set where it is unknown.

    Raises:
        StreamError, RecordingError: the unit is unknown.
    """
    factor = to_microvolts(unit)
    if factor is None:
        found = repr(unit) if unit.strip() else "no unit"
        raise misfit(
            description,
            f"expected channel {label!r} in V, mV, µV or nV, found {found}; "
            f"{advise_unit(advised, description)}, if that is what it is",
        )
    return factor


def misfit(description: StreamDescription, sentence: str) -> HypnodError:
    """Return the error of a stream or a recording that is not as it has to be."""
    if description.is_file:
        return RecordingError(f"{description.name}: {sentence}")
    return StreamError(f"stream {description.name!r}: {sentence}")


def advise_unit(unit: Units, description: StreamDescription) -> str:
    """Say how one tells hypnod the unit of a stream's, or a recording's, channels."""
    each = unit if isinstance(unit, dict) else {}
    if description.is_file:
        typed = ",".join(f"{modality.upper()}={u}" for modality, u in each.items())
        return f"give --unit {typed or unit}"
    listed = ", ".join(f'{modality} = "{u}"' for modality, u in each.items())
    written = f"{{ {listed} }}" if each else f'"{unit}"'
    return f"set unit = {written} for this stream"


def parts_of(label: str, known: Sequence[str]) -> tuple[str, ...]:
    """Return a channel's label, or both labels of a difference `A-B`; none where it is unknown."""
    if label in known:
        return (label,)
    for i, character in enumerate(label):
        pair = label[:i].strip(), label[i + 1 :].strip()
        if character == "-" and set(pair) <= set(known):
            return pair
    return ()


def no_channel(label: str, names: Sequence[str], others: Mapping[str, str] = Nothing) -> str:
    """Say that there is no such channel, only these, and others that cannot be read, with why."""
    if label in others:
        return (
            f"expected a channel {label!r} that can be read, found one of {others[label]}: "
            "leave it out"
        )
    kinds = [kind for kind in _KINDS if kind in label.upper()]
    other_kinds = [kind for kind in _KINDS if kinds and kind not in kinds]
    alike = [name for name in names if not any(kind in name.upper() for kind in other_kinds)]
    near = difflib.get_close_matches(label, alike, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    if all(name.isdecimal() for name in names):
        hint = "; without labels in its description, channels go by their numbers: use those"
    found = [*names, *(f"{name} ({why})" for name, why in others.items())]
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    return f"expected a channel {label!r}, found {', '.join(found[:_LISTED])}{more}{hint}"


def _find_channels(label: str, description: StreamDescription) -> tuple[int, int | None]:
    """Return the index of the channel, or of both channels of a difference `A-B`."""
    names = description.ch_names
    parts = parts_of(label, names)
    if not parts:
        raise misfit(description, no_channel(label, names))
    found = [names.index(part) for part in parts]
    return found[0], found[1] if len(found) > 1 else None
