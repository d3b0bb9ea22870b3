"""The ONNX Runtime engine: the default, on the processor, without torch."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from engines.bundle import Bundle
from engines.errors import BundleError, EngineError
from engines.host import Answer, ContextEngine
from models.graphs import step_inputs, step_outputs
from models.spec import ModelSpec

# ONNX Runtime reports its use to its makers unless told not to before it is loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

_PROVIDER = "CPUExecutionProvider"
_SILENT = 4  # what fails is raised as well
_PER_CALL = 32
"""Subjects of each thread in one call of the network: with fewer, calls cost more than they
compute, with more nothing is gained (docs/engines.md, `make bench`)."""


class OnnxRuntimeEngine(ContextEngine):
    """Runs a bundle's steps with ONNX Runtime on the processor.

    Threads do not spin between steps: at one step a second they would burn more time waiting
    than computing.

    Args:
        bundle: the model.
        n_rows: subjects to keep a context window for.
        threads: threads of one step; one is best for few subjects.
        hops_per_epoch: outputs per epoch length.
        n_read: slots of the window to answer for; default: all.

    Raises:
        BundleError: a step is not a network that this engine can run.
        EngineError: ONNX Runtime does not offer the processor as its device.
    """

    name: ClassVar[str] = "onnxruntime"

    def __init__(
        self,
        bundle: Bundle,
        n_rows: int,
        threads: int = 1,
        hops_per_epoch: int = 1,
        n_read: int | None = None,
    ) -> None:
        super().__init__(bundle.spec, n_rows, hops_per_epoch, n_read)
        self._threads = threads
        self._slots = np.arange(self.spec.n_context - self.n_read, self.spec.n_context)
        pathways = self.spec.pathways
        self._step = _open_step(bundle.step_file, self.spec, pathways[:1], threads)
        self._all = self._step
        if len(pathways) > 1:
            self._all = _open_step(bundle.all_file, self.spec, pathways, threads)

    @property
    def description(self) -> str:
        """Library, version and device in one line."""
        threads = "1 thread" if self._threads == 1 else f"{self._threads} threads"
        return f"onnxruntime {onnxruntime.__version__} CPU {threads}"

    def close(self) -> None:
        """Release the sessions; the engine must not be used any more."""
        del self._step, self._all

    def _read(
        self,
        epochs: NDArray[np.float32],
        rows: NDArray[np.intp],
        mask: NDArray[np.bool_],
        unimodal: NDArray[np.bool_],
    ) -> Answer:
        spec, n, most = self.spec, len(rows), _PER_CALL * self._threads
        whole = {"epochs": epochs, "tokens": self._context.tokens(rows), "mask": mask}
        probabilities = np.empty((n, len(spec.pathways), self.n_read, len(spec.stages)), np.float32)
        newest = np.empty((n, *spec.token_shape), np.float32)
        for session, wanted in ((self._step, ~unimodal), (self._all, unimodal)):
            which = np.flatnonzero(wanted)
            for k in range(0, len(which), most):
                some = which[k : k + most]
                feed = {name: array[some] for name, array in whole.items()}
                *pathways, newest[some] = self._call(session, feed | {"slots": self._slots})
                probabilities[some, : len(pathways)] = np.stack(pathways, axis=1)
        return probabilities, newest

    def _call(
        self, session: onnxruntime.InferenceSession, feed: dict[str, NDArray[Any]]
    ) -> list[NDArray[np.float32]]:
        """Return the probabilities of each pathway (n, n_read, n_stages), and the tokens last."""
        try:
            answers: list[NDArray[np.float32]] = session.run(None, feed)
        except Exception as error:  # its exceptions have no common base of their own
            raise EngineError(f"{self.name}: expected the step to run, found: {error}") from error
        return answers


def open_session(file: Path, threads: int) -> onnxruntime.InferenceSession:
    """Open a network the way this engine runs it.

    Args:
        file: the network; its weights lie beside it.
        threads: of one run; they do not spin between runs.

    Raises:
        BundleError: ONNX Runtime cannot load it.
        EngineError: ONNX Runtime does not offer the processor as its device.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _SILENT
    onnxruntime.disable_telemetry_events()
    try:
        session = onnxruntime.InferenceSession(file, sess_options=options, providers=[_PROVIDER])
    except Exception as error:  # its exceptions have no common base of their own
        raise BundleError(f"{file}: expected a network for ONNX Runtime, found: {error}") from error
    if session.get_providers() != [_PROVIDER]:
        raise EngineError(f"expected ONNX Runtime on {_PROVIDER}, found {session.get_providers()}")
    return session


def _open_step(
    file: Path, spec: ModelSpec, pathways: Sequence[str], threads: int
) -> onnxruntime.InferenceSession:
    """Open a step; raise BundleError where its inputs and outputs are not those of one."""
    session = open_session(file, threads)
    inputs = {value.name: value.shape for value in session.get_inputs()}
    outputs = [value.name for value in session.get_outputs()]
    for what, expected, found in (
        ("inputs", [*step_inputs(spec)], [*inputs]),
        ("outputs", [*step_outputs(spec, pathways, spec.n_context)], outputs),
    ):
        if found != expected:
            raise BundleError(
                f"{file}: expected the {what} {', '.join(expected)}, found {', '.join(found)}"
            )
    for name, port in step_inputs(spec).items():
        if inputs[name][1:] != list(port.shape):
            raise BundleError(
                f"{file}: expected {name} ({', '.join(map(str, port.axes))}) "
                f"as in its spec, found {inputs[name]}"
            )
    return session
