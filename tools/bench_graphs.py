"""Make the graphs of a longer context window that `hypnod bench` measures beside the shipped ones.

`python -m tools.bench_graphs` exports a net with a window of 64 epochs, otherwise as the shipped
bundle, and keeps its graphs without the weights: time does not depend on them, so the bench draws
its own. Needs torch (the extra `train`); run it when models/sdreamer.py or models/export.py
changed the graphs.
"""

import shutil
import tempfile
from pathlib import Path

import msgspec
import torch

from engines.bundle import open_bundle
from models.checkpoint import build_model
from models.export import export_bundle
from models.spec import FULL_FILE, SPEC_FILE, STEP_FILE, WEIGHTS_FILE, ModelSpec
from tools.bench_bundle import GRAPHS, N_CONTEXT, WEIGHTS_BYTES


def make_graphs(like: ModelSpec, folder: Path) -> None:
    """Write step.onnx, full.onnx and a spec.json that says how large the weights are.

    Args:
        like: the model, but for the length of its window.
        folder: where the files go.
    """
    spec = msgspec.structs.replace(like, n_context=N_CONTEXT)
    torch.manual_seed(0)
    model = build_model(spec).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # equal ones, as new nets have, would be merged
            parameter.add_(torch.randn_like(parameter))
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "bundle"
        export_bundle(model, spec, made, GRAPHS.name, {})
        size = (made / WEIGHTS_FILE).stat().st_size
        export = msgspec.json.decode((made / SPEC_FILE).read_bytes())
        export["provenance"] = {"weights": "none; random ones are drawn", WEIGHTS_BYTES: str(size)}
        export["files"] = {}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SPEC_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(export)) + b"\n")
        for name in (STEP_FILE, FULL_FILE):
            shutil.copyfile(made / name, folder / name)


if __name__ == "__main__":
    make_graphs(open_bundle().spec, GRAPHS)
