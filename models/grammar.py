"""Sleep has a grammar: which stage is likely follows from the net and from the stage before.

The stage is a Markov chain in continuous time, with the rates of experts' hypnograms. What the net
says of an epoch is evidence for the epoch's stages, raised to a power β (`models.spec.Grammar`).
With P the transitions from one epoch to the next, the probabilities of epoch t are
(Rabiner 1989, doi:10.1109/5.18626)

    live    b(t) ∝ e(t)^β · (b(t-1) P), e(t) as read at once
    final   b(t) · v(t): b(t) likewise, e(t) as read at the final lag, at epoch T; and back from
            there v(T) = 1, v(s-1) ∝ P (e(s)^β · v(s)), e(s) what the window of T says of epoch s

What is published of either is tempered: its logarithm is divided by a temperature, so that the
confidence deserves its name. The highest stays the highest, and b goes on as it is.

An epoch without evidence is stepped over; after a long gap b is at the rates' own equilibrium,
where it began. With a hop shorter than the epoch each sample lies in several epochs. No evidence
counts twice: epochs that begin at different hops of an epoch length are chains of their own.

Sums are taken one by one and never by BLAS, whose order depends on the number of rows: a subject
alone, among 64 or as a whole recording at once gets the same bits.

S: stages. K: slots of evidence, of the epoch itself and of those after it, an epoch length apart.
"""

from functools import cache, reduce
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

from models.errors import SpecError
from models.spec import Grammar, ModelSpec
from models.stages import SPECIES

TRANSITION_FILES = {
    species: Path(__file__).with_name(f"{species}_transitions.json") for species in SPECIES
}
"""The packaged counts by species."""

_PSEUDO_COUNT = 1
_LEAST = 1e-6  # evidence: no epoch alone rules a stage out

Array = NDArray[np.float64]


class Transitions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How often experts saw each stage go over into each other."""

    source: str
    """The scored recordings."""
    n_subjects: int
    """Mice or people used."""
    epoch_s: float
    """Length of the scored epochs, s."""
    stages: tuple[str, ...]
    n_epochs: tuple[int, ...]
    """(S,) epochs of each stage whose next epoch has a stage, too."""
    n_transitions: tuple[tuple[int, ...], ...]
    """(S, S) those whose next epoch has another stage (column)."""

    @property
    def rates(self) -> tuple[tuple[float, ...], ...]:
        """Rates as `Grammar` has them: counts over the time spent in the stage.

        Each count has one more, so that a transition that nobody saw is rare and not impossible;
        one that is seen but tens of times in all keeps its rate.
        """
        counts = np.array(self.n_transitions) + _PSEUDO_COUNT * (1 - np.eye(len(self.stages)))
        rates = counts / (np.array(self.n_epochs)[:, None] * self.epoch_s)
        return tuple(tuple(float(f"{rate:.4g}") for rate in row) for row in rates)


@cache
def transitions_of(species: str) -> Transitions:
    """Return the packaged counts of a species, written by `models.fit.transitions`.

    Raises:
        SpecError: nobody counted the transitions of this species.
    """
    try:
        file = TRANSITION_FILES[species]
    except KeyError as error:
        raise SpecError(
            f"expected a species whose transitions were counted, {' or '.join(TRANSITION_FILES)}, "
            f"found {species}"
        ) from error
    return msgspec.json.decode(file.read_bytes(), type=Transitions)


def counted_for(spec: ModelSpec) -> bool:
    """Whether the packaged counts are of the stages that a model tells apart."""
    return spec.stages == transitions_of(spec.species).stages


def grammar_of(species: str, beta_live: float, beta_final: float) -> Grammar:
    """Return the grammar of a species with these powers of the evidence.

    Raises:
        SpecError: nobody counted the transitions of this species.
    """
    counted = transitions_of(species)
    return Grammar(
        source=counted.source, rates=counted.rates, beta_live=beta_live, beta_final=beta_final
    )


def equilibrium(grammar: Grammar) -> Array:
    """Return the share of time in each stage that the rates lead to in the end, (S,)."""
    balance = _generator(grammar).T
    balance[-1] = 1.0  # in the place of one equation, which follows from the others: they sum to 1
    return np.asarray(np.linalg.solve(balance, np.eye(len(balance))[-1]))


def transitions(grammar: Grammar, seconds: float) -> Array:
    """Return the chance of each stage (column) so long after each (row), (S, S)."""
    return np.asarray(expm(_generator(grammar) * seconds))


class Filter:
    """Makes probabilities of the net's evidence; keeps nothing, its caller keeps the beliefs.

    Args:
        grammar: rates and powers.
        epoch_s: length of an epoch, s.
    """

    def __init__(self, grammar: Grammar, epoch_s: float) -> None:
        self.start = equilibrium(grammar)
        """(S,) the belief before the first epoch."""
        self._step = transitions(grammar, epoch_s)
        self._back = self._step.T
        self._beta_live, self._beta_final = grammar.beta_live, grammar.beta_final
        self._temperature_live = grammar.temperature_live
        self._temperature_final = grammar.temperature_final

    def live(self, before: Array, evidence: NDArray[np.floating]) -> tuple[Array, Array]:
        """Return the belief after an epoch, and its probabilities.

        Args:
            before: (…, S), after the epoch before.
            evidence: (…, S), NaN where there is none.
        """
        belief = _forward(before, self._step, _weigh(evidence, self._beta_live))
        return belief, _temper(belief, self._temperature_live)

    def final(self, before: Array, evidence: NDArray[np.floating]) -> tuple[Array, Array]:
        """Return the belief after an epoch, and its probabilities given what followed, too.

        Args:
            before: (…, S), after the epoch before.
            evidence: (…, K, S), NaN where there is none; the first slot is the epoch's own.
        """
        own = _weigh(evidence[..., 0, :], self._beta_final)
        belief = _forward(before, self._step, own)
        return belief, _temper(belief * self._backward(evidence), self._temperature_final)

    def live_all(self, evidence: NDArray[np.floating]) -> Array:
        """Return the probabilities that `live` gives for each epoch of recordings, (n, …, S).

        Args:
            evidence: (n, …, S), an epoch length apart.
        """
        beliefs = self._forward_all(_weigh(evidence, self._beta_live))
        return _temper(beliefs, self._temperature_live)

    def final_all(self, evidence: NDArray[np.floating]) -> Array:
        """Return the probabilities that `final` gives for each epoch of recordings, (n, …, S).

        Args:
            evidence: (n, …, K, S), an epoch length apart.
        """
        beliefs = self._forward_all(_weigh(evidence[..., 0, :], self._beta_final))
        return _temper(beliefs * self._backward(evidence), self._temperature_final)

    def whole(self, evidence: NDArray[np.floating]) -> Array:
        """Return the probabilities of each epoch given a whole recording, (n, S).

        Args:
            evidence: (n, S), an epoch length apart, NaN where there is none; of `final`.
        """
        weights = _weigh(evidence, self._beta_final)
        found, ahead = self._forward_all(weights), np.ones(weights.shape[-1])
        for k in reversed(range(len(found))):
            found[k] = _normalise(found[k] * ahead)
            ahead = _normalise(_multiply(weights[k] * ahead, self._back))
        return found

    def best_path(self, evidence: NDArray[np.floating]) -> NDArray[np.intp]:
        """Return the most likely course of stages through a whole recording, (n,).

        Viterbi 1967, doi:10.1109/TIT.1967.1054010.

        Args:
            evidence: as for `whole`.
        """
        weights = np.log(_weigh(evidence, self._beta_final))
        step = np.log(self._step)
        best = np.log(self.start)  # an epoch on it is still the same: it is the equilibrium
        came_from = np.zeros(weights.shape, np.intp)
        for k, weight in enumerate(weights):
            if k > 0:
                ways = best[:, None] + step
                came_from[k], best = ways.argmax(axis=0), ways.max(axis=0)
            best = best + weight
        path = np.empty(len(weights), np.intp)
        stage = best.argmax()
        for k in reversed(range(len(path))):
            path[k], stage = stage, came_from[k, stage]
        return path

    def _forward_all(self, weights: Array) -> Array:
        beliefs = np.empty_like(weights)
        belief = np.broadcast_to(self.start, weights.shape[1:])
        for k, weight in enumerate(weights):
            beliefs[k] = belief = _forward(belief, self._step, weight)
        return beliefs

    def _backward(self, evidence: NDArray[np.floating]) -> Array:
        """Return how well each stage goes with what followed, (…, S)."""
        weights = _weigh(evidence[..., 1:, :], self._beta_final)
        ahead = np.ones_like(weights, shape=(*weights.shape[:-2], weights.shape[-1]))
        for slot in reversed(range(weights.shape[-2])):
            ahead = _normalise(_multiply(weights[..., slot, :] * ahead, self._back))
        return ahead


def _generator(grammar: Grammar) -> Array:
    rates = np.array(grammar.rates)
    return rates - np.diag(rates.sum(axis=1))


def _weigh(evidence: NDArray[np.floating], power: float) -> Array:
    """Return the evidence to a power, 1 where there is none."""
    there = np.where(np.isfinite(evidence), evidence, 1.0).astype(np.float64, order="C")
    return np.asarray(np.power(np.maximum(there, _LEAST), power))


def _forward(before: Array, step: Array, weights: Array) -> Array:
    return _normalise(_multiply(before, step) * weights)


def _multiply(rows: Array, matrix: Array) -> Array:
    """Return the product of rows (…, S) and a matrix (S, S), summed in the order of the rows."""
    return reduce(np.add, (rows[..., i : i + 1] * row for i, row in enumerate(matrix)))


def _temper(rows: Array, temperature: float) -> Array:
    """Return rows (…, S) to the power 1 / temperature, over their sum."""
    return _normalise(np.power(_normalise(rows), 1.0 / temperature))


def _normalise(rows: Array) -> Array:
    """Return rows (…, S) over their sum."""
    return np.asarray(rows / reduce(np.add, (rows[..., i : i + 1] for i in range(rows.shape[-1]))))
