"""docs/accuracy.md: its tables, written from docs/accuracy.json so that no number is typed."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from daemon.messages import Kind
from models.errors import RecordingError
from models.recordings.agreement import Agreement
from tests.rigs.accuracy.goals import goals
from tests.rigs.accuracy.measured import Accuracy, Awake
from tests.rigs.accuracy.people import SURE, People, PeopleRow
from tests.rigs.accuracy.real_mice import RealMice
from tests.rigs.accuracy.real_mouse import RealMouse
from tools.evaluate.evaluation import ALL, FIRST_MINUTE
from tools.evaluate.report import Evaluation, Result, find

_NOTHING = "*Not measured yet.*"
_KINDS: tuple[Kind, ...] = ("live", "final")
_READ = {(): "EEG and EMG", ("emg",): "EEG only", ("eeg",): "EMG only"}
_BOTH: tuple[str, ...] = ()


def write_page(path: Path, accuracy: Accuracy) -> None:
    """Bring the generated sections of the page up to date.

    The ablations are what `make ablations` left in ablations.md beside it.

    Raises:
        RecordingError: the page lacks a section's marks.
    """
    ablations = path.with_name("ablations.md")
    known = ablations.read_text(encoding="utf-8").strip() if ablations.exists() else _NOTHING
    write_sections(path, sections(accuracy) | {"ablations": known})


def write_sections(path: Path, texts: Mapping[str, str]) -> None:
    """Put markdown in the place of a page's sections, by the name of their marks.

    Raises:
        RecordingError: the page lacks a section's marks.
    """
    page = path.read_text(encoding="utf-8")
    for name, text in texts.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if start not in page or end not in page:
            raise RecordingError(f"{path}: expected the marks {start} and {end}, found none")
        pattern = f"{re.escape(start)}.*{re.escape(end)}"
        new = f"{start}\n\n{text}\n\n{end}".replace("\\", r"\\")
        page = re.sub(pattern, new, page, flags=re.DOTALL)
    path.write_text(page, encoding="utf-8")


def sections(accuracy: Accuracy) -> dict[str, str]:
    """Return the markdown of each generated section."""
    shown: dict[str, tuple[Any, Callable[[Any], str]]] = {
        "real-mice": (accuracy.real_mice, _real_mice),
        "people": (accuracy.people, _people),
        "semireal": (accuracy.semireal, _semireal),
        "widened": (accuracy.widened, _simulated),
        "awake": (accuracy.awake, _awake),
        "simulated": (accuracy.simulated, _simulated),
        "real": (accuracy.real, _agreement),
    }
    texts = {name: _NOTHING if of is None else show(of) for name, (of, show) in shown.items()}
    return {"goals": _goals(accuracy)} | texts


def table(header: Sequence[str], rows: Iterable[Sequence[str]], text: int = 1) -> str:
    """Return a markdown table whose first `text` columns are left-aligned, the others right."""
    rule = ["---"] * text + ["--:"] * (len(header) - text)
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, rule, *rows])


def digits(value: float | None, places: int = 3) -> str:
    """Return a number, or a dash where there is none."""
    return "–" if value is None else f"{value:.{places}f}"


def made(e: Evaluation) -> str:
    """Say what a table is of, when it was made and on what."""
    epochs = ", ".join(f"{epoch_s:g} s" for epoch_s in e.epoch_s)
    plural = "s" if e.recordings > 1 else ""
    return (
        f"{e.data}: {e.recordings} recording{plural}, {e.hours:.1f} h in epochs of {epochs}. "
        f"Bundle {e.bundle} `{e.model}`, {e.date}, {e.machine.processor}, {e.machine.cores} cores."
    )


def _goals(accuracy: Accuracy) -> str:
    rows = [
        [
            goal.name,
            f"{'≤' if goal.at_most else '≥'} {goal.wanted:.2f}",
            digits(goal.found),
            "met" if goal.met else "**missed**",
        ]
        for goal in goals(accuracy)
    ]
    return table(["goal", "wanted", "found", ""], rows) if rows else _NOTHING


def _people(people: People) -> str:
    sure = [[s, *(f"{right} of {n}" for n, right in each)] for s, each in people.sure.items()]
    title = "of the whole night's live, at least so sure, right"
    return f"Bundle {people.bundle}.\n\n" + "\n\n".join(
        [
            *map(_people_row, people.rows),
            table([title, *(f"{least:g}" for least in SURE)], sure),
            f"ECE of the whole night, live: {people.ece:.3f}.",
        ]
    )


def _people_row(row: PeopleRow) -> str:
    stages = [s for s, f1 in next(iter(row.f1.values())).items() if f1 is not None]
    rows = [
        [scorer, digits(kappa, 2), digits(row.accuracy[scorer], 2)]
        + [digits(row.f1[scorer][stage], 2) for stage in stages]
        for scorer, kappa in row.kappa.items()
    ]
    header = [f"{row.what}, {row.n_epochs} epochs", "κ", "accuracy", *(f"F1 {s}" for s in stages)]
    return table(header, rows)


def _figures(e: Evaluation, parts: Sequence[str]) -> str:
    """Every figure, by what was read, by part and by kind."""
    stages = e.results[0].pooled.stages
    header = ["read", "kind", "κ (95 %)", "accuracy", "macro-F1"]
    header += [f"F1 {stage}" for stage in stages] + ["ECE", "no stage"]
    rows = [
        [_READ[without], kind + (", first minute" if part == FIRST_MINUTE else ""), *_row(result)]
        for without in _READ
        for part in parts
        for kind in _KINDS
        if (result := find(e, kind, part).get(without)) is not None
    ]
    return table(header, rows, text=2)


def _row(result: Result) -> list[str]:
    pooled = result.pooled
    f1 = [digits(value) for value in pooled.f1.values()]
    n = pooled.n_epochs + pooled.n_unscorable
    lost = f"{100 * pooled.n_unscorable / n:.1f} %" if n else "–"
    figures = (pooled.accuracy, pooled.macro_f1)
    return [_kappa(result), *map(digits, figures), *f1, digits(pooled.ece), lost]


def _kappa(result: Result) -> str:
    interval = result.intervals["kappa"]
    text = digits(result.pooled.kappa)
    return text if interval is None else f"{text} ({interval[0]:.3f}–{interval[1]:.3f})"


def _simulated(e: Evaluation) -> str:
    return f"{made(e)}\n\n{_figures(e, (ALL, FIRST_MINUTE))}"


def _awake(awake: Awake) -> str:
    asleep = 100 * np.array(awake.asleep)
    median, quarter, tenth = np.percentile(asleep, (50, 75, 90)).tolist()
    return (
        f"{len(asleep)} mice, bundle {awake.bundle}, {awake.date}, {awake.machine.processor}, "
        f"{awake.machine.cores} cores: {asleep.mean():.1f} % of the epochs were called sleep; of "
        f"the median mouse {median:.1f} %, of the worst quarter {quarter:.1f} % and more, of the "
        f"worst tenth {tenth:.1f} % and more."
    )


def _real_mice(real: RealMice) -> str:
    scorers = list(dict.fromkeys(name for row in real.rows for name in row.kappa))
    rows = [
        [
            row.file + (f" ({row.learnt_as})" if row.learnt_as else ""),
            row.truth,
            str(row.n_epochs),
            *(digits(row.kappa[s], 2) if s in row.kappa else "" for s in scorers),
            ", ".join(f"{seconds:g}" for seconds in row.wake_as_rem_s.values()),
        ]
        for row in real.rows
    ]
    header = ["recording", "against", "epochs", *(f"κ {s.replace('_', ' ')}" for s in scorers)]
    header.append("Wake called REM live, final, s")
    return f"Bundle {real.bundle}, epochs of 4 s.\n\n{table(header, rows, text=2)}"


def _semireal(e: Evaluation) -> str:
    final = find(e, "final")[_BOTH].pooled
    rows = [
        [f"expert: {stage}", *map(str, row)]
        for stage, row in zip(final.stages, final.confusion, strict=True)
    ]
    confusion = table(["epochs (final)", *(f"hypnod: {s}" for s in final.stages)], rows)
    return f"{made(e)}\n\n{_figures(e, (ALL,))}\n\n{_courses(e)}\n\n{confusion}"


def _courses(e: Evaluation) -> str:
    """How stages follow each other, the expert's first."""
    courses = {kind: find(e, kind)[_BOTH].course for kind in _KINDS}
    found = {kind: course for kind, course in courses.items() if course is not None}
    bouts = {"expert": next(iter(found.values())).expert} if found else {}
    bouts |= {f"hypnod {kind}": course.hypnod for kind, course in found.items()}
    header = ["", "transitions an hour", "Wake → REM an hour"]
    rows = [
        [name, digits(b.transitions_per_hour, 1), digits(b.wake_to_rem_per_hour, 1)]
        for name, b in bouts.items()
    ]
    return table(header, rows)


def _agreement(real: RealMouse) -> str:
    names = list(real.seconds)
    stages = list(dict.fromkeys(s for seconds in real.seconds.values() for s in seconds))
    times = [
        [name, *(f"{real.seconds[name].get(stage, 0.0) / 60:.1f} min" for stage in stages)]
        for name in names
    ]
    pairs = [
        [name, *("" if name == other else _pair(real.agreement[other][name]) for other in names)]
        for name in names
    ]
    return (
        f"{real.file}, {real.duration_s:g} s, bundle {real.bundle}. The rule's thresholds, found "
        f"by Otsu's method: EMG {real.rule_emg_uv:.1f} µV, theta/delta "
        f"{real.rule_theta_delta:.2f}.\n\n{table(['scorer', *stages], times)}\n\n"
        f"κ (accuracy) of each with each:\n\n{table(['', *names], pairs)}\n\n"
        f"The signals by the stage by eye, median (5 to 95 %) of epochs:\n\n{_signals(real)}"
    )


def _signals(real: RealMouse) -> str:
    header = ["by eye", "epochs", "EMG (µV rms)", "theta/delta"]
    rows = (
        [stage, str(s.n_epochs), *(f"{m:.1f} ({a:.1f}–{b:.1f})" for a, m, b in spreads)]
        for stage, s in real.signals.items()
        for spreads in [(s.emg_uv, s.theta_delta)]
    )
    return table(header, rows)


def _pair(agreement: Agreement) -> str:
    return f"{digits(agreement.kappa, 2)} ({digits(agreement.accuracy, 2)})"
