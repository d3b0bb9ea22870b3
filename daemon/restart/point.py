"""The bytes that a restart goes on from: each stream's time grid and levels, each epoch's tokens.

One row of the journal holds a stream's state and is written over at every epoch; the tokens of an
epoch are written once, to the slot of its number modulo the slots of the context window, so a tick
writes no more than it computed. The live estimates that are to be read again are no part of it: the
journal has them.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.config import StagingConfig, StreamConfig
from daemon.lsl.inlet import Clocks
from daemon.trigger.decide import RuleState
from daemon.trigger.rulebook import States
from models.signal.state import Adaptation, PipelineState

Arrays = Mapping[str, NDArray[np.generic]]

_BOOT = Path("/proc/sys/kernel/random/boot_id")


class StreamState(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a stream after an epoch."""

    fingerprint: str
    """Hash of the model and the settings that this state belongs to; see `fingerprint`."""
    sfreq: float
    """The stream's nominal sampling rate, Hz."""
    grid_hop: int
    """Number of the first point of this time grid: no context window reaches back before it."""
    boot: str
    """Which boot of this machine it was: within one, its LSL clock goes on over restarts."""
    offset: float
    """See `Clocks`."""
    utc_offset: float
    """See `Clocks`."""
    hop_s: float
    """Distance of grid points, s."""
    origin: float
    """See `PipelineState`, likewise the following."""
    next_hop: int
    newest: float
    drift: float
    clock_shift: float
    level: list[list[float]]
    """See `Adaptation`, likewise the following."""
    seen_s: list[list[float]]
    averages: list[list[list[float]]]
    averaged_s: list[list[float]]
    relative_mean: list[list[list[float]]]
    relative_variance: list[list[list[float]]]
    relative_s: list[list[float]]
    recent: bytes
    """`PipelineState.recent`, by `encode_arrays`."""
    triggers: dict[str, dict[str, RuleState]] = {}
    """What the rules remember, by subject and rule."""

    @property
    def adaptation(self) -> Adaptation:
        """What was learnt of the animals."""
        return Adaptation(
            np.array(self.level),
            np.array(self.seen_s),
            np.array(self.averages),
            np.array(self.averaged_s),
            np.array(self.relative_mean),
            np.array(self.relative_variance),
            np.array(self.relative_s),
        )


def fingerprint(bundle_hash: str, staging: StagingConfig, stream: StreamConfig) -> str:
    """Return a hash of the model and the settings without which a saved state means nothing."""
    what = (bundle_hash, staging.hop_s, staging.final_lag, stream.subjects, stream.unit)
    return hashlib.sha256(msgspec.json.encode(what, order="deterministic")).hexdigest()[:16]


@cache
def boot_id() -> str:
    """Return what tells this machine's runs apart, from one boot to the next."""
    return _BOOT.read_text("ascii").strip()


def encode_state(
    mark: str,
    sfreq: float,
    grid_hop: int,
    clocks: Clocks,
    hop_s: float,
    state: PipelineState,
    triggers: States | None = None,
) -> bytes:
    """Return the bytes of a stream's state.

    Args:
        mark: its `fingerprint`.
        sfreq: its nominal sampling rate, Hz.
        grid_hop: the first point of its grid.
        clocks: now.
        hop_s: distance of grid points, s.
        state: of its pipeline.
        triggers: what the rules remember of its subjects.
    """
    return msgspec.msgpack.encode(
        StreamState(
            fingerprint=mark,
            sfreq=sfreq,
            grid_hop=grid_hop,
            boot=boot_id(),
            offset=clocks.offset,
            utc_offset=clocks.utc_offset,
            hop_s=hop_s,
            origin=state.origin,
            next_hop=state.next_hop,
            newest=state.newest,
            drift=state.drift,
            clock_shift=state.clock_shift,
            level=state.adaptation.level.tolist(),
            seen_s=state.adaptation.seen_s.tolist(),
            averages=state.adaptation.averages.tolist(),
            averaged_s=state.adaptation.averaged_s.tolist(),
            relative_mean=state.adaptation.relative_mean.tolist(),
            relative_variance=state.adaptation.relative_variance.tolist(),
            relative_s=state.adaptation.relative_s.tolist(),
            recent=encode_arrays(state.recent),
            triggers={subject: dict(by_rule) for subject, by_rule in (triggers or {}).items()},
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
