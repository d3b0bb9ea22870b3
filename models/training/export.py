"""Model → bundle: the graphs that engines run, the weights and the spec, in one folder.

    step.onnx            newest epoch + cached tokens → probabilities of slots by the pathway of all
                         modalities, new token
    step-all.onnx        the same by all pathways, where there are several
    weights.safetensors  the weights; the graphs refer to them by offset, so load a graph by
                         its path, with this file beside it
    spec.json            `models.spec.BundleManifest`: the spec, the files' hashes, provenance

`models.graphs` names the inputs and outputs of the graphs; they take any batch size, in opset 20.
"""

import hashlib
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import onnx
import torch
from onnx.utils import Extractor
from torch import Tensor, nn

from models.base import Model
from models.errors import WeightsError
from models.graphs import BATCH, READ, Port, Ports, step_inputs, step_outputs
from models.spec import (
    ALL_FILE,
    BUNDLE_FORMAT,
    SPEC_FILE,
    STEP_FILE,
    WEIGHTS_FILE,
    BundleManifest,
    Grammar,
    LearntAs,
    ModelSpec,
    Reference,
)
from models.weights import read_spec, save_weights

_EXAMPLE = {BATCH: 3, READ: 2}  # lengths of the axes that any call chooses, when traced
_OPSET = 20  # TensorRT refuses the fp32 Attention of opset 23


class _Step(nn.Module):
    """Encode the newest epoch, append its token to the cached ones, read the window."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        epochs: Tensor,
        tokens: Tensor,
        mask: Tensor,
        slots: Tensor,
    ) -> tuple[Tensor, ...]:
        token = self.model.encode(epochs, mask[:, -1])
        window = torch.cat([tokens, token[:, None]], dim=1)
        logits = self.model.read(window, mask, slots=slots)
        return (*(pathway.softmax(-1) for pathway in logits), token)


def export_bundle(
    model: Model,
    spec: ModelSpec,
    out_dir: Path,
    name: str,
    provenance: Mapping[str, str],
    *,
    reference: Reference | None = None,
    temperatures: Mapping[str, float] = MappingProxyType({}),
    grammar: Grammar | None = None,
    learnt_from: Mapping[str, LearntAs] = MappingProxyType({}),
    like: Path | None = None,
) -> None:
    """Write the bundle `out_dir`, whole or not at all; one that is there is replaced.

    The same model, spec and provenance give the same bytes. The graphs follow from the spec alone.

    Args:
        model: a trained net of `spec`.
        spec: what it expects and gives.
        out_dir: the bundle's folder.
        name: the bundle's name.
        provenance: how the weights were made.
        reference: what the animals look like that it was trained on (`models.signal.drift`).
        temperatures: what `models.training.calibration.fold_temperatures` has put into the model.
        grammar: what the stages are taken from beside the model's answers (`models.grammar`).
        learnt_from: what each recording was for, by the SHA-256 of its file.
        like: a bundle whose graphs are taken if its spec is the same: tracing takes long.
    """
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out_dir.parent, prefix=f".{out_dir.name}-") as scratch:
        folder = Path(scratch) / "new"
        folder.mkdir()
        save_weights(model, folder / WEIGHTS_FILE)
        if like is not None and read_spec(like) == spec:
            for graph in (STEP_FILE, ALL_FILE)[: len(spec.pathways)]:
                shutil.copyfile(like / graph, folder / graph)
        else:
            export_steps(model, folder)
        manifest = BundleManifest(
            format=BUNDLE_FORMAT,
            name=name,
            spec=spec,
            files={path.name: _sha256(path) for path in sorted(folder.iterdir())},
            provenance=dict(provenance),
            reference=reference,
            temperatures=dict(temperatures),
            grammar=grammar,
            learnt_from=dict(learnt_from),
        )
        (folder / SPEC_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
        if out_dir.exists():
            out_dir.rename(Path(scratch) / "old")
        folder.rename(out_dir)


def export_steps(model: Model, folder: Path) -> None:
    """Write the cached step, by one pathway and by all; the weights must lie in `folder`."""
    spec, inputs = model.spec, step_inputs(model.spec)
    whole = trace(_Step(model), inputs, [*step_outputs(spec, spec.pathways, spec.n_context)])
    # two files: ONNX Runtime computes every output of one, asked for or not
    first = [*step_outputs(spec, spec.pathways[:1], spec.n_context)]
    _save(Extractor(whole).extract_model([*inputs], first), folder / STEP_FILE)
    if len(spec.pathways) > 1:
        _save(whole, folder / ALL_FILE)


def trace(module: nn.Module, ports: Ports, outputs: Sequence[str]) -> onnx.ModelProto:
    """Return the graph of a module whose inputs are these, the first axes of any length.

    Raises:
        WeightsError: torch cannot export it.
    """
    inputs = tuple(_example(port) for port in ports.values())
    first_of_any_length = {0: torch.export.Dim.DYNAMIC}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own use of its own parts
        program = torch.onnx.export(
            module.eval(),
            inputs,
            dynamo=True,
            opset_version=_OPSET,
            dynamic_shapes=(first_of_any_length,) * len(inputs),
            input_names=tuple(ports),
            output_names=tuple(outputs),
            optimize=False,
            verbose=False,
        )
        if program is None:
            raise WeightsError("expected torch to export the net, found no program")
        with _weights_as_inputs(program.model.graph):
            program.optimize()
    return program.model_proto


@contextmanager
def _weights_as_inputs(graph: Any) -> Iterator[None]:
    """Let weights be inputs of a graph for a while: what is computed of them alone stays in it.

    Else an optimiser puts its result into the graph, which would then not follow from the spec.
    """
    weights = {value: value.const_value for value in graph.initializers.values()}
    for value in weights:
        graph.initializers.pop(value.name)
        value.const_value = None
    graph.inputs.extend(weights)
    yield
    del graph.inputs[-len(weights) :]
    for value, content in weights.items():
        value.const_value = content
        if value.uses():
            graph.register_initializer(value)


def _save(model: onnx.ModelProto, path: Path) -> None:
    _strip(model.graph)
    _refer_to_weights(model.graph, path.parent / WEIGHTS_FILE)
    onnx.save(model, path)
    onnx.checker.check_model(path)


def _example(port: Port) -> Tensor:
    """Return zeros, or True, of a small batch."""
    shape = (_EXAMPLE[port.first], *port.shape)
    return torch.from_numpy(np.full(shape, port.dtype is np.bool_, port.dtype))


def _strip(graph: onnx.GraphProto) -> None:
    """Remove what the exporter notes about its own run: paths of this machine."""
    del graph.metadata_props[:]
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del value.metadata_props[:]


def _refer_to_weights(graph: onnx.GraphProto, weights: Path) -> None:
    """Replace the content of initialisers that are weights by their place in the file."""
    offsets = _offsets(weights)
    for tensor in graph.initializer:
        name = tensor.name.removeprefix("model.")
        if name not in offsets:
            continue
        start, end = offsets[name]
        if len(tensor.raw_data) != end - start:
            raise WeightsError(
                f"{name}: expected {end - start} bytes, found {len(tensor.raw_data)}"
            )
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", weights.name), ("offset", start), ("length", end - start)):
            tensor.external_data.add(key=key, value=str(value))


def _offsets(weights: Path) -> dict[str, tuple[int, int]]:
    """Return where in a safetensors file each tensor's bytes begin and end."""
    with weights.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = msgspec.json.decode(file.read(size))
    header.pop("__metadata__", None)
    start = 8 + size
    return {
        name: (start + entry["data_offsets"][0], start + entry["data_offsets"][1])
        for name, entry in header.items()
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
