"""XDF files as LabRecorder writes them, of one stream without interruption."""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_FILE = '<?xml version="1.0"?><info><version>1.0</version></info>'
_STREAM = (
    '<?xml version="1.0"?><info><name>rack</name><type>EEG</type><channel_count>{n}</channel_count>'
    "<nominal_srate>{sfreq}</nominal_srate><channel_format>float32</channel_format>"
    "<desc><channels>{channels}</channels></desc></info>"
)
_CHANNEL = "<channel><label>{label}</label><unit>microvolts</unit></channel>"


def write_xdf(path: Path, data: NDArray[np.float32], labels: Sequence[str], sfreq: float) -> Path:
    """Write data (n_samples, n_channels) in µV, and return the path."""
    n_samples, n_channels = data.shape
    samples = np.empty(n_samples, [("size", "u1"), ("t", "<f8"), ("x", "<f4", (n_channels,))])
    samples["size"] = 8
    samples["t"] = 100.0 + np.arange(n_samples) / sfreq
    samples["x"] = data
    channels = "".join(_CHANNEL.format(label=label) for label in labels)
    stream = struct.pack("<I", 1)
    chunks = (
        (1, _FILE.encode()),
        (2, stream + _STREAM.format(n=n_channels, sfreq=sfreq, channels=channels).encode()),
        (3, stream + struct.pack("<BI", 4, n_samples) + samples.tobytes()),
        (6, stream + b"<info></info>"),
    )
    body = (b"\x04" + struct.pack("<IH", len(text) + 2, tag) + text for tag, text in chunks)
    path.write_bytes(b"XDF:" + b"".join(body))
    return path
