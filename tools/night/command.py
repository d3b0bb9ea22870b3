"""`hypnod night`: what happened, out of the journal."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, NamedTuple

import msgspec
import typer
from rich.progress import track

from daemon.config import DayConfig
from daemon.config_checks import day_problems
from daemon.errors import JournalError
from daemon.journal.file import journal_path
from daemon.journal.reader import JournalReader
from daemon.journal.salvage import is_damaged, salvage
from tools.night.counting import Rule
from tools.night.figures import figures_of
from tools.night.pictures import write_page, write_pictures
from tools.night.record import Selection, find_session, read_records, sessions_of
from tools.night.report import check_journal, print_sessions, print_summary, summarise
from tools.night.tables import write_annotations, write_bids, write_epochs, write_tidy
from tools.score.command import check_outputs
from tools.shared.day import Day
from tools.shared.plain import plain_console
from tools.shared.times import Since, parse_time


class _Files(NamedTuple):
    """What is to be written, each to where it was asked for."""

    csv: Path | None
    edf: Path | None
    tsv: Path | None
    png: Path | None
    tidy: Path | None
    html: Path | None


def night(
    journal: Annotated[
        Path | None, typer.Argument(help="The journal; default: where `hypnod run` keeps it.")
    ] = None,
    session: Annotated[
        str, typer.Option(help="One run of the daemon: its id, the beginning of it, or last.")
    ] = "",
    since: Since = "",
    until: Annotated[str, typer.Option(help="End before this time.", metavar="TIME")] = "",
    subject: Annotated[list[str] | None, typer.Option(help="Of these only; repeat it.")] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write every epoch with its probabilities.")
    ] = None,
    edf: Annotated[Path | None, typer.Option(help="Write EDF+ annotations.")] = None,
    tsv: Annotated[Path | None, typer.Option(help="Write a BIDS events.tsv.")] = None,
    png: Annotated[
        Path | None, typer.Option(help="Draw the night; one file for each of several subjects.")
    ] = None,
    tidy: Annotated[
        Path | None, typer.Option(help="Write a CSV row for each subject, hour and stage.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write the report: one file for a browser and for paper.")
    ] = None,
    epoch_s: Annotated[
        float | None,
        typer.Option(help="Count epochs of this length, s: mean of the probabilities."),
    ] = None,
    min_bout: Annotated[
        float, typer.Option(help="What is shorter, s, is no bout but of the one before it.")
    ] = 0.0,
    lights_on: Annotated[
        str, typer.Option(help="When lights go on; default: as the config says.", metavar="HH:MM")
    ] = "",
    lights_off: Annotated[
        str, typer.Option(help="When they go off; default: 12 hours later.", metavar="HH:MM")
    ] = "",
    zone: Annotated[
        str, typer.Option(help="Such as Europe/Berlin; default: as the config says.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Read the **record of a night**, also while the daemon writes it.

    Without options it lists the sessions: the runs of the daemon. With --session or --since it sums
    up each subject's record: time in each stage, bouts, latency, time without a stage and why,
    every pulse of a trigger, restarts. A night in which the daemon was restarted, or crashed, is
    one record: --since.

        hypnod night

        hypnod night --since 18:00 --until 08:00 --html night.html

        hypnod night --since 18:00 --csv night.csv --png night.png

        hypnod night --since 18:00 --min-bout 4 --tidy hours.csv

        hypnod night /var/lib/hypnod/journal.sqlite --session last --subject m1 --edf m1.edf

    The record is made of final estimates. The newest epochs have a live one only: they are counted,
    and marked in the CSV's column `kind`. Times are local, in files with their zone. Of a damaged
    journal the record is made of what can be read, and what is missing is said.

    Stages and bouts are counted as --epoch-s and --min-bout say, and that is said beside them;
    pictures and the files of epochs and annotations have every epoch as it was staged. Hours count
    from lights on where the config has `[day]`, or --lights-on says when.
    """
    path = journal or journal_path()
    files = _Files(csv, edf, tsv, png, tidy, html)
    check_outputs([path], files)
    rule = Rule(epoch_s=epoch_s, min_bout_s=min_bout)
    said = {"lights_on": lights_on, "lights_off": lights_off, "zone": zone}

    def tell(reader: JournalReader) -> None:
        check_journal(reader)
        selection = select(reader, session, since, until)
        if selection is not None:
            day = Day(day_of(reader, selection, said))
            _tell_night(reader, path, selection, subject or [], rule, day, files, as_json=as_json)
        elif subject or any(files):
            raise typer.BadParameter("expected --session or --since, which say what night it is")
        else:
            print_sessions(reader, as_json=as_json)

    try:
        tell(JournalReader(path))
    except JournalError as error:
        if not is_damaged(error):
            raise
        with TemporaryDirectory() as folder:
            whole = Path(folder) / path.name
            missing = salvage(path, whole)
            for line in missing:
                plain_console(stderr=True, soft_wrap=True).print(f"{path}: damaged: {line}")
            tell(JournalReader(whole, str(path), missing))


def _tell_night(
    reader: JournalReader,
    path: Path,
    selection: Selection,
    subjects: Sequence[str],
    rule: Rule,
    day: Day,
    files: _Files,
    *,
    as_json: bool,
) -> None:
    """Write what was asked for, and sum up the night."""
    console = plain_console(stderr=True)
    watch = partial(track, description="reading", console=console, transient=True)
    records = read_records(reader, selection, subjects, watch)
    rule.check(max(record.epoch_s for record in records))
    counted = {record.subject: figures_of(record, rule, day) for record in records}
    figures = {subject: each.figures for subject, each in counted.items()}
    if files.csv is not None:
        write_epochs(files.csv, records)
    if files.edf is not None:
        write_annotations(files.edf, records)
    if files.tsv is not None:
        write_bids(files.tsv, records)
    if files.tidy is not None:
        write_tidy(files.tidy, figures)
    pictures = [] if files.png is None else write_pictures(records, files.png, path, day)
    stages = max((record.stages for record in records), key=len)
    summary = summarise(reader, selection, records, figures)
    if files.html is not None:
        courses = {subject: each.course for subject, each in counted.items()}
        write_page(files.html, records, courses, summary, day)
    print_summary(summary, stages, as_json=as_json)
    if not as_json:
        others = (files.csv, files.edf, files.tsv, files.tidy, *pictures, files.html)
        for written in filter(None, others):
            plain_console().print(f"written: {written}")


def select(reader: JournalReader, session: str, since: str, until: str) -> Selection | None:
    """Return what the options name, None where they name nothing."""
    if session and (since or until):
        raise typer.BadParameter("expected --session, or --since and --until; found both")
    if session:
        return Selection(session=find_session(reader, session))
    if not since and not until:
        return None
    chosen = Selection(
        since=parse_time(since).timestamp() if since else -math.inf,
        until=parse_time(until).timestamp() if until else math.inf,
    )
    if chosen.since >= chosen.until:
        raise typer.BadParameter(f"expected --since before --until, found {chosen}")
    return chosen


def day_of(reader: JournalReader, selection: Selection, said: dict[str, str]) -> DayConfig:
    """Return when it is light, as options say, or else the config of the night's last run."""
    configured = msgspec.json.decode(sessions_of(reader, selection)[-1].config)
    given = {name: text for name, text in said.items() if text}
    if "lights_on" in given:  # the config's other time was of its own one
        configured.get("day", {}).pop("lights_off", None)
    try:
        day = msgspec.convert(configured.get("day", {}) | given, DayConfig)
    except msgspec.ValidationError as error:
        raise typer.BadParameter(
            f"expected times such as 07:00 for --lights-on and --lights-off, found {given}"
        ) from error
    for problem in day_problems(day):
        raise typer.BadParameter(problem)
    return day
