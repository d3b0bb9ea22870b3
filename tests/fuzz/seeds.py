"""Small valid files and messages from which fuzzing starts."""

import struct
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import edfio
import numpy as np
from scipy import io

from tests.support.recordings.edf import write_interrupted_edf

CONFIG = b"""\
[[streams]]
name = "cage"
match = { name = "Cage", type = "EEG" }
unit = "mV"
sfreq = 512.0
subjects = [{ name = "m1", channels = { eeg = "EEG1", emg = "EMG1-EMG2" } }]
[engine]
kind = "onnxruntime"
[staging]
hop_s = 0.5
[quality]
mains_hz = 60
eeg = { min_rms_uv = 1, max_abs_uv = 2000, max_out_of_range = 0.1 }
[log]
level = "debug"
"""
REQUESTS = (
    b'{"topic":"stage.m1.live","first":0,"last":10}',
    b'{"topic":"stream.cage","since":"2026-01-31T18:00:05+00:00"}',
)
TABLES = (
    b"onset,duration,stage,subject,kind\n0.0,1.0,Wake,m1,final\n1.0,1.0,NREM,m1,live\n",
    b"onset\tduration\ttrial_type\n0\t4\tW\n4\t4\tREM\n",
    b"stage\nWake\nNREM\nREM\n",
)
_XDF_HEADER = b'<?xml version="1.0"?><info><version>1.0</version></info>'
_XDF_STREAM = (
    b'<?xml version="1.0"?><info><name>%s</name><type>%s</type><channel_count>%d</channel_count>'
    b"<nominal_srate>%d</nominal_srate><channel_format>%s</channel_format><desc>%s</desc></info>"
)
_XDF_LABELS = (
    b"<channels><channel><label>EEG</label><unit>uV</unit></channel>"
    b"<channel><label>EMG</label><unit>uV</unit></channel></channels>"
)


def edf() -> list[bytes]:
    signal = edfio.EdfSignal(_noise(40), 10, label="EEG", physical_dimension="uV")
    whole = edfio.Edf([signal], annotations=[edfio.EdfAnnotation(1, 2, "NREM")])
    rates = [edfio.EdfSignal(_noise(4 * n), n, label="EEG") for n in (200, 100)]
    mixed = edfio.Edf(rates, annotations=[edfio.EdfAnnotation(1, 2, "NREM")])
    return [_written(".edf", each) for each in (whole.write, _interrupted, mixed.write)]


def bdf() -> list[bytes]:
    signal = edfio.BdfSignal(_noise(40), 10, label="EEG", physical_range=(-500, 500))
    annotations = [edfio.EdfAnnotation(1, 2, "REM")]
    return [_written(".bdf", edfio.Bdf([signal], annotations=annotations).write)]


def mat() -> list[bytes]:
    night = {"eeg": _noise(20), "emg": _noise(20), "eeg_frequency": 10.0}
    scores = {"sleep_scores": np.array([0, 1, 2, -1])}
    return [
        _written(".mat", partial(io.savemat, mdict=content, do_compression=packed))
        for content in (night, scores)
        for packed in (False, True)
    ]


def xdf() -> list[bytes]:
    """Return a recording of 2 numeric channels, 4 samples, with a marker."""
    samples = b"".join(b"\x08" + struct.pack("<d2f", 100 + k / 100, k, -k) for k in range(4))
    marker = b"\x08" + struct.pack("<d", 100.0) + b"\x01\x05hello"
    chunks = [
        (1, _XDF_HEADER),
        (
            2,
            struct.pack("<I", 1) + _XDF_STREAM % (b"cage", b"EEG", 2, 100, b"float32", _XDF_LABELS),
        ),
        (2, struct.pack("<I", 2) + _XDF_STREAM % (b"marks", b"Markers", 1, 0, b"string", b"")),
        (3, struct.pack("<IBB", 1, 1, 4) + samples),
        (3, struct.pack("<IBB", 2, 1, 1) + marker),
        (4, struct.pack("<Idd", 1, 100.0, 0.5)),
        (6, struct.pack("<I", 1) + b"<info><sample_count>4</sample_count></info>"),
    ]
    body = (b"\x04" + struct.pack("<IH", len(data) + 2, tag) + data for tag, data in chunks)
    return [b"XDF:" + b"".join(body)]


def _noise(n: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return np.random.default_rng(0).normal(0, 50, n)


def _interrupted(path: Path) -> None:
    write_interrupted_edf(path, [0, 1, 5])


def _written(suffix: str, write: Callable[[Path], object]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"seed{suffix}"
        write(path)
        return path.read_bytes()
