"""`hypnod -m engines.gpu.trial PID`: a GPU is tried in a process apart.

Its plan is found or built, and checked, as `open_gpu` does. What a driver does to a process, it
does to this one: nobody waits for it. It takes a Trial from its standard input, prints an Answer,
and ends with the process PID, which started it.
"""

import ctypes
import hashlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from engines.bundle import open_bundle
from engines.gpu.flavour import Flavour, Precision
from engines.gpu.folder import plan_folder
from models.errors import HypnodError

_PR_SET_PDEATHSIG = 1
_NICENESS = 10
_FIRST_TO_KILL = "1000"


class Trial(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is tried; all that it depends on, as far as it is known without asking a driver."""

    bundle: str
    """Folder of the model."""
    model: str
    """Hash of the model."""
    flavour: Flavour
    """Which TensorRT."""
    version: str
    """Of that TensorRT."""
    precision: Precision
    """In which the GPU computes."""
    n_rows: int
    """Subjects."""
    threads: int
    """Of ONNX Runtime, which it is compared with."""
    hops_per_epoch: int
    """Outputs per epoch length."""
    n_read: int | None
    """Slots of the window to answer for; None: all."""
    hypnod: str
    """Version of hypnod."""
    driver: str
    """What the kernel tells of the driver and the GPUs."""

    @property
    def marker(self) -> Path:
        """The file that is there when this ended a process; its first line is a sentence."""
        digest = hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()
        return plan_folder() / f"{self.flavour}-{self.precision}-{digest[:16]}.failed"


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What came of it."""

    passed: bool
    """Whether the plan lies in the folder, and computes the right thing."""
    sentence: str
    """How far it agrees, or why it cannot be used."""


def failures(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the markers in a folder of plans, each with its sentence."""
    for marker in sorted(folder.glob("*.failed")):
        yield marker, marker.read_text("utf-8").partition("\n")[0]


def main() -> None:
    """Try it, and say what came of it."""
    _step_back(int(sys.argv[1]))
    trial = msgspec.json.decode(sys.stdin.buffer.read(), type=Trial)
    answer = _try(trial)
    print(msgspec.json.encode(answer).decode(), flush=True)  # noqa: T201  to who started it
    os._exit(0)  # what was found holds, whatever a driver does on its way out


def _step_back(parent: int) -> None:
    """End with the parent, by the kernel, as this may hang; be slower than it, and killed first."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before
        sys.exit(1)
    os.nice(_NICENESS)
    Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_KILL, "ascii")


def _try(trial: Trial) -> Answer:
    # Here, not above: it needs the package onnx, and `failures` does not.
    from engines.gpu.open import open_gpu  # noqa: PLC0415

    t = trial
    try:
        bundle = open_bundle(Path(t.bundle))
        with open_gpu(
            bundle, t.flavour, t.n_rows, t.threads, t.hops_per_epoch, t.precision, t.n_read
        ) as engine:
            return Answer(passed=True, sentence=engine.why)
    except HypnodError as error:
        return Answer(passed=False, sentence=str(error))


if __name__ == "__main__":
    main()
