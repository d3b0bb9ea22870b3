"""WFDB records as the PhysioNet/Computing in Cardiology Challenge 2018 has them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


def write_record(header: Path, data: Mapping[str, np.ndarray]) -> None:
    """Write signals, µV at 200 Hz, to the .hea and a .mat of format 16 behind 24 bytes."""
    header.parent.mkdir(parents=True, exist_ok=True)
    columns = np.stack(list(data.values()), axis=1)
    samples = np.where(np.isnan(columns), -32768, np.round(columns * 10)).astype("<i2")
    lines = [f"{header.stem} {len(data)} 200 {len(samples)}"]
    lines += [f"{header.stem}.mat 16+24 10(0)/uV 16 0 {samples[0, 0]} 0 0 {name}" for name in data]
    header.write_text("\n".join([*lines, "# made up"]) + "\n", encoding="ascii")
    header.with_suffix(".mat").write_bytes(b"\0" * 24 + samples.tobytes())


def write_annotations(path: Path, texts: Sequence[tuple[int, str]]) -> None:
    """Write texts, each at its sample, as annotations of the MIT format."""
    content, before = b"", 0
    for sample, text in texts:
        gap = sample - before
        if not 0 <= gap <= 0x3FF:
            gap &= 0xFFFFFFFF
            content += _word(59, 0) + (gap >> 16).to_bytes(2, "little")
            content += (gap & 0xFFFF).to_bytes(2, "little")
            gap = 0
        raw = text.encode()
        content += _word(22, gap) + _word(63, len(raw)) + raw + b"\0" * (len(raw) % 2)
        before = sample
    path.write_bytes(content + b"\0\0")


def _word(code: int, low: int) -> bytes:
    return (code << 10 | low).to_bytes(2, "little")
