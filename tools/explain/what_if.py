"""What a net would have decided with something taken out of what it read; needs torch.

B: variants, N: slots of the context window, M: modalities, S: stages.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.errors import EngineError
from models.base import Model
from models.spec import MIXED
from tools.explain.decision import Decision

_AGREE = 0.02  # of probabilities: engines that compute in fp16 differ by less
_LEAST = 1e-9  # probability


class WhatIf:
    """Reads the window of a decision again, with something taken out.

    Args:
        decision: the decision.
        net: that made it.
    """

    def __init__(self, decision: Decision, net: Model) -> None:
        self.net, self.spec = net, net.spec
        self.pathway = decision.estimate.pathway or MIXED
        self._decision = decision
        self._slots = torch.tensor([decision.slot])
        self._stage = net.spec.stages.index(decision.estimate.stage)
        self._mask = torch.from_numpy(decision.mask)
        with torch.inference_mode():
            self._tokens = net.encode(torch.from_numpy(decision.epochs), self._mask)
        self._odds = float(self._log_odds(self._tokens[None], self._mask[None])[0])

    def check(self) -> None:
        """Raise EngineError unless the net says what the engine said."""
        with torch.inference_mode():
            found = self._read(self._tokens[None], self._mask[None])[0].numpy()
        told = self._decision.estimate.evidence
        if told is None or np.abs(found - told).max() > _AGREE:
            raise EngineError(
                f"expected the bundle's weights to give the engine's evidence {told}, found "
                f"{found}: stage with --engine torch"
            )

    def _read(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return the evidence (B, S) of the epoch, from tokens (B, N, …) and mask (B, N, M)."""
        [logits] = self.net.read(tokens, mask, [self.pathway], self._slots)
        return logits[:, 0].softmax(-1)

    def _log_odds(self, tokens: Tensor, mask: Tensor) -> Tensor:
        with torch.inference_mode():
            p = self._read(tokens, mask)[:, self._stage].double().clamp(_LEAST, 1 - _LEAST)
        return torch.logit(p)

    def without(self, epochs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the support (B,) of what the decided epoch lacks in each of (B, M, n_inputs)."""
        slot, n = self._decision.slot, len(epochs)
        with torch.inference_mode():
            valid = self._mask[slot].expand(n, -1)
            tokens = self._tokens.expand(n, *self._tokens.shape).clone()
            tokens[:, slot] = self.net.encode(torch.from_numpy(epochs), valid)
        return self._support(tokens, self._mask.expand(n, -1, -1))

    def without_slots(self) -> NDArray[np.float64]:
        """Return the support (N,) of each slot; 0 where it is masked already."""
        N = self.spec.n_context
        mask = self._mask & ~torch.eye(N, dtype=torch.bool)[..., None]
        support = self._support(self._tokens.expand(N, *self._tokens.shape), mask)
        return np.where(self._decision.mask.any(axis=1), support, 0.0)

    def without_modality(self) -> dict[str, float]:
        """Return the support of each modality over the window; none where one alone was read."""
        if self.pathway != MIXED:
            return {}
        found = {}
        for m, modality in enumerate(self.spec.modalities):
            mask = self._mask.clone()
            mask[:, m] = False
            if mask.any() and self._mask[:, m].any():
                tokens = self.net.encode(torch.from_numpy(self._decision.epochs), mask)
                found[modality] = float(self._support(tokens[None], mask[None])[0])
        return found

    def _support(self, tokens: Tensor, mask: Tensor) -> NDArray[np.float64]:
        support: NDArray[np.float64] = (self._odds - self._log_odds(tokens, mask)).numpy()
        return support
