"""What measurements are told with: percentiles, and what they were taken on."""

import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import msgspec
import numpy as np

PACKAGES = ("hypnod", "onnxruntime", "numpy", "scipy", "pylsl", "pyzmq")


class Percentiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of some times, ms."""

    p50: float
    p95: float
    p99: float


class Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a measurement was taken on."""

    system: str
    """Kernel and architecture."""
    processor: str
    """As it calls itself."""
    cores: int
    """Cores that this process may use."""
    memory_gb: float
    python: str
    versions: dict[str, str]
    """Of hypnod and of what it computes and talks with."""


def percentiles(seconds: Sequence[float]) -> Percentiles | None:
    """Return the percentiles of some times given in s; None where there is none."""
    if not seconds:
        return None
    return Percentiles(*(1e3 * np.percentile(seconds, (50, 95, 99))).tolist())


def describe_machine() -> Machine:
    """Return what this runs on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(memory / 1e9, 1),
        python=platform.python_version(),
        versions={name: metadata.version(name) for name in PACKAGES},
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
