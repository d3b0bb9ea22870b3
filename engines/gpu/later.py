"""A GPU that gets ready while ONNX Runtime stages: tried in a process apart, then opened here.

What ends or hangs that process leaves a marker beside the plans, and is not tried again as long as
it lies there and nothing changed: a driver that crashes is a sentence, not a loop.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress

import msgspec
import structlog

import hypnod
from engines.base import Engine
from engines.bundle import Bundle
from engines.errors import EngineError
from engines.gpu.folder import write_whole
from engines.gpu.open import open_plans
from engines.gpu.trial import Answer, Trial

log = structlog.get_logger()

_TRIAL = "engines.gpu.trial"
_PATIENCE_S = 1800.0
"""A trial that takes longer hangs: TensorRT compiles for minutes, the check takes less."""
_END_S = 3.0
_LAST_WORDS = 4000


class GpuLater:
    """Gets ready the first GPU engine that can be used, in a thread of its own.

    Args:
        bundle: the model.
        trials: what to try, by the engines' names, the best first.
        required: somebody asked for this very engine.
    """

    def __init__(self, bundle: Bundle, trials: Mapping[str, Trial], *, required: bool) -> None:
        self.required = required
        self._bundle, self._trials = bundle, trials
        self._engine: Future[Engine] = Future()
        self._loading: Trial | None = None
        self._change = threading.Lock()  # of the two below
        self._stopping = False
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="gpu", daemon=True)
        self._thread.start()

    def take(self) -> Engine | None:
        """Return the engine, with its `why`, once it is ready; it is the caller's then.

        Raises:
            EngineError: none can be used, and why.
        """
        return self._engine.result() if self._engine.done() else None

    def close(self) -> None:
        """End the trial, and close an engine that nobody took."""
        with self._change:
            self._stopping = True
            if self._child is not None:
                self._child.kill()
        self._thread.join(_END_S)
        if self._engine.done() and self._engine.exception() is None:
            self._engine.result().close()
        elif (trial := self._loading) is not None:  # it is not the GPU that ends this process
            trial.marker.unlink(missing_ok=True)

    def _run(self) -> None:
        try:
            self._engine.set_result(self._open())
        except EngineError as error:
            self._engine.set_exception(error)
        except Exception as error:  # it must not be silent, nor end what stages
            log.exception("GPU not used")
            self._engine.set_exception(EngineError(f"a fault in hypnod: {error!r}"))

    def _open(self) -> Engine:
        reasons = []
        for kind, trial in self._trials.items():
            try:
                return self._load(trial, self._try(trial))
            except EngineError as error:
                reasons.append(f"{kind} cannot be used: {error}")
                if not self._stopping:
                    log.warning("GPU not used", engine=kind, reason=str(error))
        raise EngineError("; ".join(reasons))

    def _try(self, trial: Trial) -> str:
        """Return why the GPU can be used, as a process apart found.

        Raises:
            EngineError: it cannot, or nobody knows, since that process did not end in order.
        """
        if trial.marker.exists():
            raise EngineError(trial.marker.read_text("utf-8").partition("\n")[0])
        with self._change:
            self._check_wanted()
            child = self._child = subprocess.Popen(  # noqa: S603  this interpreter, our own module
                hypnod.command("-m", _TRIAL, str(os.getpid())),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0,  # a terminal's Ctrl-C is meant for the parent
            )
        what = "expected the process that tries the GPU to answer, found"
        try:
            out, words = child.communicate(msgspec.json.encode(trial), _PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            with suppress(subprocess.TimeoutExpired):  # in the kernel it may hang even so
                child.communicate(timeout=_END_S)
            raise _mark(trial, f"{what} that it did not in {_PATIENCE_S:g} s") from None
        code = child.returncode
        if code < 0 and not self._stopping and code != -signal.SIGTERM:  # which somebody sent
            found = f"{what} that it was ended by {signal.Signals(-code).name}"
            raise _mark(trial, found, words)
        try:
            answer = msgspec.json.decode(out[out[:-1].rfind(b"\n") + 1 :], type=Answer)
        except msgspec.DecodeError:
            said = words[-_LAST_WORDS:].decode(errors="replace").strip()
            raise EngineError(f"{what} that it ended with code {code}; it said: {said}") from None
        if not answer.passed:
            raise EngineError(answer.sentence)
        return answer.sentence

    def _load(self, trial: Trial, why: str) -> Engine:
        """Open what passed here; where that ends this process, the next one finds the marker."""
        self._check_wanted()
        t = self._loading = trial
        _mark(t, "expected the plan to load, as it did in a process apart, found the daemon's end")
        try:
            engine, _ = open_plans(
                self._bundle, t.flavour, t.n_rows, t.hops_per_epoch, t.precision, t.n_read
            )
        finally:
            t.marker.unlink(missing_ok=True)
            self._loading = None
        engine.why = why
        return engine

    def _check_wanted(self) -> None:
        if self._stopping:
            raise EngineError("expected time to get a GPU ready, found the end of hypnod")


def _mark(trial: Trial, what: str, words: bytes = b"") -> EngineError:
    """Leave a marker with a sentence and the last words of a process; return the error to raise."""
    sentence = (
        f"{what}; {trial.marker} tells more, and the GPU is tried again when that file is removed, "
        "or hypnod, the model, the subjects, TensorRT, the driver or the GPU change"
    )
    content = f"{sentence}\n{words[-_LAST_WORDS:].decode(errors='replace')}\n"
    write_whole(trial.marker, content.encode())
    return EngineError(sentence)
