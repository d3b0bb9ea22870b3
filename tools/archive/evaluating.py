"""What an archive holds against experts: their hypnograms beside or inside the recordings."""

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from daemon.messages import Kind
from daemon.stager import Estimate
from engines.bundle import Bundle
from models.errors import HypnodError, LearntError, RecordingError
from models.recordings.find import find_recordings, hash_file
from models.recordings.hypnograms.interpret import Legend
from models.recordings.lab import LabRecording, has_scores, legend_of, pair
from tools.archive.errors import ArchiveError
from tools.archive.estimates import read_estimates
from tools.archive.folder import ArchiveFolder
from tools.archive.rules import ArchiveRules, load_rules, settle
from tools.archive.sidecar import Sidecar, source_of
from tools.evaluate.evaluation import Evaluated, count, note
from tools.evaluate.learnt import learnt_as


class Against(NamedTuple):
    """An archive held against experts."""

    evaluated: Evaluated
    unscored: list[Path]
    """Recordings that nobody scored."""
    problems: list[str]
    """Why others could not be compared, a sentence each."""


def evaluate_archive(
    folder: ArchiveFolder,
    bundle: Bundle,
    legend: Legend,
    *,
    epoch_s: float | None,
    even_trained_on: bool,
) -> Against:
    """Hold what a bundle staged in an archive against the experts' hypnograms that there are.

    Args:
        folder: the archive.
        bundle: only its estimates are counted.
        legend: what the hypnograms do not say themselves.
        epoch_s: length of the epochs compared, s; default: the expert's.
        even_trained_on: also count recordings that the bundle learnt from.

    Raises:
        ArchiveError: nothing in the archive was staged by this bundle.
        LearntError: the bundle learnt from some of the recordings.
        RecordingError: nobody scored any of them.
    """
    index = folder.index()
    rules = load_rules(None if index.config is None else Path(index.config))
    against = Against(Evaluated(bundle.spec.epoch_s), [], [])
    learnt: list[str] = []
    mine, others = _staged_by(folder, bundle)
    against.problems.extend(f"{by} staged {n} more: --bundle names it" for by, n in others.items())
    for sidecar in mine:
        try:
            lab = _open(sidecar, rules, bundle, legend)
            if lab is None:
                against.unscored.append(Path(sidecar.source.path))
                continue
            if not even_trained_on and (found := learnt_as(lab, bundle)):
                learnt.append(f"{lab.name} ({found})")
                continue
            _take(against.evaluated, folder, sidecar, lab, bundle, epoch_s)
        except (HypnodError, OSError) as error:
            against.problems.append(f"{sidecar.recording}: {error}")
    if learnt:
        raise LearntError(
            f"expected recordings that {bundle.manifest.name} did not learn from, found "
            f"{', '.join(learnt)}; --even-trained-on reports them all the same"
        )
    if not against.evaluated.recordings:
        raise RecordingError(
            f"{folder.path}: expected recordings that somebody scored, found none"
            + "".join(f"; {problem}" for problem in against.problems)
        )
    return against


def _staged_by(folder: ArchiveFolder, bundle: Bundle) -> tuple[list[Sidecar], Counter[str]]:
    """Return the sidecars of what a bundle staged, and by which others how many recordings were.

    Raises:
        ArchiveError: it staged none.
    """
    mine, others = list[Sidecar](), Counter[str]()
    for each in folder.index().recordings:
        sidecar = folder.read(each.name)
        if sidecar is None or sidecar.summary is None:
            continue
        if sidecar.follows.bundle == bundle.hash:
            mine.append(sidecar)
        else:
            others[f"{sidecar.summary.bundle} {sidecar.summary.model}"] += 1
    if not mine:
        raise ArchiveError(
            f"{folder.path}: expected recordings staged by {bundle.manifest.name} "
            f"{bundle.hash[:12]}, found {', '.join(sorted(others)) or 'none that is done'}; "
            "--bundle names another one"
        )
    return mine, others


def _open(
    sidecar: Sidecar, rules: ArchiveRules, bundle: Bundle, legend: Legend
) -> LabRecording | None:
    """Return a recording with its hypnogram; None: nobody scored it."""
    path, spec = Path(sidecar.source.path), bundle.spec
    rule = rules.rule_of(Path(*Path(sidecar.recording).parts[1:]).as_posix())
    if rule is None or rule.hash != sidecar.follows.rule:
        raise RecordingError(
            "expected archive.toml to say of it what it did when it was staged, found another "
            "entry: run `hypnod archive score` again"
        )
    (found,) = find_recordings([path], species=spec.species)
    if not source_of(path).is_same(sidecar.source) and hash_file(path) != sidecar.source.sha256:
        raise RecordingError(
            "expected the recording that was staged, found that it has changed since: run "
            "`hypnod archive score` again"
        )
    legend = legend_of(found, legend)
    if not has_scores(found, spec.stages, legend):
        return None
    found = found._replace(subject=sidecar.subject)
    match = rule.match if path.suffix.lower() == ".xdf" else {}
    lab = pair(found, settle(path, rule, spec), spec, legend, match)
    return replace(lab, sha256=sidecar.source.sha256)


def _take(
    evaluated: Evaluated,
    folder: ArchiveFolder,
    sidecar: Sidecar,
    lab: LabRecording,
    bundle: Bundle,
    epoch_s: float | None,
) -> None:
    """Count a recording's estimates against its hypnogram."""
    _, found = read_estimates(folder.vouched_estimates(sidecar))
    names = {called: name for name, called in lab.subjects.items()}
    nights: dict[tuple[str, Kind], list[Estimate]] = defaultdict(list)
    for estimate in found:
        nights[names[estimate.subject], estimate.kind].append(estimate)
    lengths = note(evaluated, lab, lab.open(), bundle, epoch_s)
    evaluated.engine = "" if sidecar.summary is None else sidecar.summary.engine
    count(evaluated.counts, lab, nights, (), bundle.spec, bundle.spec.epoch_s, lengths)
