"""The ONNX Runtime engine: the default, on the processor, without torch."""

import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from engines.bundle import Bundle
from engines.errors import BundleError, EngineError
from engines.host import Answer, ContextEngine
from models.graphs import step_inputs, step_outputs

# ONNX Runtime reports its use to its makers unless told not to before it is loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

_PROVIDER = "CPUExecutionProvider"
_SILENT = 4  # what fails is raised as well
_PER_CALL = 8
"""Subjects of each thread in one call of the network: with more, what lies between its layers does
not fit the processor's caches (docs/engines.md, `make bench`)."""


class OnnxRuntimeEngine(ContextEngine):
    """Runs a bundle's step.onnx with ONNX Runtime on the processor.

    Threads do not spin between steps: at one step a second they would burn more time waiting
    than computing.

    Args:
        bundle: the model.
        n_rows: subjects to keep a context window for.
        threads: threads of one step; one is best for few subjects.
        hops_per_epoch: outputs per epoch length.
        n_read: slots of the window to answer for; default: all.

    Raises:
        BundleError: step.onnx is not a network that this engine can run.
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
        self._session = open_session(bundle.step_file, threads)
        _check_signature(bundle, self._session)

    @property
    def description(self) -> str:
        """Library, version and device in one line."""
        threads = "1 thread" if self._threads == 1 else f"{self._threads} threads"
        return f"onnxruntime {onnxruntime.__version__} CPU {threads}"

    def close(self) -> None:
        """Release the session; the engine must not be used any more."""
        del self._session

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
        for single in (False, True):
            which = np.flatnonzero(unimodal == single)
            for k in range(0, len(which), most):
                some = which[k : k + most]
                feed = {name: array[some] for name, array in whole.items()}
                read, newest[some] = self._call(feed, single)
                probabilities[some, : read.shape[1]] = read
        return probabilities, newest

    def _call(self, feed: dict[str, NDArray[Any]], unimodal: bool) -> Answer:
        names = ["token", "mixed"]
        if len(self.spec.pathways) > 1:
            feed["unimodal"] = np.array(unimodal)
            names += ["single"] if unimodal else []
        feed["slots"] = self._slots
        try:
            token, mixed, *single = self._session.run(names, feed)
        except Exception as error:  # its exceptions have no common base of their own
            raise EngineError(f"{self.name}: expected the step to run, found: {error}") from error
        return np.concatenate([mixed[:, None], *single], axis=1), token


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


def _check_signature(bundle: Bundle, session: onnxruntime.InferenceSession) -> None:
    """Raise BundleError where the network's inputs and outputs are not those of a step."""
    spec = bundle.spec
    shapes: dict[str, list[int | str]] = {}
    for what, expected, values in (
        ("inputs", step_inputs(spec), session.get_inputs()),
        ("outputs", step_outputs(spec, spec.n_context), session.get_outputs()),
    ):
        found = {value.name: value.shape for value in values}
        if found.keys() != expected.keys():
            raise BundleError(
                f"{bundle.step_file}: expected the {what} {', '.join(sorted(expected))}, "
                f"found {', '.join(sorted(found))}"
            )
        shapes |= found
    for name, port in step_inputs(spec).items():
        if shapes[name][1:] != list(port.shape):
            raise BundleError(
                f"{bundle.step_file}: expected {name} ({', '.join(map(str, port.axes))}) "
                f"as in its spec, found {shapes[name]}"
            )
