"""From labels to stages: what a label means, how long a point lasts, what is refused."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import RecordingError
from models.recordings.hypnogram import OVERLAP_S, Hypnogram
from models.recordings.hypnograms.account import HypnogramAccount, LabelAccount, make_account
from models.recordings.hypnograms.codes import as_code, in_words, open_book, written_out
from models.recordings.hypnograms.marks import Mark, Marks
from models.stages import ART, UNKNOWN, find_stage

_SHOWN = 6  # labels in a sentence
_TOLERANCE_S = 1e-2  # of times that were rounded one by one
_SPELT_OUT = 3  # letters of the shortest name, REM


@dataclass(frozen=True, kw_only=True)
class Legend:
    """How hypnograms are to be read, beside what they say themselves."""

    epoch_s: float | None = None
    """Length of an epoch where a file has one stage a line, s."""
    codes: str | None = None
    """Name of a code book, or one written out: `1=Wake,2=NREM,3=REM`."""
    ignore: Sequence[str] = ()
    """Labels that are not to be read; what they cover has no stage."""
    same_start: bool = False
    """Hypnograms begin with their recordings, whatever the two say of it."""


class Scoring(NamedTuple):
    """A hypnogram, and the account of it."""

    hypnogram: Hypnogram
    account: HypnogramAccount
    open_end: bool
    """Whether the last stage is a point that nothing ends: it lasts 0 s."""
    start: datetime | time | None = None
    """This and the next two: see `Marks`."""
    start_within_s: float = 1.0
    start_of_epoch: bool = False


class _Meant(NamedTuple):
    """A mark, and what it means."""

    mark: Mark
    stage: str | None
    why: str
    """Why it has no stage; empty where it is neither known nor left out."""
    by_book: bool = False
    """Whether the legend says what it means."""


def interpret(
    marks: Marks, stages: Sequence[str], legend: Legend, file: str, subject: str | None
) -> Scoring:
    """Return the hypnogram that marks make, with its account.

    A mark without a duration lasts until the next one, whatever that says, if most stages are
    written so; else it is an event, and not read.

    Raises:
        ConfigError: the legend names no code book.
        RecordingError: no mark is a stage, or one beside them is nothing that is known.
    """
    codes = legend.codes or marks.coded or ""
    meant = _mean(marks, stages, legend)
    of_stages = [m for m in meant if m.stage not in (None, UNKNOWN)]
    if not of_stages:
        _refuse_all(meant, stages, subject, codes)
    points = 2 * sum(m.mark.duration == 0 for m in of_stages) > len(of_stages)
    lasting = _last(meant, points=points)
    read = [(m.mark, m.stage) for m in lasting if m.stage is not None]
    _refuse_overlap(read)
    hypnogram = Hypnogram(
        np.array([_onset(mark) for mark, _ in read]),
        np.array([mark.duration for mark, _ in read]),
        tuple(stage for _, stage in read),
    )
    if marks.with_events:
        if not points:
            lasting = _tell_events(lasting, hypnogram)
        _refuse_letters(lasting)
    _refuse_unread(lasting, stages, codes)
    used = codes if any(as_code(m.mark.label) for m in meant) or "=" in codes else ""
    account = make_account(
        file,
        _count(lasting),
        stages,
        subject=subject or "",
        codes=used,
        staged_by=marks.staged_by or "",
        flaws=marks.flaws,
    )
    open_end = bool(hypnogram.durations[-1] == 0)
    return Scoring(
        hypnogram,
        account,
        open_end,
        start=marks.start,
        start_within_s=marks.start_within_s,
        start_of_epoch=marks.start_of_epoch,
    )


def _mean(marks: Marks, stages: Sequence[str], legend: Legend) -> list[_Meant]:
    """Return what each mark means by the legend, the file itself, or its spelling."""
    asked = None if legend.codes is None else open_book(legend.codes, stages)
    own = None if marks.coded is None or asked is not None else open_book(marks.coded, stages)
    ignored = {label.strip().lower() for label in legend.ignore}
    known: dict[str, tuple[str | None, str, bool]] = {}

    def mean(label: str) -> tuple[str | None, str, bool]:
        if label.lower() in ignored:
            return None, "ignored", False
        for book in filter(None, (asked, own)):
            if (stage := book.read(label)) is not None:
                return stage, "", True
        code = as_code(label)
        if code is None and (stage := find_stage(label, stages)) is not None:
            return stage, "", False
        level = marks.levels.get(code or label, "")
        return (find_stage(level, stages) if level.strip() else None), "", False

    for mark in marks.marks:
        if mark.label not in known:
            known[mark.label] = mean(mark.label)
    return [_Meant(mark, *known[mark.label]) for mark in marks.marks]


def _onset(mark: Mark) -> float:
    if mark.onset is None:
        raise RecordingError(
            f"{mark.where}: expected an onset in seconds of {mark.label!r}, found none"
        )
    return mark.onset


def _last(meant: Sequence[_Meant], *, points: bool) -> list[_Meant]:
    """Return the marks in order of their onsets, each for as long as it lasts."""
    silent = [m.why == "ignored" or m.stage == UNKNOWN for m in meant]  # needs no onset
    timed = [m for m, s in zip(meant, silent, strict=True) if m.mark.onset is not None or not s]
    timed.sort(key=lambda m: _onset(m.mark))
    onsets = np.array([_onset(m.mark) for m in timed])
    following = np.append(onsets, np.inf)[np.searchsorted(onsets, onsets, side="right")]
    step = _even_step(onsets) if points else 0.0
    lasting = []
    for m, until in zip(timed, following.tolist(), strict=True):
        mark = m.mark
        if mark.duration == 0 and points:
            end = until if np.isfinite(until) else _onset(mark) + step
            mark = Mark(mark.label, mark.onset, end - _onset(mark), mark.where)
        elif mark.duration == 0:
            lasting.append(_Meant(mark, None, m.why or "an event, it has no duration"))
            continue
        lasting.append(m._replace(mark=mark))
    return lasting


def _refuse_overlap(read: Sequence[tuple[Mark, str]]) -> None:
    """Raise RecordingError where two stages are at one time, with what it may be."""
    for (one, stage), (other, next_stage) in pairwise(read):
        at = _onset(other)
        if _onset(one) + one.duration - at > OVERLAP_S:
            artefacts = [m.label for m, s in ((one, stage), (other, next_stage)) if s == ART]
            advice = "are its durations ends, or two scorers in it"
            if len(artefacts) == 1:
                advice = f"--ignore {artefacts[0]!r} leaves out the artefact"
            raise RecordingError(
                f"expected one stage at a time, found two at {at:g} s: {one.label!r} and "
                f"{other.label!r}; {advice}"
            )


def _tell_events(lasting: Sequence[_Meant], hypnogram: Hypnogram) -> list[_Meant]:
    """Say of marks that lie wholly where stages are that they are events: stages exclude others."""
    times = np.stack([hypnogram.onsets, hypnogram.onsets + hypnogram.durations], axis=1).ravel()
    spent = np.stack([np.zeros(len(hypnogram.durations)), hypnogram.durations], axis=1).ravel()
    spent = np.cumsum(spent)

    def tell(m: _Meant) -> _Meant:
        if m.stage is not None or m.why:
            return m
        start = _onset(m.mark)
        covered = float(np.diff(np.interp([start, start + m.mark.duration], times, spent))[0])
        outside = m.mark.duration - covered > _TOLERANCE_S
        return m if outside else m._replace(why="an event, at the time of stages")

    return [tell(m) for m in lasting]


def _even_step(onsets: NDArray[np.float64]) -> float:
    """Return the time between points where it is always the same, else 0, s."""
    steps = np.diff(np.unique(onsets))
    return float(steps[0]) if len(steps) and np.ptp(steps) < 1e-3 * steps[0] else 0.0


def _refuse_all(
    meant: Sequence[_Meant], stages: Sequence[str], subject: str | None, codes: str
) -> None:
    """Raise RecordingError for marks of which none is a stage."""
    whose = f" of subject {subject!r}" if subject else ""
    unread = [m.mark for m in meant if m.stage is None and not m.why]
    if any(as_code(mark.label) is not None for mark in unread):
        raise RecordingError(_of_numbers(unread, stages, codes))
    if meant and not unread:
        raise RecordingError(
            f"expected stages{whose}, found {len(meant)} × "
            f"{_shown(m.mark.label for m in meant)}: nobody scored it"
        )
    example = f"; --codes {f'{unread[0].label}=STAGE'!r} says which stage one is" if unread else ""
    raise RecordingError(
        f"expected labels that name {', '.join(stages)}{whose}, found "
        f"{_shown(mark.label for mark in unread)}{example}"
    )


def _refuse_unread(lasting: Sequence[_Meant], stages: Sequence[str], codes: str) -> None:
    """Raise RecordingError where something beside the stages is neither known nor ignored."""
    unread = [m.mark for m in lasting if m.stage is None and not m.why]
    if not unread:
        return
    if any(as_code(mark.label) is not None for mark in unread):
        where = "" if codes else f"{unread[0].where}: "
        raise RecordingError(where + _of_numbers(unread, stages, codes))
    label = unread[0].label
    raise RecordingError(
        f"{unread[0].where}: expected one of {', '.join(stages)}, {ART} or {UNKNOWN}, found the "
        f"stage {_shown(mark.label for mark in unread)}; --ignore {label!r} leaves it out, "
        f"--codes {f'{label}=STAGE'!r} says which stage it is"
    )


def _of_numbers(unread: Sequence[Mark], stages: Sequence[str], codes: str) -> str:
    numbers = [mark.label for mark in unread if as_code(mark.label) is not None]
    if codes:
        return (
            f"{unread[0].where}: expected the numbers of {codes} ({in_words(codes, stages)}), "
            f"found {_shown(numbers)}; --codes {codes},{numbers[0]}=STAGE says which stage it is"
        )
    return (
        f"expected names of stages, or what the numbers {_shown(numbers)} stand for, found no "
        f"word of it: give {written_out(stages)}"
    )


def _refuse_letters(lasting: Sequence[_Meant]) -> None:
    """Raise RecordingError where a single letter may be an event among stages spelt out.

    Only W may stand for a stage there that is not spelt out too, as in W, NREM, REM.
    """
    by_label = {m.mark.label: m.stage for m in lasting if m.stage is not None}
    told = {m.mark.label for m in lasting if m.by_book}
    spelt = {stage for label, stage in by_label.items() if len(label) >= _SPELT_OUT}
    if not spelt - {ART, UNKNOWN}:
        return
    letters = {
        label: stage
        for label, stage in by_label.items()
        if len(label) == 1
        and label.isalpha()
        and label not in told
        and (stage in spelt or label.lower() != "w")
    }
    if letters:
        events = " ".join(f"--ignore {label}" for label in letters)
        written = ",".join(f"{label}={stage}" for label, stage in letters.items())
        raise RecordingError(
            f"expected stages that are all spelt out, found {_shown(letters)} beside "
            f"{_shown(other for other in by_label if other not in letters)}: {events} if these "
            f"are events, --codes {written} if they are stages"
        )


def _count(lasting: Sequence[_Meant]) -> list[LabelAccount]:
    """Return what became of each label."""
    found: dict[tuple[str, str | None, str], tuple[int, float]] = {}
    for m in lasting:
        key = (m.mark.label, m.stage, m.why)
        n, seconds = found.get(key, (0, 0.0))
        found[key] = (n + 1, seconds + m.mark.duration)
    return [
        LabelAccount(label=label, stage=stage, why=why, n=n, seconds=round(seconds, 3))
        for (label, stage, why), (n, seconds) in found.items()
    ]


def _shown(labels: Iterable[str]) -> str:
    """Return different labels as a sentence has them."""
    different = list(dict.fromkeys(map(repr, labels)))
    more = f" and {len(different) - _SHOWN} more" if len(different) > _SHOWN else ""
    return (", ".join(different[:_SHOWN]) or "none") + more
