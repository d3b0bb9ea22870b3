"""The step as a GPU runs it, derived without torch from either step of a bundle.

ONNX Runtime is given the context window with every call. A GPU keeps it: its network reads the
ring of tokens by index. TensorRT builds networks in the precision that their tensors have (strong
typing), so the precision is chosen here as well.

`models.graphs` names the inputs and outputs. They are float32 in every precision: a context window
can then move to another engine. Needs the package `onnx`, which the extras `tensorrt` and
`tensorrt-rtx` bring.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import DTypeLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from engines.bundle import Bundle
from engines.errors import BundleError
from engines.gpu.flavour import Precision
from models.graphs import ring_step_inputs, ring_step_outputs, step_outputs
from models.spec import ModelSpec

_LOW: dict[Precision, tuple[int, DTypeLike]] = {
    "fp16": (TensorProto.FLOAT16, np.float16),
    "bf16": (TensorProto.BFLOAT16, ml_dtypes.bfloat16),
}
_KEPT = {
    *("LayerNormalization", "ReduceL2", "Clip", "Expand", "Div"),
    *("Pow", "ReduceMean", "Sqrt", "Reciprocal"),  # what a RMSNorm is made of
}
"""Computed in float32 in every precision: they sum squares, or divide by what may be tiny."""
_NOT_IN_BF16 = {"Conv", "MaxPool"}
"""Have no bf16 in opset 20."""
_FLOAT = TensorProto.FLOAT


def derive_network(
    bundle: Bundle,
    precision: Precision,
    pathways: Sequence[str] | None = None,
    n_read: int | None = None,
) -> bytes:
    """Return the ONNX network of a bundle's step for a GPU; the same bytes every time.

    Args:
        bundle: the model.
        precision: in which the network computes.
        pathways: those of one of `models.graphs.steps`; default: all.
        n_read: slots of the window to answer for, the newest ones; default: all.

    Raises:
        BundleError: the step or its weights are broken, or it does not give what a step does.
    """
    spec = bundle.spec
    pathways = spec.pathways if pathways is None else pathways
    file = bundle.step_file if len(pathways) == 1 else bundle.all_file
    model = _load(file)
    graph, found = model.graph, [value.name for value in model.graph.output]
    if found != [*step_outputs(spec, pathways, spec.n_context)]:
        raise BundleError(
            f"{file}: expected the outputs {', '.join(pathways)}, token, found {', '.join(found)}"
        )
    if precision in _LOW:
        _lower(model, precision)
    _read_ring(graph, spec, pathways, n_read or spec.n_context)
    del graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _load(file: Path) -> onnx.ModelProto:
    """Read a network with its weights, which must lie in its folder."""
    try:
        return onnx.load(file)
    except Exception as error:  # its exceptions have no common base of their own
        raise BundleError(f"{file}: expected a network with its weights, found: {error}") from error


def _read_out(graph: onnx.GraphProto) -> set[str]:
    """Return the tensors from which on everything is float32: outputs, and their softmax."""
    found, wanted = set[str](), {output.name for output in graph.output}
    for node in reversed(graph.node):
        if wanted & set(node.output):
            found.update(node.output)
            if node.op_type not in ("Softmax", *_KEPT):
                wanted |= set(node.input)
    return found


@dataclass
class _Lowering:
    """Where in a network which tensors have which type, while its nodes are rewritten."""

    low: int
    dtype: DTypeLike
    constants: Mapping[str, NDArray[np.generic]]
    types: dict[str, int]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    made: dict[tuple[str, int], str] = field(default_factory=dict)
    new_constants: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def rewrite(self, node: onnx.NodeProto, *, full: bool) -> None:
        """Append a node whose float tensors all have one type."""
        wanted = _FLOAT if full else self.low
        node.input[:] = [self.cast(name, wanted) for name in node.input]
        self.nodes.append(node)
        for name in node.output:
            if self.types.get(name) == _FLOAT:
                self.types[name] = wanted

    def cast(self, name: str, wanted: int) -> str:
        """Return the name of a tensor in the type wanted; others than floats stay as they are."""
        found = self.types.get(name)
        if found not in (_FLOAT, self.low) or found == wanted:
            return name
        if (name, wanted) not in self.made:
            new = self.made[name, wanted] = f"{name}_as_{wanted}"
            if name in self.constants:
                array = self.constants[name].astype(self.dtype)
                self.new_constants[new] = numpy_helper.from_array(array, new)
            else:
                self.nodes.append(helper.make_node("Cast", [name], [new], name=new, to=wanted))
            self.types[new] = wanted
        return self.made[name, wanted]


def _lower(model: onnx.ModelProto, precision: Precision) -> None:
    """Let a float32 network compute in another precision, but for what needs float32."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    constants = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.data_type == _FLOAT
    }
    (low, dtype), read_out = _LOW[precision], _read_out(model.graph)
    lowering = _Lowering(low, dtype, constants, types)
    kept = _KEPT | (_NOT_IN_BF16 if precision == "bf16" else set())
    for node in model.graph.node:
        lowering.rewrite(node, full=node.op_type in kept or bool(read_out & set(node.output)))
    _replace(model.graph, lowering.nodes)
    model.graph.initializer.extend(lowering.new_constants.values())
    _drop_unused(model.graph)


def _read_ring(
    graph: onnx.GraphProto, spec: ModelSpec, pathways: Sequence[str], n_read: int
) -> None:
    """Read the window out of the ring, and answer for n slots."""
    for node in graph.node:  # its token is the encoder's; what goes out is zero where not valid
        for names in (node.input, node.output):
            names[:] = ["encoded" if name == "token" else name for name in names]
    make = helper.make_node
    before = [make("Gather", ["ring", "before"], ["tokens"], name="read_ring", axis=0)]
    after = [
        make("Gather", ["mask", "ring.last"], ["valid"], name="valid", axis=1),
        *_token_valid(spec),
        make("Where", ["valid_token", "encoded", "ring.zero"], ["token"], name="token"),
        *(make("Unsqueeze", [p, "ring.pathway"], [f"{p}.all"], name=f"{p}.all") for p in pathways),
        make("Concat", [f"{p}.all" for p in pathways], ["probabilities"], name="all", axis=1),
    ]
    constants: dict[str, NDArray[np.generic]] = {
        "slots": np.arange(spec.n_context - n_read, spec.n_context, dtype=np.int64),
        "ring.last": np.array(spec.n_context - 1, np.int64),
        "ring.axis": np.array([2], np.int64),
        "ring.pathway": np.array([1], np.int64),
        "ring.zero": np.array(0, np.float32),
    }
    _replace(graph, [*before, *graph.node, *after])
    graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in constants.items())
    for values, ports in (
        (graph.input, ring_step_inputs(spec)),
        (graph.output, ring_step_outputs(spec, pathways, n_read)),
    ):
        del values[:]
        for name, port in ports.items():
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(port.dtype))
            values.append(helper.make_tensor_value_info(name, kind, port.axes))
    _drop_unused(graph)


def _token_valid(spec: ModelSpec) -> list[onnx.NodeProto]:
    """Return what computes `valid_token` of `valid` (B, M), as `ModelSpec.token_valid` does."""
    make = helper.make_node
    if len(spec.token_shape) > 1:
        return [make("Unsqueeze", ["valid", "ring.axis"], ["valid_token"], name="valid_token")]
    return [  # TensorRT finds no maximum of booleans
        make("Cast", ["valid"], ["valid_number"], name="valid_number", to=_FLOAT),
        make("ReduceMax", ["valid_number", "ring.pathway"], ["any_valid"], name="any_valid"),
        make("Cast", ["any_valid"], ["valid_token"], name="valid_token", to=TensorProto.BOOL),
    ]


def _replace(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
