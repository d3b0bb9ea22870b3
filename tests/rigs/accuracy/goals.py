"""What docs/accuracy.md wants of the shipped bundle, and whether it is met."""

from collections.abc import Iterator
from dataclasses import dataclass

from daemon.messages import Kind
from tests.rigs.accuracy.measured import Accuracy, Awake
from tests.rigs.accuracy.people import People
from tests.rigs.accuracy.real_mice import RealMice
from tools.evaluate.report import Evaluation, find

_BOTH, _EEG = (), ("emg",)
_KINDS: tuple[Kind, ...] = ("live", "final")
_CONSENSUS, _SOMNUS, _EYE = "where the three scorers agree", "somnus-eeg, all epochs", "by eye"
_MOUSE_FILTERED, _MOUSE_RAW = ("mouse_31min", "mouse_42min"), "mouse_eeg_emg_29min"


@dataclass(frozen=True)
class Goal:
    """A figure and its bound."""

    name: str
    wanted: float
    found: float | None
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether it was found, and is within the bound."""
        if self.found is None:
            return False
        return self.found <= self.wanted if self.at_most else self.found >= self.wanted


def goals(accuracy: Accuracy) -> list[Goal]:
    """Return the goals whose figures were measured, those of real mice first."""
    found: list[Goal] = []
    if accuracy.real_mice is not None:
        found += _of_real_mice(accuracy.real_mice)
    if accuracy.people is not None:
        found += _of_people(accuracy.people)
    if accuracy.semireal is not None:
        found += _of_night(accuracy.semireal)
    if accuracy.widened is not None:
        found += _of_simulated(accuracy.widened, "widened mice", 0.85, 0.75)
        ece = find(accuracy.widened, "live")[_BOTH].pooled.ece
        found.append(Goal("widened mice: ECE live", 0.03, ece, at_most=True))
    if accuracy.awake is not None:
        found.append(_of_awake(accuracy.awake))
    if accuracy.simulated is not None:
        found += _of_simulated(accuracy.simulated, "simulated mice", 0.92, 0.82)
    return found


def _of_real_mice(real: RealMice) -> Iterator[Goal]:
    rows = {(row.file, row.truth): row for row in real.rows}
    least: dict[tuple[str, str], dict[Kind, float]] = {}
    for file in _MOUSE_FILTERED:
        least[file, _CONSENSUS] = {"live": 0.70, "final": 0.75}
        least[file, _SOMNUS] = {"final": 0.60}
    least[_MOUSE_RAW, _EYE] = {"live": 0.75}
    for place, kappas in least.items():
        if (row := rows.get(place)) is None:
            continue
        learnt = f" ({row.learnt_as})" if row.learnt_as else ""
        name = f"{row.file}{learnt}, {row.truth}"
        for kind, kappa in kappas.items():
            yield Goal(f"{name}: κ {kind}", kappa, row.kappa[f"hypnod {kind}"])
        if row.truth == _EYE:
            called = row.wake_as_rem_s["live"]
            yield Goal(f"{name}: Wake called REM live, s", 0.0, called, at_most=True)


def _of_people(people: People) -> Iterator[Goal]:
    night, eleven, *_ = people.rows
    for kind, kappa in zip(_KINDS, (0.75, 0.80), strict=True):
        yield Goal(f"{night.what}: κ {kind}", kappa, night.kappa[f"hypnod {kind}"])
    yield Goal(f"{eleven.what}: accuracy final", 0.90, eleven.accuracy["hypnod final"])


def _of_night(night: Evaluation) -> Iterator[Goal]:
    for kind, kappa in zip(_KINDS, (0.85, 0.87), strict=True):
        found = find(night, kind)[_BOTH].pooled.kappa
        yield Goal(f"semi-real night: κ {kind}", kappa, found)
    final = find(night, "final")[_BOTH]
    yield Goal("semi-real night: F1 of REM, final", 0.82, final.pooled.f1["REM"])
    if (course := final.course) is None:
        return
    expert, own = course.expert.transitions_per_hour, course.hypnod.transitions_per_hour
    off = None if expert is None or own is None else abs(own / expert - 1)
    name = "semi-real night: transitions an hour, final, off the expert's by"
    yield Goal(name, 0.30, off, at_most=True)
    jumps = course.hypnod.wake_to_rem_per_hour
    yield Goal("semi-real night: Wake → REM an hour, final", 1.0, jumps, at_most=True)


def _of_simulated(mice: Evaluation, name: str, both: float, eeg: float) -> Iterator[Goal]:
    live = find(mice, "live")
    yield Goal(f"{name}: κ live, EEG and EMG", both, live[_BOTH].pooled.kappa)
    yield Goal(f"{name}: κ live, EEG only", eeg, live[_EEG].pooled.kappa)


def _of_awake(awake: Awake) -> Goal:
    share = sum(awake.asleep) / len(awake.asleep)
    return Goal("widened mice awake for half an hour: called sleep", 0.03, share, at_most=True)
