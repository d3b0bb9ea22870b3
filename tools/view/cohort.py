"""The page of a cohort: one HTML file of every recording of an archive, for a screen and paper."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.recordings.writers import replacing
from models.signal.drift import LIMIT
from models.stages import ART, UNKNOWN
from tools.archive.cohort import SubjectRow
from tools.archive.status import ArchiveStatus
from tools.night.counting import Rule
from tools.score.drift import DriftSummary
from tools.view.charts import add_night
from tools.view.clock import Clock
from tools.view.html import Element, add, add_table, encode, link, new_page
from tools.view.report import STYLE, add_key, mean_of
from tools.view.subject import anchor, in_hours, percent, sentence, shares_of, without_stage

_MOST_BEYOND = 0.05
"""With drift beyond its limit for a larger share of the time a subject is to be looked at."""

_MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class CohortNight:
    """What the page shows of one subject in one recording."""

    row: SubjectRow
    by: str
    """Which model staged it."""
    hop_s: float
    missing_s: Mapping[str, float]
    """Time without a stage by reason, s."""
    drift: Mapping[str, DriftSummary]
    """By modality."""
    flaws: Sequence[str]
    """Where the file is not whole, or contradicts itself."""
    runs: Sequence[tuple[str, float, float]]
    """Of a stage, ART or UNKNOWN: its name, start and end, Unix time, s."""
    clock: Clock
    """Of the recording."""

    @property
    def stages(self) -> tuple[str, ...]:
        """The stage set."""
        return tuple(stage for stage in self.row.stages if stage not in (ART, UNKNOWN))

    @property
    def seconds(self) -> dict[str, float]:
        """Time in each stage, in ART and in UNKNOWN, s."""
        return {stage: time.seconds for stage, time in self.row.stages.items()}


def write_cohort(
    path: Path, nights: Iterable[CohortNight], status: ArchiveStatus, unread: Sequence[str]
) -> None:
    """Write the page.

    Args:
        path: the file.
        nights: one for each subject of each recording that is done.
        status: of the archive.
        unread: why recordings that are done cannot be shown, a sentence each.

    Raises:
        RecordingError: the place cannot be written to.
    """
    ordered = sorted(nights, key=lambda n: (n.row.subject, n.clock.start, n.row.recording))
    groups: dict[tuple[str, tuple[str, ...], float], list[CohortNight]] = defaultdict(list)
    for night in ordered:
        groups[night.by, night.stages, night.hop_s].append(night)
    page, body = new_page("Cohort", STYLE.read_text("utf-8"))
    body.set("class", "cohort")
    add(body, "h1", "Cohort")
    add(
        body,
        "p",
        f"{status.out}: {status.done} of {status.recordings} recordings staged "
        f"({status.hours:.1f} h), {status.waiting} waiting, {len(status.problems)} not staged",
    )
    add(body, "p", "Staged by hypnod; no expert has looked at it.", class_="faint")
    for problem in unread:
        add(body, "p", problem, class_="warn")
    missing = _rows_of_missing(status)
    if missing:
        add(body, "p").append(
            link("What is not staged, has changed, is gone or there twice", _MISSING)
        )
    anchors = {id(night): anchor(str(k)) for k, night in enumerate(ordered)}
    for (by, stages, hop_s), mine in groups.items():
        add(body, "h2", f"Staged by {by}")
        rule = f"{sentence(Rule().in_words(hop_s))}."
        _means(body, stages, mine, rule)
        _table(body, stages, mine, rule, anchors)
    if missing:
        add(body, "h2", "Not staged, changed, gone or there twice", id=_MISSING)
        table = add_table(body, "", ["recording", "", "why"], missing)
        table.set("class", "words")
    for (by, stages, _), mine in groups.items():
        add(body, "h2", f"Hypnograms by {by}")
        text = "On the recorder's clock; from 00:00 on where a file says no time."
        add(body, "p", text, class_="faint")
        add_key(body, stages)
        for night in mine:
            _hypnogram(body, night, anchors[id(night)])
    with replacing(path) as draft:
        draft.write_bytes(encode(page))


def _table(
    body: Element,
    stages: Sequence[str],
    nights: Sequence[CohortNight],
    rule: str,
    anchors: Mapping[int, str],
) -> None:
    columns = ["subject", "recording", "to look at", "recorded", *stages, "no stage"]
    columns += ["bouts", "changes/h", "drift"]
    caption = "Time in stage, and its share of staged time; drift: median, 1 is the limit."
    rows = [_cells(night, anchors[id(night)]) for night in nights]
    table = add_table(body, f"{caption} {rule}", columns, rows)
    for row in table.iter("tr"):
        for cell in row[1:3]:
            cell.set("class", "words")


def _cells(night: CohortNight, target: str) -> list[str | Element]:
    row, seconds = night.row, night.seconds
    shares = shares_of(seconds, night.stages)
    changes = row.transitions_per_hour
    return [
        link(row.subject, target),
        row.recording,
        "; ".join(_remarks(night)) or "–",
        f"{row.hours:.2f} h",
        *(
            f"{in_hours(seconds[s])}, {percent(shares[s])}" if s in shares else "–"
            for s in night.stages
        ),
        in_hours(seconds[ART] + seconds[UNKNOWN]),
        str(sum(time.bouts or 0 for time in row.stages.values())),
        "–" if changes is None else f"{changes:.1f}",
        ", ".join(f"{m} {median:.1f}" for m, median in row.drift.items()) or "–",
    ]


def _remarks(night: CohortNight) -> list[str]:
    """Return what a person should look at first."""
    found = without_stage(night.missing_s, sum(night.seconds.values()))
    for modality, drift in night.drift.items():
        if drift.beyond is not None and drift.beyond > _MOST_BEYOND:
            why = "" if drift.why is None else f" ({drift.why})"
            found.append(f"{modality} drift beyond {LIMIT:g} for {percent(drift.beyond)}{why}")
    return [*found, *night.row.contradictions, *night.flaws]


def _means(body: Element, stages: Sequence[str], nights: Sequence[CohortNight], rule: str) -> None:
    """Tell means over subjects, each counting once with all of its recordings together."""
    by_subject: dict[str, list[CohortNight]] = defaultdict(list)
    for night in nights:
        by_subject[night.row.subject].append(night)
    shares, rates, lengths = [], [], []
    for mine in by_subject.values():
        seconds = {s: sum(night.seconds[s] for night in mine) for s in stages}
        shares.append(shares_of(seconds, stages))
        times = {s: [night.row.stages[s] for night in mine] for s in stages}
        bouts = {s: sum(t.bouts or 0 for t in times[s]) for s in stages}
        hours = sum(seconds.values()) / 3600
        rates.append({s: n / hours for s, n in bouts.items()} if hours else {})
        inside = {s: sum((t.bouts or 0) * (t.mean_bout_s or 0) for t in times[s]) for s in stages}
        lengths.append({s: inside[s] / n for s, n in bouts.items() if n})
    figures = (
        ("share of staged time", shares, percent),
        ("bouts an hour of staged time", rates, lambda x: f"{x:.1f}"),
        ("mean length of a bout", lengths, lambda x: f"{x:.1f} s"),
    )
    rows = [
        [name, *(mean_of([each[s] for each in found if s in each], say) for s in stages)]
        for name, found, say in figures
    ]
    n = len(by_subject)
    caption = (
        f"Mean ± SD over {n} subject{'s' * (n > 1)}, each counting once, its recordings together."
    )
    add_table(body, f"{caption} {rule}", ["", *stages], rows)


def _rows_of_missing(status: ArchiveStatus) -> list[list[str]]:
    rows = [[p.recording, p.state, p.sentence] for p in status.problems]
    rows += [[name, "changed", "the next run stages it again"] for name in status.changed]
    rows += [
        [name, "copy", f"of the same content as {other}, and both are counted"]
        for name, other in status.copies.items()
    ]
    return rows + [
        [name, "gone", "or out of reach; what came out of it stays"] for name in status.gone
    ]


def _hypnogram(body: Element, night: CohortNight, target: str) -> None:
    row = night.row
    add(body, "h3", f"{row.subject}: {row.recording}", id=target)
    bouts = [
        f"{stage} {time.bouts} × {time.mean_bout_s:.1f} s"
        for stage, time in row.stages.items()
        if time.bouts and time.mean_bout_s is not None
    ]
    start = "no time of its start" if row.start is None else row.start.replace("T", " ")
    text = f"{start}, {row.hours:.2f} h; bouts, mean length: {', '.join(bouts) or 'none'}"
    add(body, "p", text, class_="faint")
    for remark in _remarks(night):
        add(body, "p", remark, class_="warn")
    for remark in row.remarks:
        if not remark.endswith(tuple(night.flaws)):  # those are above
            add(body, "p", remark, class_="faint")
    add_night(body, night.stages, night.runs, night.clock, None)
