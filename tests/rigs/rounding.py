"""How much rounding alone changes what a model says: `python -m tests.rigs.rounding [BUNDLE]`.

fp16 is the GPU's network on ONNX Runtime, rounded at every operator; bf16 is torch's autocast. The
bounds of the parity check (engines/gpu/parity_check.py) leave room above this.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from engines.base import Engine
from engines.bundle import Bundle, open_bundle
from engines.onnxruntime import OnnxRuntimeEngine
from engines.parity import compare
from engines.torch import TorchEngine
from tests.support.fake_gpu import open_without_gpu

ROWS, TICKS, SEED = 8, 60, 3


class Bf16(TorchEngine):
    """The reference with products in bf16."""

    def __init__(self, bundle: Bundle, n_rows: int) -> None:
        super().__init__(bundle, n_rows)
        model: Any = self._model
        encode, read = model.encode, model.read
        model.encode = lambda *inputs: _lower(encode, *inputs).float()
        model.read = lambda *inputs, slots: tuple(
            each.float() for each in _lower(read, *inputs, slots=slots)
        )


def _lower(function: Callable[..., Any], *inputs: Any, **named: Any) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        return function(*inputs, **named)


def main() -> None:
    bundle = open_bundle(Path(sys.argv[1]) if sys.argv[1:] else None)
    engines: dict[str, Engine] = {
        "fp32": open_without_gpu(bundle, ROWS),
        "fp16": open_without_gpu(bundle, ROWS, precision="fp16"),
        "bf16": Bf16(bundle, ROWS),
    }
    for precision, engine in engines.items():
        with engine, OnnxRuntimeEngine(bundle, ROWS) as reference:
            found = compare(engine, reference, TICKS, SEED)
        sys.stdout.write(
            f"{precision}  largest difference {found.max_abs_difference:.2g}, equal stages "
            f"{100 * found.argmax_agreement:.2f} %, {found.n_compared} estimates\n"
        )


if __name__ == "__main__":
    main()
