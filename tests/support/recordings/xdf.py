"""XDF files as LabRecorder writes them."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_FILE = '<?xml version="1.0"?><info><version>1.0</version></info>'
_STREAM = (
    '<?xml version="1.0"?><info><name>{name}</name><type>EEG</type>'
    "<source_id>{source_id}</source_id><channel_count>{n}</channel_count>"
    "<nominal_srate>{sfreq:g}</nominal_srate><channel_format>float32</channel_format>"
    "<desc><channels>{channels}</channels></desc></info>"
)
_CHANNEL = "<channel><label>{label}</label><unit>microvolts</unit></channel>"
_FOOTER = '<?xml version="1.0"?><info><sample_count>{n}</sample_count></info>'
_BOUNDARY = bytes.fromhex("43a546dccbf5410fb30ed5467383cbe4")
_CHUNK = 64  # samples; a boundary follows
CHUNK_HEAD = struct.pack("<BIH", 4, 2 + 4 + 5 + _CHUNK * (9 + 2 * 4), 3)
"""How a full chunk of samples of two channels begins."""


@dataclass(frozen=True)
class XdfStream:
    """A stream in a file."""

    data: NDArray[np.float32]
    """(n_samples, n_channels), µV."""
    labels: Sequence[str]
    """The channels beyond them are not described."""
    name: str = "rack"
    source_id: str = ""
    sfreq: float = 128.0
    """Of its timestamps, Hz."""
    declared: float | None = None
    """What it declares; default: that."""
    start: float = 100.0
    """Its first timestamp, s."""
    stamps: NDArray[np.float64] | None = None
    """Its timestamps; default: even ones."""
    bunch: int = 1
    """So many samples share a timestamp."""


def write_xdf(path: Path, data: NDArray[np.float32], labels: Sequence[str], sfreq: float) -> Path:
    """Write data (n_samples, n_channels) in µV, and return the path."""
    return write_streams(path, [XdfStream(data, labels, sfreq=sfreq)])


def write_streams(path: Path, streams: Sequence[XdfStream]) -> Path:
    """Write streams one after the other, and return the path."""
    chunks = [(1, _FILE.encode())]
    for number, stream in enumerate(streams, start=1):
        chunks += _chunks(struct.pack("<I", number), stream)
    body = (b"\x04" + struct.pack("<IH", len(text) + 2, tag) + text for tag, text in chunks)
    path.write_bytes(b"XDF:" + b"".join(body))
    return path


def _chunks(number: bytes, stream: XdfStream) -> list[tuple[int, bytes]]:
    n_samples, n_channels = stream.data.shape
    samples = np.empty(n_samples, [("size", "u1"), ("t", "<f8"), ("x", "<f4", (n_channels,))])
    samples["size"] = 8
    samples["t"] = stream.start + np.arange(n_samples) // stream.bunch * stream.bunch / stream.sfreq
    if stream.stamps is not None:
        samples["t"] = stream.stamps
    samples["x"] = stream.data
    about = _STREAM.format(
        name=stream.name,
        source_id=stream.source_id,
        n=n_channels,
        sfreq=stream.sfreq if stream.declared is None else stream.declared,
        channels="".join(_CHANNEL.format(label=label) for label in stream.labels),
    )
    chunks = [(2, number + about.encode())]
    for first in range(0, n_samples, _CHUNK):
        part = samples[first : first + _CHUNK]
        chunks += [(3, number + struct.pack("<BI", 4, len(part)) + part.tobytes()), (5, _BOUNDARY)]
    return [*chunks, (6, number + _FOOTER.format(n=n_samples).encode())]
