"""`python -m tests.rigs.explain.small --out FOLDER`: a small net of samples to be looked into.

A SleepDIFFormer of a tenth of the size of the paper's, given samples, trained in ten minutes of one
core on 38 simulated people. It is for the rig and the picture of docs/explain.md: nobody is to
stage with it.
"""

import argparse
from pathlib import Path

import msgspec
from rich.console import Console

from models.base import part_of
from models.spec import ModelSpec
from models.training.devices import open_device
from models.training.export import export_bundle
from models.training.run import Pass
from models.training.simulated import simulate_many
from models.training.train import TrainConfig, Watcher, train

_PEOPLE, _HOURS, _VALIDATION = 44, 1.5, 6
_CONFIG = TrainConfig(passes=10, patience=10, batch_size=8, learning_rate=1e-3)
_SMALL = {"layers": 2, "ffn_size": 128, "filters": 16, "sequence_heads": 4, "sequence_size": 128}


class _Told(Watcher):
    def __init__(self) -> None:
        self._console = Console(stderr=True)

    def passed(self, result: Pass) -> None:
        self._console.print(f"pass {result.number}: validation κ {result.kappa['mixed']:.3f}")


def small_spec() -> ModelSpec:
    """Return the spec of the small net."""
    spec: ModelSpec = part_of("sleepdifformer", "net").new_spec(n_context=10, **_SMALL)
    return msgspec.structs.replace(spec, token_shape=(64,))


def main() -> None:
    """Train it and write its bundle."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle")
    options = parser.parse_args()
    spec = small_spec()
    people = list(simulate_many(spec, range(1, _PEOPLE + 1), _HOURS))
    with open_device("cpu", "float32") as device:
        learning, validation = people[:-_VALIDATION], people[-_VALIDATION:]
        model, _ = train(spec, learning, validation, _CONFIG, device, watcher=_Told())
    data = f"{len(learning)} simulated people of {_HOURS} h"
    export_bundle(model, spec, options.out, "small-people", {"data": data})


if __name__ == "__main__":
    main()
