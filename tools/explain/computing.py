"""From a decision to what it rests on; needs torch.

N: slots of the context window, M: modalities, L: pieces of an epoch and, last, its own token.
"""

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.bundle import Bundle
from models.base import AttentionMaps, Model, Weights
from models.recordings.open import Recording
from models.relative_spec import RelativeSpec
from models.spec import MIXED, ModelSpec
from models.weights import load_model
from tools.explain.decision import Decision
from tools.explain.explanation import Band, Explanation, Part, Slot
from tools.explain.what_if import WhatIf

_TAPER_S = 0.1

Floats = NDArray[np.float32]


def open_net(bundle: Bundle) -> Model:
    """Return the net of a bundle; raises WeightsError if its weights do not fit."""
    return load_model(bundle.path)


def explain(decision: Decision, net: Model, bundle: Bundle, recording: Recording) -> Explanation:
    """Return what a decision rests on.

    Args:
        decision: of an estimate that has a stage.
        net: of the bundle.
        bundle: that staged.
        recording: that was staged.

    Raises:
        EngineError: the net does not say what the engine said.
    """
    estimate, spec = decision.estimate, net.spec
    what_if = WhatIf(decision, net)
    what_if.check()
    mask = torch.from_numpy(decision.mask)
    maps = net.attend(torch.from_numpy(decision.epochs)[None], mask[None])
    start = recording.start
    return Explanation(
        file=Path(recording.path).name,
        subject=estimate.subject,
        model=f"{bundle.manifest.name} {bundle.hash[:12]}",
        kind=estimate.kind,
        onset_s=estimate.onset,
        clock=None if start is None else (start + timedelta(seconds=estimate.onset)).isoformat(),
        epoch_s=spec.epoch_s,
        stage=estimate.stage,
        probabilities=_by_stage(estimate.probabilities, spec),
        evidence=_by_stage(estimate.evidence, spec),
        pathway=what_if.pathway,
        validity=dict(estimate.validity),
        slot=decision.slot,
        window=_window(decision, what_if, maps),
        parts=_parts(decision, what_if, maps),
        bands=_bands(decision, what_if),
        modalities=what_if.without_modality(),
    )


def _window(decision: Decision, what_if: WhatIf, maps: AttentionMaps) -> tuple[Slot, ...]:
    layers = torch.stack([w[0] for w in maps.over[what_if.pathway]])  # (layers, heads, K, N, K, N)
    attention = layers[:, :, :, decision.slot].mean((0, 1, 2)).sum(0).tolist()
    support = what_if.without_slots().tolist()
    return tuple(
        Slot(
            onset_s=onset,
            stage=stage,
            valid=dict(zip(what_if.spec.modalities, valid, strict=True)),
            attention=attention[i],
            support=support[i],
        )
        for i, (onset, stage, valid) in enumerate(
            zip(decision.onsets.tolist(), decision.stages, decision.mask.tolist(), strict=True)
        )
    )


def _parts(decision: Decision, what_if: WhatIf, maps: AttentionMaps) -> dict[str, tuple[Part, ...]]:
    found, spec = {}, what_if.spec
    for m, (modality, layers) in enumerate(maps.within.items()):
        if not decision.mask[decision.slot, m] or what_if.pathway not in (MIXED, modality):
            continue
        attention, undifferenced = _average(layers, decision.slot)
        names = piece_names(spec, len(attention))
        silenced = without_pieces(decision.epochs[decision.slot], m, spec, len(attention))
        support = what_if.without(silenced).tolist()
        found[modality] = tuple(
            Part(
                name=name,
                start_s=start,
                stop_s=stop,
                attention=attention[i],
                undifferenced=None if undifferenced is None else undifferenced[i],
                support=support[i],
            )
            for i, (name, start, stop) in enumerate(names)
        )
    return found


def _average(layers: Sequence[Weights], slot: int) -> tuple[list[float], list[float] | None]:
    """Return the attention to each piece, and that of the first softmax, in even shares."""

    def over(weights: Sequence[Tensor]) -> list[float]:
        mean = torch.stack([w[0, slot] for w in weights]).mean((0, 1))  # (L,)
        shares: list[float] = (mean[:-1] * len(mean)).tolist()
        return shares

    attention = over([w.weights for w in layers])
    if any(w.second is None for w in layers):
        return attention, None
    return attention, over([w.first * w.weights.sum(-1, keepdim=True) for w in layers])


def piece_names(spec: ModelSpec, n: int) -> list[tuple[str, float | None, float | None]]:
    """Return name, start and end within the epoch, s, of the n pieces that become tokens."""
    relative = spec.relative
    if relative is None:
        return [_span(i, n, spec.epoch_s) for i in range(n)]
    rows, _ = relative.shape
    if n != rows:  # pieces that no row is
        return [(f"{i + 1} of {n}", None, None) for i in range(n)]
    parts = [_span(i, relative.n_parts, spec.epoch_s) for i in range(relative.n_parts)]
    return parts + [(f"mean of the last {s:g} s", None, None) for s in relative.recent_s]


def _span(i: int, n: int, epoch_s: float) -> tuple[str, float, float]:
    start, stop = i * epoch_s / n, (i + 1) * epoch_s / n
    return f"{start:.3g} to {stop:.3g} s", start, stop


def without_pieces(epoch: Floats, modality: int, spec: ModelSpec, n: int) -> Floats:
    """Return an epoch (M, n_inputs) n times, each without one of n pieces of a modality.

    Samples fade to silence and back, so that no edge is put in; levels become the usual ones, 0.

    Returns:
        (n, M, n_inputs).
    """
    size = spec.n_inputs // n
    out = np.tile(epoch, (n, 1, 1))
    taper = 0 if spec.relative is not None else round(_TAPER_S * spec.sfreq)
    fade = np.sin(np.pi / 2 * np.arange(1, taper + 1) / (taper + 1)) ** 2
    for i in range(n):
        keep = np.ones(spec.n_inputs + 2 * taper, np.float32)
        keep[i * size : (i + 1) * size + 2 * taper] = np.concatenate(
            [1 - fade, np.zeros(size), fade]
        )
        out[i, modality] *= keep[taper : taper + spec.n_inputs]
    return out


def _bands(decision: Decision, what_if: WhatIf) -> tuple[Band, ...]:
    relative = what_if.spec.relative
    if relative is None:
        return ()
    epoch = decision.epochs[decision.slot].reshape(-1, *relative.shape)
    found = []
    for m, modality in enumerate(what_if.spec.modalities):
        if not decision.mask[decision.slot, m] or what_if.pathway not in (MIXED, modality):
            continue
        for name, low, high, columns in columns_of(relative, m):
            usual = epoch.copy()
            usual[m][:, columns] = 0.0
            [support] = what_if.without(usual.reshape(1, len(epoch), -1)).tolist()
            level = float(epoch[m, : relative.n_parts, columns[0]].mean())
            found.append(
                Band(
                    modality=modality,
                    name=name,
                    low_hz=low,
                    high_hz=high,
                    level=level,
                    support=support,
                )
            )
    return tuple(found)


def columns_of(
    relative: RelativeSpec, modality: int
) -> list[tuple[str, float | None, float | None, list[int]]]:
    """Return name, edges (Hz) and the columns of levels of each feature of a modality.

    A feature may be told several times, against the subject's own and against the population; RMS
    and robust SD, which hardly differ, are one: the amplitude.
    """
    edges, n = relative.edges_hz[modality], relative.n_features[modality]
    if not edges:
        return [("amplitude", None, None, list(range(relative.n_own[modality])))]
    # The population's come last, and lack the total power.
    columns = [list(range(j, relative.n_levels[modality], n)) for j in range(n)]
    bands: list[tuple[str, float | None, float | None, list[int]]] = [
        (f"{low:g}–{high:g} Hz", low, high, columns[j])
        for j, (low, high) in enumerate(pairwise(edges))
    ]
    return [*bands, ("total power", None, None, columns[-1])] if relative.total else bands


def _by_stage(values: NDArray[np.float32] | None, spec: ModelSpec) -> dict[str, float]:
    found = [] if values is None else values.tolist()
    return dict(zip(spec.stages, found, strict=True))
