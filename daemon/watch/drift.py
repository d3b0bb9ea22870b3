"""Warns when an animal looks unlike what the model was trained on, and when it no longer does.

Its stages are computed all the same; how far to trust them is for a person to say.
"""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import structlog
from numpy.typing import NDArray
from prometheus_client import Gauge

from daemon.config import StreamConfig
from daemon.metrics import Metrics
from daemon.state import StateWriter
from models.signal.drift import LIMIT, unlike

log = structlog.get_logger()

_CONFIRM_S = 60.0
"""For so long it must be beyond the limit, or within it, before that is logged and published, s."""
_WITHIN = 0.9
"""Below this it is within the limit again."""


class DriftWatch:
    """Compares the drift measure of one stream's subjects with its limit after every epoch.

    Args:
        stream: whose subjects.
        modalities: in the model's order.
        hop_s: from one epoch's onset to the next one's, s.
        metrics: has a gauge of it.
        states: names the subjects beyond the limit beside the stream's state.
        note: publishes a sentence and journals it.
    """

    def __init__(
        self,
        stream: StreamConfig,
        modalities: Sequence[str],
        hop_s: float,
        metrics: Metrics,
        states: StateWriter,
        note: Callable[[str], None],
    ) -> None:
        self._stream = stream.name
        self._n_confirm = max(1, round(_CONFIRM_S / hop_s))
        self._names = list(product([s.name for s in stream.subjects], modalities))
        self._gauges: dict[int, Gauge] = {}
        self._metrics = metrics
        self._states = states
        self._note = note
        self._beyond = np.zeros(len(self._names), bool)
        self._n_other = np.zeros(len(self._names), int)
        """Epochs in a row that were on the other side of the limit."""

    def look(self, drift: NDArray[np.float64], explain: Callable[[int, int], str]) -> None:
        """Set the gauges after an epoch; log and publish where a subject has changed sides.

        Args:
            drift: (n_subjects, n_modalities), NaN where it is not known.
            explain: says in what a subject and modality, by index, differs most.
        """
        found = drift.ravel()
        for i in np.flatnonzero(np.isfinite(found)).tolist():
            self._gauge(i).set(found[i])
        other = np.where(self._beyond, found < _WITHIN, found > LIMIT)
        self._n_other = np.where(other, self._n_other + 1, 0)
        for i in np.flatnonzero(self._n_other >= self._n_confirm).tolist():
            self._n_other[i] = 0
            self._beyond[i] = not self._beyond[i]
            if self._beyond[i]:
                self._say_beyond(self._names[i], found[i], explain(*divmod(i, drift.shape[1])))
            else:
                self._say_within(self._names[i], found[i])

    def _gauge(self, i: int) -> Gauge:
        """Return the gauge of a subject and modality; what is not known yet has none."""
        if i not in self._gauges:
            self._gauges[i] = self._metrics.drift.labels(self._stream, *self._names[i])
        return self._gauges[i]

    def _say_beyond(self, name: tuple[str, str], value: float, why: str) -> None:
        subject, modality = name
        log.warning(
            "the animal looks unlike those that the model was trained on",
            stream=self._stream,
            subject=subject,
            modality=modality,
            drift=round(float(value), 2),
            why=why,
        )
        text = unlike(value, why)
        self._note(f"{modality} of {subject} {text}")
        self._states.remark(f"{modality} of {subject}", text)

    def _say_within(self, name: tuple[str, str], value: float) -> None:
        subject, modality = name
        log.info(
            "the animal looks like those that the model was trained on again",
            stream=self._stream,
            subject=subject,
            modality=modality,
            drift=round(float(value), 2),
        )
        self._note(f"{modality} of {subject} looks like what the model was trained on again")
        self._states.remark(f"{modality} of {subject}", None)
