"""`hypnod night`: what happened, out of the journal."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer

from daemon.errors import JournalError
from daemon.journal.file import journal_path
from daemon.journal.reader import JournalReader
from daemon.journal.salvage import is_damaged, salvage
from models.recordings.hypnograms.marks import STAGED_BY_COLUMN
from models.recordings.writers import write_edf, write_events, write_table
from tools.night.record import Record, Selection, find_session, read_records, to_iso
from tools.night.report import check_journal, print_sessions, print_summary, summarise
from tools.plain import plain_console
from tools.score.command import check_outputs
from tools.times import Since, parse_time

_BY = "hypnod run"  # in every file: nobody takes its stages for an expert's


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
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Read the **record of a night**, also while the daemon writes it.

    Without options it lists the sessions: the runs of the daemon. With --session or --since it sums
    up each subject's record: time in each stage, bouts, latency, time without a stage and why,
    every pulse of a trigger, restarts. A night in which the daemon was restarted, or crashed, is
    one record: --since.

        hypnod night

        hypnod night --since 18:00 --until 08:00 --csv night.csv --png night.png

        hypnod night /var/lib/hypnod/journal.sqlite --session last --subject m1 --edf m1.edf

    The record is made of final estimates. The newest epochs have a live one only: they are counted,
    and marked in the CSV's column `kind`. Times are local, in files with their zone. Of a damaged
    journal the record is made of what can be read, and what is missing is said.
    """
    path = journal or journal_path()
    check_outputs([path], [csv, edf, tsv, png])

    def tell(reader: JournalReader) -> None:
        check_journal(reader)
        selection = _select(reader, session, since, until)
        if selection is not None:
            _tell_night(reader, path, selection, subject or [], csv, edf, tsv, png, as_json)
        elif subject or any((csv, edf, tsv, png)):
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
    csv: Path | None,
    edf: Path | None,
    tsv: Path | None,
    png: Path | None,
    as_json: bool,
) -> None:
    """Write what was asked for, and sum up the night."""
    records = read_records(reader, selection, subjects)
    write_files(records, csv, edf, tsv)
    pictures = [] if png is None else write_pictures(records, png, path)
    stages = max((record.stages for record in records), key=len)
    print_summary(summarise(reader, selection, records), stages, as_json=as_json)
    if not as_json:
        for written in filter(None, (csv, edf, tsv, *pictures)):
            plain_console().print(f"written: {written}")


def _select(reader: JournalReader, session: str, since: str, until: str) -> Selection | None:
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


def write_files(
    records: Sequence[Record], csv: Path | None, edf: Path | None, tsv: Path | None
) -> None:
    """Write the tables and annotations that were asked for.

    Raises:
        RecordingError: a place cannot be written to.
    """
    hypnograms = {record.subject: record.hypnogram for record in records}
    if csv is not None:
        write_table(csv, *_table(records))
    if edf is not None:
        # EDF+ has no time zones: as every recorder does, it has the local time of day.
        write_edf(edf, hypnograms, records[0].local_start.replace(tzinfo=None), _BY)
    if tsv is not None:
        write_events(tsv, hypnograms, _BY)


def _table(records: Sequence[Record]) -> tuple[list[str], Iterator[list[object]]]:
    """Return columns and rows of all epochs, named like those of `hypnod score`."""
    stages = list(dict.fromkeys(stage for record in records for stage in record.stages))
    modalities = list(dict.fromkeys(name for record in records for name in record.modalities))
    columns = ["subject", "kind", "hop", "onset", "duration", "stage"]
    columns += [f"p_{stage}" for stage in stages] + ["pathway", "slots_filled", "reason"]
    columns += [f"{modality}_quality" for modality in modalities] + [
        "utc",
        "session",
        STAGED_BY_COLUMN,
    ]
    rows = (row for record in records for row in _rows(record, stages, modalities))
    return columns, rows


def _rows(
    record: Record, stages: Sequence[str], modalities: Sequence[str]
) -> Iterator[list[object]]:
    spans = zip(record.times, record.onsets, record.durations, strict=True)
    for message, (time, onset, duration) in zip(record.epochs, spans, strict=True):
        yield [
            *(record.subject, message.kind, message.hop),
            *(f"{onset:.3f}", f"{duration:.3f}", message.stage),
            *(message.probabilities.get(stage, "") for stage in stages),
            *(message.pathway or "", message.slots_filled, message.reason or ""),
            *(message.validity.get(modality, "") for modality in modalities),
            *(to_iso(time), message.session, _BY),
        ]


def write_pictures(records: Sequence[Record], png: Path, journal: Path) -> list[Path]:
    """Draw each subject's night, and return the files; of several they bear the subjects' names.

    Raises:
        RecordingError: a place cannot be written to.
    """
    # Here, not above: importing matplotlib takes most of a second.
    from tools.view.night import Night, plot_night  # noqa: PLC0415

    written = []
    for record in records:
        n = len(record.grid)
        density = np.full((n, len(record.stages)), np.nan)
        quality = {modality: [""] * n for modality in record.modalities}
        for i, message in record.grid_epochs():
            if message.probabilities:
                density[i] = [message.probabilities.get(stage, np.nan) for stage in record.stages]
            for modality, reason in message.validity.items():
                quality[modality][i] = reason
        facts = [f"from {record.local_start:%Y-%m-%d %H:%M:%S}", "final estimates"]
        if record.n_live:
            facts[-1] += f", of {record.n_live} epochs live ones"
        several = len(records) > 1
        name = f"{png.stem}-{record.subject}{png.suffix}" if several else png.name
        picture = Night(
            title=f"{record.subject} · {journal.name}",
            subtitle="  ·  ".join([*facts, f"model {record.epochs[-1].model}"]),
            stages=record.stages,
            hop_s=record.hop_s,
            hypnogram=record.grid,
            probabilities=density,
            quality=quality,
        )
        written.append(png.with_name(name))
        plot_night(written[-1], picture)
    return written
