"""Whether there is a brain on the wire at all, which a net for sleep would never ask.

A lead that came off, an open input and an unplugged headstage give noise, and a net calls noise
some stage. Over ten seconds a mouse's EEG differs from noise in how its power is spread over 1 to
24 Hz, which is not smooth, and in how much that fluctuates: noise fluctuates by chance alone. So
the log powers of narrow bands are averaged with their variances, and a quadratic rule, fitted by
`models.fit.no_brain`, weighs both. Neither the level nor what lies above 24 Hz counts, since
amplifiers differ in them.

An EMG is noise itself, and in quiet sleep as steady as noise. So it is judged only while its
subject's EEG shows no brain: most often the headstage is unplugged, and the EMG's wire is as dead.
It is read while its level moves as muscles make it, where a brain was seen before on the EEG's
wire: then only that electrode is lost. A lead that swings between its rails moves likewise.

Every step is a recursion from epoch to epoch, so chunking cannot change a bit. Where the spectrum
jumps as steady noise never does, the averages begin anew: a lead that comes off has to be judged
by what comes after it. And what was a brain beyond doubt is not lost without a jump so easily.

Ten seconds are long for a closed loop: `lead_off.py` looks at the last two, and stages nothing.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.signal.averages import Averages, Floats
from models.signal.lead_off import LeadOff, LeadOffRule, read_lead_off_rule
from models.signal.quality import MISSING, NO_BRAIN, NOT_FINITE, OK, within_range
from models.signal.state import check_shapes
from models.spec import ModelSpec

RULE_FILES = {"mouse": Path(__file__).with_name("mouse_no_brain.json")}
"""By species. People's quiet EEG is too near to pink noise to be told from it in ten seconds."""

_LEAST_HZ = 400.0  # sampling is brought down to no less: hum must not fold into the bands
_N_TAPERS = 3
_EMG_HZ = 200.0  # the same of the EMG, where what hum does is steady
_LEAST_POWER = 1e-9  # µV²/Hz, µV²
_LEAST_LEVEL = np.log(1e-6)  # mean log density of EEG below which a wire is dead, not noisy
_LEAST_VARIANCE = 1e-3  # of a log power
_JUMP = 45.0  # sum of the bins' squared steps in log power that is no steady noise's
_CHANCE = 3.5  # variance of the log power of so many differences of noise, times their number
_LEAST_MOVE, _MOST_MOVE = 4.0, 60.0
"""What muscles do to the variance of an EMG's level, by that of noise; rails do more."""
_STATE, _LEAD_OFF = "no_brain", "lead_off"  # by these names it is found after a restart


class NoBrainRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A quadratic score of running band powers: above 0 rather a brain, below rather noise."""

    source: str
    """What it was fitted to."""
    edges_hz: tuple[float, ...]
    """Edges of the bands, rising, Hz."""
    memory_s: float
    """Time constant of the running means and variances, s."""
    lost_below: float
    """A brain is taken for lost where the score falls below."""
    found_above: float
    """And for found again where it rises above."""
    sure_above: float
    """Above, there is no doubt of a brain until the spectrum jumps."""
    doubted_below: float
    """Where there was none, a brain is taken for lost only below."""
    bias: float
    shape: tuple[float, ...]
    """Weight of each band's mean log power relative to the mean of all."""
    curvature: tuple[tuple[float, ...], ...]
    """Weight of the products of two of them, (n_bands, n_bands)."""
    fluctuation: tuple[float, ...]
    """Weight of the log variance of the level, then of each band relative to it."""

    def score(self, mean: Floats, variance: Floats) -> Floats:
        """Return the score of running (..., 1 + n_bands) means and variances; shape (...)."""
        shape = mean[..., 1:]
        bend = (shape @ np.array(self.curvature) * shape).sum(axis=-1)
        swing = log_variance(variance) @ np.array(self.fluctuation)
        found: Floats = self.bias + shape @ np.array(self.shape) + bend + swing
        return found


@cache
def read_rule(species: str) -> NoBrainRule | None:
    """Return the rule for a species, None where there is none."""
    path = RULE_FILES.get(species)
    return None if path is None else msgspec.json.decode(path.read_bytes(), type=NoBrainRule)


def log_variance(variance: Floats) -> Floats:
    """Return what the rule weighs of the variance of log powers."""
    return np.log(variance + _LEAST_VARIANCE)


class _Pieces:
    """Cuts epochs into pieces of about a second, and samples them slower, not below `hz`."""

    def __init__(self, sfreq: float, epoch_s: float, hz: float) -> None:
        self.n_pieces = round(epoch_s)
        self._every = max(1, int(sfreq // hz))
        self.n = round(sfreq * epoch_s) // self.n_pieces // self._every
        self.sfreq = sfreq / self._every

    def __call__(self, x: Floats) -> Floats:
        """(n_in, n_channels) → (n_pieces, n, n_channels), of mean 0; what is none is usual."""
        x = np.ascontiguousarray(x[: self.n_pieces * self.n * self._every])
        within = within_range(x)
        if not within.all():
            known = np.where(within, x, 0.0)
            x = np.where(within, x, known.sum(axis=0) / np.maximum(within.sum(axis=0), 1))
        pieces = x.reshape(self.n_pieces, self.n, self._every, -1)
        slow = np.einsum("pnec->pnc", pieces) / self._every if self._every > 1 else pieces[:, :, 0]
        return np.asarray(slow - slow.mean(axis=1, keepdims=True))


class _Bands:
    """Log powers of bands, by sine tapers (Riedel and Sidorenko, IEEE TSP 43, 188, 1995)."""

    def __init__(self, sfreq: float, epoch_s: float, edges_hz: Sequence[float]) -> None:
        self._cut = _Pieces(sfreq, epoch_s, _LEAST_HZ)
        n = self._cut.n
        bin_hz = self._cut.n_pieces / epoch_s
        hz = np.arange(np.ceil(edges_hz[0] / bin_hz), np.ceil(edges_hz[-1] / bin_hz)) * bin_hz
        self._first = np.searchsorted(hz, np.array(edges_hz[:-1]) - 1e-6)
        self.n_bins = np.diff(np.append(self._first, len(hz)))
        """(n_bands,)."""
        time = (np.arange(n) + 0.5) / n
        tapers = np.sin(np.pi * np.arange(1, _N_TAPERS + 1)[:, None] * time)
        phase = 2 * np.pi * hz[:, None] / bin_hz * time
        waves = np.stack([np.cos(phase), np.sin(phase)])
        basis = tapers[:, None, None] * waves * np.sqrt(4 / (self._cut.sfreq * n * _N_TAPERS))
        self._basis = basis.reshape(-1, n).astype(np.float32)
        self._shape = (2 * _N_TAPERS, len(hz), -1)

    def __call__(self, raw: Floats) -> list[Floats]:
        """Return of each piece the mean log density, µV²/Hz, then each band's relative to it.

        (n_in, n_channels) → (n_channels, 1 + n_bands) each.
        """
        found = []
        for piece in self._cut(raw).astype(np.float32):
            parts = (self._basis @ piece).reshape(self._shape)
            power = np.square(parts).sum(axis=0).astype(np.float64)
            mean = np.add.reduceat(power, self._first, axis=0) / self.n_bins[:, None]
            bands = np.log(mean + _LEAST_POWER)
            level = bands.mean(axis=0, keepdims=True)
            found.append(np.concatenate([level, bands - level]).T)
        return found


class NoBrain:
    """The check of all subjects of one stream; `check_for` makes it.

    Args:
        rule: what a brain is told from noise by.
        soon: what a lead that has just come off is told by.
        modalities: in the model's order; `eeg` is one of them.
        n_subjects: subjects of the stream.
        sfreq: sampling rate of the raw samples, Hz.
        epoch_s: length of an epoch, at least 1 s.
        hop_s: seconds between two epochs.
    """

    def __init__(
        self,
        rule: NoBrainRule,
        soon: LeadOffRule,
        modalities: Sequence[str],
        n_subjects: int,
        sfreq: float,
        epoch_s: float,
        hop_s: float,
    ) -> None:
        self._rule, self._modalities = rule, tuple(modalities)
        self._hops = max(1, round(epoch_s / hop_s))  # epochs that overlap would count twice
        self._bands = _Bands(sfreq, epoch_s, rule.edges_hz)
        n_bins = self._bands.n_bins
        self._weight = np.append(n_bins.sum(), n_bins)  # of the features, in a jump
        self._emg_pieces = _Pieces(sfreq, epoch_s, _EMG_HZ)
        self._piece_s = epoch_s / round(epoch_s)
        self.eeg = Averages(n_subjects, len(rule.edges_hz))
        """What the rule is given, and what it said."""
        self.lead_off = LeadOff(soon, n_subjects, self._weight)
        """What is said of the last two pieces."""
        self._emg = Averages(n_subjects, 1)
        self._known = np.zeros(n_subjects, bool)  # whether a brain was ever seen
        self._sure = np.zeros(n_subjects, bool)  # and since the spectrum jumped without a doubt

    def mark(self, raw: Floats, hop: int, reasons: NDArray[np.object_]) -> Floats:
        """Write `no_brain` over `ok` where it holds.

        Args:
            raw: (n_in, n_subjects × n_modalities), µV, NaN where missing.
            hop: the epoch's number in the grid.
            reasons: (n_subjects, n_modalities), of the other checks.

        Returns:
            (n_subjects,), log odds that a lead has just come off, NaN where that is not known.
        """
        of = {modality: i for i, modality in enumerate(self._modalities)}
        if hop % self._hops == 0:
            self._judge_eeg(raw[:, of["eeg"] :: len(of)], _came(reasons[:, of["eeg"]]))
            if "emg" in of:
                self._judge_emg(raw[:, of["emg"] :: len(of)], _came(reasons[:, of["emg"]]))
        reasons[self.eeg.lost & (reasons[:, of["eeg"]] == OK), of["eeg"]] = NO_BRAIN
        if "emg" in of:
            lost = self.eeg.lost & self._emg.lost
            reasons[lost & (reasons[:, of["emg"]] == OK), of["emg"]] = NO_BRAIN
        return np.where(reasons[:, of["eeg"]] == OK, self.lead_off.log_odds, np.nan)

    def _judge_eeg(self, raw: Floats, came: NDArray[np.bool_]) -> None:
        """Follow and judge (n_in, n_subjects), where samples came."""
        eeg, rule = self.eeg, self._rule
        for found in self._bands(raw):
            noisy = came & (found[:, 0] > _LEAST_LEVEL)
            # Also after the piece in which a lead came off; a brain may jump before it is known.
            fresh = eeg.settled | (eeg.seen_s <= self._piece_s)
            step = np.square(found - eeg.mean) @ self._weight
            jumped = noisy & fresh & (step > _JUMP)
            eeg.restart(jumped)
            self._sure &= ~jumped
            eeg.follow(found, noisy, self._piece_s, rule.memory_s)
            self.lead_off.follow(found, noisy, self._piece_s)
        score = rule.score(eeg.mean, eeg.variance)
        self._sure |= eeg.settled & (score > rule.sure_above)
        self._known |= self._sure
        lost = score < np.where(self._sure, rule.doubted_below, rule.lost_below)
        lost |= eeg.lost & (score < rule.found_above)
        eeg.lost = np.where(eeg.settled, lost, eeg.lost)

    def _judge_emg(self, raw: Floats, came: NDArray[np.bool_]) -> None:
        """Follow and judge the level of (n_in, n_subjects), where samples came and no brain is."""
        emg, without = self._emg, self.eeg.lost
        emg.restart(~without)
        for piece in self._emg_pieces(raw) if without.any() else ():
            level = np.log(np.square(np.diff(piece, 2, axis=0)).mean(axis=0) + _LEAST_POWER)
            emg.follow(level[:, None], came & without, self._piece_s, self._rule.memory_s)
        move = emg.variance[:, 0] * self._emg_pieces.n / _CHANCE
        moves = emg.settled & (move > _LEAST_MOVE) & (move < _MOST_MOVE)
        emg.lost = ~(self._known & moves)

    def recent(self) -> dict[str, Floats]:
        """Return what a restart needs to go on exactly here: arrays (n_subjects, n_values)."""
        brain = np.stack([self._known, self._sure], axis=1)
        state = np.concatenate([self.eeg.state(), self._emg.state(), brain], axis=1)
        return {_STATE: state, _LEAD_OFF: self.lead_off.state()}

    def load_recent(self, recent: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from the `recent()` of as many subjects; begin anew where the check was off.

        Raises:
            SpecError: it is of another shape.
        """
        if not {_STATE, _LEAD_OFF} <= recent.keys():
            return
        check_shapes("recent signal", recent, self.recent())
        values, n = np.array(recent[_STATE], np.float64), self.eeg.state().shape[1]
        self.eeg.load_state(values[:, :n])
        self._emg.load_state(values[:, n:-2])
        self._known, self._sure = values[:, -2] > 0, values[:, -1] > 0
        self.lead_off.load_state(np.array(recent[_LEAD_OFF], np.float64))


def _came(reasons: NDArray[np.object_]) -> NDArray[np.bool_]:
    """(n_subjects,), whether samples came, of the reasons of one modality."""
    return np.asarray((reasons != MISSING) & (reasons != NOT_FINITE), bool)


def check_for(spec: ModelSpec, n_subjects: int, sfreq: float, hop_s: float) -> NoBrain | None:
    """Return the check for a model's epochs; None for those that no rule can judge."""
    rule, soon = read_rule(spec.species), read_lead_off_rule(spec.species)
    if rule is None or soon is None or "eeg" not in spec.modalities or spec.epoch_s < 1.0:
        return None
    return NoBrain(rule, soon, spec.modalities, n_subjects, sfreq, spec.epoch_s, hop_s)
