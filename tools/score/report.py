"""What `hypnod score` leaves behind: tables, annotations, pictures and a summary."""

import sys
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

import msgspec
import numpy as np
from rich.table import Table

from daemon.stager import Estimate
from models.recordings.as_stream import CHUNK_S, describe
from models.recordings.hypnogram import Hypnogram
from models.recordings.hypnograms.account import in_words
from models.recordings.hypnograms.marks import STAGED_BY_COLUMN
from models.recordings.writers import write_edf, write_events, write_table
from models.signal.montage import Montage
from models.stages import ART, UNKNOWN
from tools.score.aggregate import hypnodensity
from tools.score.drift import say
from tools.score.scored import Scored
from tools.score.summary import SubjectSummary, summarise
from tools.shared.plain import plain_console
from tools.view.live import STAGE_STYLES
from tools.view.overview import Overview, Pulses


def write_files(scored: Scored, csv: Path | None, edf: Path | None, tsv: Path | None) -> None:
    """Write the tables and annotations that were asked for.

    Raises:
        RecordingError: a place cannot be written to.
    """
    names = [subject.name for subject in scored.stream.subjects]
    nights = {name: Hypnogram.from_epochs(scored.hypnogram(name), scored.step_s) for name in names}
    if csv is not None:
        write_table(csv, *estimates_table(scored))
    if edf is not None:
        write_edf(edf, nights, scored.recording.start, scored.staged_by)
    if tsv is not None:
        write_events(tsv, nights, scored.staged_by)


def estimates_table(scored: Scored) -> tuple[list[str], Iterator[list[object]]]:
    """Return columns and rows of all estimates, live and final, by subject and hop.

    Probabilities have as many digits as tell float32 numbers apart. Where the bundle's grammar
    makes them, the net's own, the evidence, are beside them.
    """
    spec = scored.by.spec
    columns = ["subject", "kind", "hop", "onset", "duration", "stage"]
    columns += [f"p_{stage}" for stage in spec.stages]
    if scored.by.has_grammar:
        columns += [f"evidence_{stage}" for stage in spec.stages]
    columns += ["pathway", "slots_filled", "reason"]
    columns += [f"{modality}_quality" for modality in spec.modalities]
    columns += [STAGED_BY_COLUMN]
    names = [subject.name for subject in scored.stream.subjects]
    nights = (scored.epochs(name, kind) for name in names for kind in scored.by.kinds)
    ordered = sorted(chain(*nights), key=lambda e: (e.subject, e.hop, e.kind == "final"))
    rows = (_row(e, scored) for e in ordered)
    return columns, rows


def _row(estimate: Estimate, scored: Scored) -> list[object]:
    e, spec, kind = estimate, scored.by.spec, scored.by.kinds[estimate.kind]
    with_evidence = scored.by.has_grammar
    given = [e.probabilities] + [e.evidence] * with_evidence
    nothing = [""] * len(spec.stages)
    return [
        *(e.subject, kind, e.hop, f"{e.onset:.6f}", f"{scored.step_of(e.kind):g}", e.stage),
        *chain(*(nothing if ps is None else [f"{p:.9g}" for p in ps] for ps in given)),
        *(e.pathway or "", e.slots_filled, e.reason or ""),
        *(e.validity.get(modality, "") for modality in spec.modalities),
        scored.staged_by,
    ]


def write_pictures(scored: Scored, png: Path, pulses: Mapping[str, Pulses] | None = None) -> None:
    """Draw each subject's night; with several, into files with the subjects' names.

    Args:
        scored: the recording.
        png: where to.
        pulses: by subject.

    Raises:
        RecordingError: a place cannot be written to.
    """
    # Here, not above: importing matplotlib takes most of a second.
    from tools.view.night import Night, plot_night  # noqa: PLC0415

    overviews = _overviews(scored)
    for subject in scored.stream.subjects:
        facts = [scored.by_whom]
        if subject.name in scored.references:
            facts.append(
                f"agreement with {scored.reference_name}: {_in_words(scored, subject.name)}"
            )
        night = Night(
            title=f"{subject.name} · {scored.recording.path.name}",
            subtitle="  ·  ".join(facts),
            stages=scored.by.spec.stages,
            hop_s=scored.step_s,
            hypnogram=scored.hypnogram(subject.name),
            probabilities=hypnodensity(scored.epochs(subject.name), scored.by.spec.stages),
            overview=overviews[subject.name],
            reference=scored.reference(subject.name),
            reference_name="reference",
            pulses=None if pulses is None else pulses[subject.name],
        )
        several = len(scored.stream.subjects) > 1
        name = f"{png.stem}-{subject.name}{png.suffix}" if several else png.name
        plot_night(png.with_name(name), night)


def _overviews(scored: Scored) -> dict[str, Overview]:
    """Read the recording once more, for what is to be seen of the signals."""
    recording, modalities = scored.recording, scored.by.spec.modalities
    montage = Montage(scored.stream, describe(recording), modalities)
    eeg = modalities.index("eeg")
    emg = modalities.index("emg") if "emg" in modalities else None
    overviews = {
        s.name: Overview(recording.sfreq, recording.duration) for s in scored.stream.subjects
    }
    for data, times in recording.chunks(max(1, round(CHUNK_S * recording.sfreq))):
        columns = montage.apply(data)
        for i, overview in enumerate(overviews.values()):
            mine = columns[:, i * len(modalities) : (i + 1) * len(modalities)]
            muscle = np.full(len(mine), np.nan) if emg is None else mine[:, emg]
            overview.add(times, mine[:, eeg], muscle)
    return overviews


def print_report(scored: Scored, *, as_json: bool) -> None:
    """Print the summary to standard output, for a machine or for a person."""
    summary = summarise(scored)
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(summary)).decode() + "\n")
        return
    console = plain_console()
    stages = (*scored.by.spec.stages, ART, UNKNOWN)
    table = Table("subject", "epochs", title=f"{summary.kind} stages of {summary.file}, min")
    for stage in stages:
        table.add_column(stage, justify="right", style=STAGE_STYLES[stage])
    for name, subject in summary.subjects.items():
        minutes = [f"{subject.seconds[stage] / 60:.1f}" for stage in stages]
        table.add_row(name, str(subject.epochs), *minutes)
    console.print(table)
    told = chain(*(_tell(scored, *each) for each in summary.subjects.items()))
    for line in (*told, *say(scored.drift), *summary.contradictions):
        console.print(line)


def _tell(scored: Scored, name: str, subject: SubjectSummary) -> Iterator[str]:
    for reason, count in subject.unscored.items():
        yield f"{name}: no stage for {count} × {reason}"
    for what, count in subject.masked.items():
        modality, _, reason = what.partition(" ")
        yield f"{name}: staged without {modality} ({reason}) in {count} of {subject.epochs} epochs"
    if subject.agreement is not None:
        yield f"{name}: agreement with {scored.reference_name}: {_in_words(scored, name)}"
    if subject.hypnogram is not None:
        yield from in_words(subject.hypnogram)


def _in_words(scored: Scored, subject: str) -> str:
    agreement, epoch_s = scored.agreement(subject), scored.compared_epoch_s(subject)
    if agreement is None or agreement.accuracy is None:
        return "no epoch to compare"
    kappa = "none" if agreement.kappa is None else f"{agreement.kappa:.3f}"
    return (
        f"accuracy {100 * agreement.accuracy:.1f} %, κ {kappa} over {agreement.n_epochs} epochs "
        f"of {epoch_s:g} s"
    )
