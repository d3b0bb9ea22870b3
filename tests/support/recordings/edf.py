"""EDF files in one call, and of kinds that edfio cannot write."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import edfio

from models.simulator.mouse.simulate import SimulatedMice


def write_channels(
    path: Path,
    data: Iterable[Any],
    labels: Sequence[str],
    sfreq: float,
    unit: str = "uV",
    record_s: float = 1,
) -> Path:
    """Write channels of a unit and a rate; return the path."""
    signals = [
        edfio.EdfSignal(x, sfreq, label=label, physical_dimension=unit)
        for x, label in zip(data, labels, strict=True)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    edfio.Edf(signals, data_record_duration=record_s).write(path)
    return path


def write_interrupted_edf(
    path: Path,
    onsets: Sequence[float],
    offset: float = 0.0,
    kind: bytes = b"EDF+D",
    sfreq: int = 100,
) -> Any:
    """Write an EDF+D: at each of `onsets` 1 s of simulated EEG, µV; return its samples."""
    samples: Any = SimulatedMice(seed=0, duration_s=len(onsets), sfreq=sfreq).record().data[:, 0]
    signal = edfio.EdfSignal(samples, sfreq, label="EEG", physical_dimension="uV")
    marks = [edfio.EdfAnnotation(onset + 0.25, None, f"mark {onset:g}") for onset in onsets]
    edfio.Edf([signal], annotations=[edfio.EdfAnnotation(0, None, "")]).write(path)
    n_text = 64
    header = bytearray(path.read_bytes()[: 256 * 3])
    header[192:197] = kind
    header[-64 - 8 : -64] = f"{n_text // 2:<8}".encode()
    body = b""
    for i, (onset, mark) in enumerate(zip(onsets, marks, strict=True)):
        text = f"+{onset + offset:.15g}\x14\x14\0+{mark.onset + offset:.15g}\x14{mark.text}\x14\0"
        record = signal.digital[i * sfreq : (i + 1) * sfreq].astype("<i2").tobytes()
        body += record + text.encode().ljust(n_text, b"\0")
    path.write_bytes(bytes(header) + body)
    return signal.data
