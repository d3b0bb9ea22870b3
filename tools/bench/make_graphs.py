"""Make the graphs of the paper's net that `hypnod bench` measures beside the bundle's.

`python -m tools.bench.make_graphs` exports it with windows of 16 and 64 epochs, and keeps the
graphs without the weights: time does not depend on them, so the bench draws its own. Needs torch
(the extra `train`); run it when the model's net.py or models/training/export.py changed the graphs.
"""

import shutil
import tempfile
from pathlib import Path

import msgspec
import torch

from models.base import NEW_MODEL, part_of
from models.spec import FULL_FILE, SPEC_FILE, STEP_FILE, WEIGHTS_FILE, ModelSpec
from models.training.export import export_bundle
from models.weights import build_model
from tools.bench.bundle import N_CONTEXTS, WEIGHTS_BYTES, graphs_of


def make_graphs(spec: ModelSpec, folder: Path) -> None:
    """Write step.onnx, full.onnx and a spec.json that says how large the weights are.

    Args:
        spec: the model.
        folder: where the files go.
    """
    torch.manual_seed(0)
    model = build_model(spec).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # equal ones, as new nets have, would be merged
            parameter.add_(torch.randn_like(parameter))
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "bundle"
        export_bundle(model, spec, made, folder.name, {})
        size = (made / WEIGHTS_FILE).stat().st_size
        export = msgspec.json.decode((made / SPEC_FILE).read_bytes())
        export["provenance"] = {"weights": "none; random ones are drawn", WEIGHTS_BYTES: str(size)}
        export["files"] = {}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SPEC_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(export)) + b"\n")
        for name in (STEP_FILE, FULL_FILE):
            shutil.copyfile(made / name, folder / name)


if __name__ == "__main__":
    for n_context in N_CONTEXTS:
        make_graphs(part_of(NEW_MODEL, "net").new_spec(n_context), graphs_of(n_context))
