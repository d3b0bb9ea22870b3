"""docs/accuracy.md: its tables, written from docs/accuracy.json so that no number is typed."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from daemon.messages import Kind
from models.errors import RecordingError
from models.recordings.agreement import Agreement
from tests.rigs.accuracy.disagreements import Disagreement
from tests.rigs.accuracy.real_mice import RealMice
from tests.rigs.accuracy.real_mouse import RealMouse
from tools.evaluate.evaluation import ALL, FIRST_MINUTE
from tools.evaluate.report import Evaluation, Result, find

KAPPA, KAPPA_EEG, KAPPA_SEMIREAL, ECE = 0.90, 0.80, 0.80, 0.03
"""The goals."""

_NOTHING = "*Not measured yet.*"
_KINDS: tuple[Kind, ...] = ("live", "final")
_READ = {(): "EEG and EMG", ("emg",): "EEG only", ("eeg",): "EMG only"}
_BOTH, _EEG = (), ("emg",)


class AtRate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Unseen simulated mice at one sampling rate."""

    sfreq: float
    """Hz."""
    evaluation: Evaluation


class Accuracy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What docs/accuracy.json holds."""

    simulated: tuple[AtRate, ...] = ()
    """The first one with every modality withheld in turn."""
    semireal: Evaluation | None = None
    """The semi-real night against the expert."""
    real: RealMouse | None = None
    """The raw mouse."""
    real_mice: RealMice | None = None
    """Every real recording at hand."""


def write_page(path: Path, accuracy: Accuracy) -> None:
    """Bring the generated sections of the page up to date.

    The ablations are what `make ablations` left in ablations.md beside it.

    Raises:
        RecordingError: the page lacks a section's marks.
    """
    page = path.read_text(encoding="utf-8")
    ablations = path.with_name("ablations.md")
    known = ablations.read_text(encoding="utf-8").strip() if ablations.exists() else _NOTHING
    for name, text in (sections(accuracy) | {"ablations": known}).items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if start not in page or end not in page:
            raise RecordingError(f"{path}: expected the marks {start} and {end}, found none")
        pattern = f"{re.escape(start)}.*{re.escape(end)}"
        new = f"{start}\n\n{text}\n\n{end}".replace("\\", r"\\")
        page = re.sub(pattern, new, page, flags=re.DOTALL)
    path.write_text(page, encoding="utf-8")


def sections(accuracy: Accuracy) -> dict[str, str]:
    """Return the markdown of each generated section."""
    simulated, real = accuracy.simulated, accuracy.real
    return {
        "goals": _goals(accuracy),
        "simulated": _simulated(simulated[0].evaluation) if simulated else _NOTHING,
        "rates": _rates(simulated) if simulated else _NOTHING,
        "semireal": _semireal(accuracy.semireal) if accuracy.semireal else _NOTHING,
        "real-mice": _real_mice(accuracy.real_mice) if accuracy.real_mice else _NOTHING,
        "real": _agreement(real) if real else _NOTHING,
        "disagreements": _disagreements(real) if real else _NOTHING,
    }


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
    rows = []
    if accuracy.simulated:
        e = accuracy.simulated[0].evaluation
        live, final = find(e, "live"), find(e, "final")
        rows.append(_goal("simulated, live, EEG and EMG: κ", KAPPA, live[_BOTH].pooled.kappa))
        rows.append(_goal("simulated, live, EEG only: κ", KAPPA_EEG, live[_EEG].pooled.kappa))
        least = live[_BOTH].pooled.kappa or 0.0
        rows.append(_goal("simulated, final at least as good: κ", least, final[_BOTH].pooled.kappa))
        rows.append(_goal("simulated, live: ECE", ECE, live[_BOTH].pooled.ece, most=True))
    if accuracy.semireal:
        kappa = find(accuracy.semireal, "final")[_BOTH].pooled.kappa
        rows.append(_goal("semi-real night against the expert, final: κ", KAPPA_SEMIREAL, kappa))
    return table(["goal", "wanted", "found", ""], rows) if rows else _NOTHING


def _goal(name: str, wanted: float, found: float | None, *, most: bool = False) -> list[str]:
    met = found is not None and (found <= wanted if most else found >= wanted)
    return [
        name,
        f"{'≤' if most else '≥'} {wanted:.{2 if wanted in (KAPPA, KAPPA_EEG, ECE) else 3}f}",
        digits(found),
        "met" if met else "**missed**",
    ]


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


def _rates(simulated: Sequence[AtRate]) -> str:
    rows = []
    for rate in sorted(simulated, key=lambda rate: rate.sfreq):
        results = [find(rate.evaluation, kind)[_BOTH] for kind in _KINDS]
        f1, ece = ([getattr(r.pooled, name) for r in results] for name in ("macro_f1", "ece"))
        values = [*map(_kappa, results), *map(digits, f1), *map(digits, ece)]
        rows.append([f"{rate.sfreq:g} Hz", *values])
    header = ["sampling rate"]
    header += [f"{name}, {kind}" for name in ("κ", "macro-F1", "ECE") for kind in _KINDS]
    return table(header, rows)


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
    return f"{made(e)}\n\n{_figures(e, (ALL,))}\n\n{confusion}"


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


def _disagreements(real: RealMouse) -> str:
    header = ["from (s)", "for (s)", "hypnod", "other", "by eye", "what is to be seen"]
    header += ["p, both", "p, EEG", "p, EMG", "EMG", "delta", "theta", "gamma", "theta/delta"]
    rows = (_disagreement(d) for d in sorted(real.disagreements, key=lambda d: d.onset))
    return table(header, rows, text=6)


def _disagreement(d: Disagreement) -> list[str]:
    read = [digits(d.p_found[name], 2) for name in ("both", "eeg", "emg")]
    measured = [digits(x, 2) for x in (d.emg, d.delta, d.theta, d.gamma, d.theta_delta)]
    other = f"{d.other} ({d.scorer})"
    seen = "; ".join(d.seen)
    return [f"{d.onset:g}", f"{d.duration:g}", d.found, other, _verdict(d), seen, *read, *measured]


def _verdict(d: Disagreement) -> str:
    """Return the stage by eye, in bold where it speaks against hypnod."""
    return f"**{d.eye}**" if d.eye != d.found else d.eye
