"""Whether there is a brain on the wire at all, which a net for sleep would never ask.

A lead that came off, an open input and an unplugged headstage give noise, and a net calls noise
some stage. Over ten seconds an EEG differs from noise in how its power is spread over 1 to 24 Hz,
which is not smooth, and in how much that fluctuates: noise fluctuates by chance alone. So the log
powers of narrow bands are averaged with their variances, and a quadratic rule, fitted by
`models.fit.no_brain`, weighs both. Neither the level nor what lies above 24 Hz counts, since
amplifiers differ in them. A person's EOG sees the brain, too, and is judged like the EEG. People's
quiet EEG is so near to pink noise that only noise of other colours is told from it.

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
from models.signal.quality import ABSENT, MISSING, NO_BRAIN, NOT_FINITE, OK, within_range
from models.signal.state import check_shapes
from models.spec import ModelSpec

RULE_FILES = {
    species: Path(__file__).with_name(f"{species}_no_brain.json") for species in ("mouse", "human")
}
"""By species."""

_SEE_A_BRAIN = ("eeg", "eog")

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
_STATE, _LEAD_OFF = "wires", "lead_off"  # by these names it is found after a restart
_PIECE_S = 1.0  # about, of the pieces of which powers are told


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

    A wire is a channel that should see a brain: each subject's EEG, and EOG if there is one.

    Args:
        rule: what a brain is told from noise by.
        soon: what a lead that has just come off is told by; None: it is not told.
        modalities: in the model's order; `eeg` is one of them.
        n_subjects: subjects of the stream.
        sfreq: sampling rate of the raw samples, Hz.
        epoch_s: length of an epoch, at least 1 s.
        hop_s: seconds between two epochs.
    """

    def __init__(
        self,
        rule: NoBrainRule,
        soon: LeadOffRule | None,
        modalities: Sequence[str],
        n_subjects: int,
        sfreq: float,
        epoch_s: float,
        hop_s: float,
    ) -> None:
        self._rule, self._epoch_s = rule, epoch_s
        self._every = max(1, round(_PIECE_S / hop_s))  # samples in two epochs count once
        self._new_s = min(epoch_s, self._every * hop_s)
        self._n_new = round(sfreq * self._new_s)
        self._begun = False
        self._bands = _Bands(sfreq, self._new_s, rule.edges_hz)
        n_bins = self._bands.n_bins
        self._weight = np.append(n_bins.sum(), n_bins)  # of the features, in a jump
        self._emg_pieces = _Pieces(sfreq, self._new_s, _EMG_HZ)
        self._piece_s = self._new_s / round(self._new_s)
        self._see = [i for i, m in enumerate(modalities) if m in _SEE_A_BRAIN]
        self._eeg, self._n_modalities = self._see.index(modalities.index("eeg")), len(modalities)
        self._emg_at = modalities.index("emg") if "emg" in modalities else None
        n_wires = n_subjects * len(self._see)
        self.wires = Averages(n_wires, len(rule.edges_hz))
        """What the rule is given, and what it said, subject by subject."""
        self.lead_off = None if soon is None else LeadOff(soon, n_subjects, self._weight)
        """What is said of the last two pieces."""
        self._emg = Averages(n_subjects, 1)
        self._known = np.zeros(n_wires, bool)  # whether a brain was ever seen
        self._sure = np.zeros(n_wires, bool)  # and since the spectrum jumped without a doubt
        self._found_s = np.full(n_wires, np.inf)  # signal since a brain was last lost

    def mark(self, raw: Floats, hop: int, reasons: NDArray[np.object_]) -> Floats:
        """Write `no_brain` over `ok` where it holds, also for a part of the epoch.

        Args:
            raw: (n_in, n_subjects × n_modalities), µV, NaN where missing.
            hop: the epoch's number in the grid.
            reasons: (n_subjects, n_modalities), of the other checks.

        Returns:
            (n_subjects,), log odds that a lead has just come off, NaN where that is not known.
        """
        if hop % self._every == 0:
            n_spans = 1 if self._begun else len(raw) // self._n_new
            spans = raw[-n_spans * self._n_new :].reshape(n_spans, self._n_new, -1)
            for span in spans:
                self._judge(span, _came(reasons))
            self._begun = True
        lost = self._by_subject(self._found_s < self._epoch_s)
        seen = reasons[:, self._see]
        reasons[:, self._see] = np.where(lost & (seen == OK), NO_BRAIN, seen)
        if self._emg_at is not None:
            emg = reasons[:, self._emg_at]
            emg[lost[:, self._eeg] & self._emg.lost & (emg == OK)] = NO_BRAIN
        if self.lead_off is None:
            return np.full(len(reasons), np.nan)
        return np.where(seen[:, self._eeg] == OK, self.lead_off.log_odds, np.nan)

    def _judge(self, raw: Floats, came: NDArray[np.bool_]) -> None:
        """Judge (n_new, n_subjects × n_modalities), where samples came, by subject and modality."""
        by_modality = raw.reshape(len(raw), -1, self._n_modalities)
        wires = by_modality[:, :, self._see].reshape(len(raw), -1)
        self._judge_wires(wires, came[:, self._see].ravel())
        if self._emg_at is not None:
            self._judge_emg(by_modality[:, :, self._emg_at], came[:, self._emg_at])

    def _by_subject(self, of_wires: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(n_wires,) → (n_subjects, wires of each)."""
        return of_wires.reshape(-1, len(self._see))

    def _judge_wires(self, raw: Floats, came: NDArray[np.bool_]) -> None:
        """Follow and judge (n_in, n_wires), where samples came."""
        wires, rule = self.wires, self._rule
        for found in self._bands(raw):
            noisy = came & (found[:, 0] > _LEAST_LEVEL)
            # Also after the piece in which a lead came off; a brain may jump before it is known.
            fresh = wires.settled | (wires.seen_s <= self._piece_s)
            step = np.square(found - wires.mean) @ self._weight
            jumped = noisy & fresh & (step > _JUMP)
            wires.restart(jumped)
            self._sure &= ~jumped
            wires.follow(found, noisy, self._piece_s, rule.memory_s)
            if self.lead_off is not None:
                eeg = slice(self._eeg, None, len(self._see))
                self.lead_off.follow(found[eeg], noisy[eeg], self._piece_s)
        score = rule.score(wires.mean, wires.variance)
        self._sure |= wires.settled & (score > rule.sure_above)
        self._known |= self._sure
        lost = score < np.where(self._sure, rule.doubted_below, rule.lost_below)
        lost |= wires.lost & (score < rule.found_above)
        wires.lost = np.where(wires.settled, lost, wires.lost)
        self._found_s = np.where(wires.lost, 0.0, self._found_s + self._new_s)

    def _judge_emg(self, raw: Floats, came: NDArray[np.bool_]) -> None:
        """Follow and judge the level of (n_in, n_subjects), where samples came and no brain is."""
        emg, without = self._emg, self._by_subject(self.wires.lost)[:, self._eeg]
        emg.restart(~without)
        for piece in self._emg_pieces(raw) if without.any() else ():
            level = np.log(np.square(np.diff(piece, 2, axis=0)).mean(axis=0) + _LEAST_POWER)
            emg.follow(level[:, None], came & without, self._piece_s, self._rule.memory_s)
        move = emg.variance[:, 0] * self._emg_pieces.n / _CHANCE
        moves = emg.settled & (move > _LEAST_MOVE) & (move < _MOST_MOVE)
        emg.lost = ~(self._by_subject(self._known)[:, self._eeg] & moves)

    def recent(self) -> dict[str, Floats]:
        """Return what a restart needs to go on exactly here: arrays (n_subjects, n_values)."""
        n = len(self._emg.seen_s)
        brain = np.stack([self._known, self._sure, self._found_s], axis=1)
        wires = np.concatenate([self.wires.state(), brain], axis=1)
        recent = {_STATE: np.concatenate([wires.reshape(n, -1), self._emg.state()], axis=1)}
        if self.lead_off is not None:
            recent[_LEAD_OFF] = self.lead_off.state()
        return recent

    def load_recent(self, recent: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from the `recent()` of as many subjects; begin anew where the check was off.

        Raises:
            SpecError: it is of another shape.
        """
        own = self.recent()
        if not own.keys() <= recent.keys():
            return
        check_shapes("recent signal", recent, own)
        self._begun = True
        values = np.array(recent[_STATE], np.float64)
        n = values.shape[1] - self._emg.state().shape[1]
        self._emg.load_state(values[:, n:])
        wires = values[:, :n].reshape(len(self._known), -1)
        self.wires.load_state(wires[:, :-3])
        self._known, self._sure, self._found_s = wires[:, -3] > 0, wires[:, -2] > 0, wires[:, -1]
        if self.lead_off is not None:
            self.lead_off.load_state(np.array(recent[_LEAD_OFF], np.float64))


def _came(reasons: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Return where samples came, of the same shape."""
    came: NDArray[np.bool_] = np.ones(reasons.shape, bool)
    for why in (ABSENT, MISSING, NOT_FINITE):
        came &= reasons != why
    return came


def check_for(spec: ModelSpec, n_subjects: int, sfreq: float, hop_s: float) -> NoBrain | None:
    """Return the check for a model's epochs; None for those that no rule can judge."""
    rule = read_rule(spec.species)
    if rule is None or "eeg" not in spec.modalities or spec.epoch_s < _PIECE_S:
        return None
    soon = read_lead_off_rule(spec.species)
    return NoBrain(rule, soon, spec.modalities, n_subjects, sfreq, spec.epoch_s, hop_s)
