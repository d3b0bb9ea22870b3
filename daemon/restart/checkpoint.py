"""What a restart goes on from: each stream's time grid and levels, each epoch's tokens.

One row holds a stream's state and is written over at every epoch; the tokens of an epoch are
written once, to the slot of its number modulo the slots of the context window, so a tick writes
no more than it computed. The live estimates whose final reading is due are no part of it: the
journal has them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.config import StagingConfig, StreamConfig
from models.signal.state import Adaptation, PipelineState

Arrays = Mapping[str, NDArray[np.generic]]

_SAME_CLOCK_S = 0.1
"""The clock offset of one and the same pair of clocks, measured twice."""
_SAME_TIME_S = 0.5
"""Two machines' ideas of the time of day."""
_BACK_S = 0.5
"""So far a first sample may lie before the newest one of before."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Clocks:
    """How a stream's clock relates to this machine's, at one moment."""

    offset: float
    """To add to the stream's clock for this machine's LSL clock, s."""
    utc_offset: float
    """To add to the stream's clock for Unix time, s."""


class StreamState(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a stream after an epoch."""

    fingerprint: str
    """Of what must not change for the rest to keep its meaning; see `fingerprint`."""
    sfreq: float
    """The stream's nominal sampling rate, Hz."""
    grid_epoch: int
    """The first epoch of this grid and of the context windows."""
    boot: str
    """This machine's clocks go on until it reboots."""
    offset: float
    """See `Clocks`."""
    utc_offset: float
    """See `Clocks`."""
    hop_s: float
    """Distance of grid points, s."""
    origin: float
    """See `PipelineState`, likewise the following."""
    next_epoch: int
    newest: float
    drift: float
    clock_shift: float
    level: list[list[float]]
    """See `Adaptation`, likewise the following."""
    seen_s: list[list[float]]
    averages: list[list[list[float]]]
    averaged_s: list[list[float]]

    @property
    def adaptation(self) -> Adaptation:
        """What was learnt of the animals."""
        return Adaptation(
            np.array(self.level),
            np.array(self.seen_s),
            np.array(self.averages),
            np.array(self.averaged_s),
        )


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What one epoch of one stream adds to the journal, for a restart."""

    stream: str
    """As named in the config."""
    epoch: int
    """The epoch that was staged."""
    slot: int
    """Where its arrays go."""
    state: bytes
    """Of the stream, after it."""
    arrays: bytes
    """What it left in the subjects' context windows."""


def fingerprint(bundle_hash: str, staging: StagingConfig, stream: StreamConfig) -> str:
    """Return what must not change for tokens, levels and estimates due to keep their meaning."""
    what = (bundle_hash, staging.hop_s, staging.final_lag, stream.subjects, stream.unit)
    return hashlib.sha256(msgspec.json.encode(what, order="deterministic")).hexdigest()[:16]


def boot_id() -> str:
    """Return what tells this machine's runs apart, from one boot to the next."""
    return _BOOT.read_text("ascii").strip()


def encode_state(
    mark: str, sfreq: float, grid_epoch: int, clocks: Clocks, hop_s: float, state: PipelineState
) -> bytes:
    """Return the bytes of a stream's state.

    Args:
        mark: its `fingerprint`.
        sfreq: its nominal sampling rate, Hz.
        grid_epoch: the first epoch of its grid.
        clocks: now.
        hop_s: distance of grid points, s.
        state: of its pipeline.
    """
    return msgspec.msgpack.encode(
        StreamState(
            fingerprint=mark,
            sfreq=sfreq,
            grid_epoch=grid_epoch,
            boot=boot_id(),
            offset=clocks.offset,
            utc_offset=clocks.utc_offset,
            hop_s=hop_s,
            origin=state.origin,
            next_epoch=state.next_epoch,
            newest=state.newest,
            drift=state.drift,
            clock_shift=state.clock_shift,
            level=state.adaptation.level.tolist(),
            seen_s=state.adaptation.seen_s.tolist(),
            averages=state.adaptation.averages.tolist(),
            averaged_s=state.adaptation.averaged_s.tolist(),
        )
    )


def decode_state(data: bytes) -> StreamState:
    """Return the state in `encode_state`'s bytes; raises msgspec.MsgspecError if it is none."""
    return msgspec.msgpack.decode(data, type=StreamState)


def encode_arrays(arrays: Arrays) -> bytes:
    """Return the bytes of arrays by name."""
    parts = {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()}
    return msgspec.msgpack.encode(parts)


def decode_arrays(data: bytes) -> dict[str, NDArray[np.generic]]:
    """Return the arrays in `encode_arrays`'s bytes.

    Raises:
        msgspec.MsgspecError, ValueError, TypeError: there are none.
    """
    parts = msgspec.msgpack.decode(data, type=dict[str, tuple[str, tuple[int, ...], bytes]])
    return {
        name: np.frombuffer(content, np.dtype(kind)).reshape(shape)
        for name, (kind, shape, content) in parts.items()
    }


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a restarted daemon goes on with a stream's former time grid."""

    state: PipelineState | None
    """What to go on from; None to start anew."""
    shift: float
    """To add to a time on the source's former clock for one on its present clock, s."""
    reason: str
    """For people: how long it was away, or why not."""
    away_s: float | None = None
    """From the onset of the next epoch to the first sample, s, where it goes on; below 0 where
    that epoch had been given up before its samples came."""


def judge(
    before: StreamState, sfreq: float, clocks: Clocks, first: float, span_s: float
) -> Verdict:
    """Decide whether a stream goes on where it was.

    The clocks tell whether the source's clock is the one of before. Another (its machine was
    rebooted) is brought in line through the time of day.

    Args:
        before: the state in the journal.
        sfreq: the stream's nominal sampling rate, Hz.
        clocks: now.
        first: timestamp of the first sample, on the source's clock, s.
        span_s: what the context window spans, s.
    """
    shift, clock_shift = before.utc_offset - clocks.utc_offset, 0.0
    if _same_clock(before, clocks):
        shift, clock_shift = 0.0, before.clock_shift
    next_onset = before.origin + shift + before.next_epoch * before.hop_s
    away_s = first + clock_shift - next_onset
    if away_s > span_s:
        return cold(f"{away_s:.1f} s are missing, more than the context window spans")
    back_s = before.newest + shift - first - clock_shift
    if back_s > _BACK_S:
        return cold(f"the source's time went back by {back_s:.1f} s")
    if -away_s > span_s:
        return cold(f"its samples are {-away_s:.1f} s late, more than the context window spans")
    state = PipelineState(
        origin=before.origin + shift,
        next_epoch=before.next_epoch,
        newest=before.newest + shift,
        drift=before.drift if before.sfreq == sfreq else 0.0,
        clock_shift=clock_shift,
        adaptation=before.adaptation,
    )
    return Verdict(state, shift, f"resumed warm: {max(away_s, 0.0):.1f} s are missing", away_s)


def cold(why: str) -> Verdict:
    """Return the verdict that a stream starts anew."""
    return Verdict(None, 0.0, f"started cold: {why}")


def _same_clock(before: StreamState, clocks: Clocks) -> bool:
    """Whether the source's clock is the one of before.

    Until this machine boots its own LSL clock goes on, whatever becomes of its time of day.
    """
    if before.boot == boot_id():
        return abs(before.offset - clocks.offset) < _SAME_CLOCK_S
    return abs(before.utc_offset - clocks.utc_offset) < _SAME_TIME_S
