"""`hypnod train` on real EDF files, from the command line to a bundle that stages."""

import hashlib
import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from engines.bundle import open_bundle
from engines.onnxruntime import OnnxRuntimeEngine
from models.errors import ConfigError, HypnodError, RecordingError, SpecError
from models.recordings.hypnogram import Hypnogram
from models.recordings.lab import open_lab, read_one
from models.recordings.writers import write_csv
from models.scored_epochs import ScoredEpochs
from models.signal.relative import relative_of
from models.spec import MIXED, WEIGHTS_FILE, Grammar, ModelSpec
from models.stages import MOUSE
from models.training.calibration import BETAS, fit_confidence
from models.training.evaluate import evaluate
from models.training.run import Pass
from models.training.simulated import pack
from models.training.splits import split_subjects
from models.weights import load_model
from tests.support.bundles import TINY, change_manifest, make_bundle
from tests.support.training import train_options, write_mice
from tools.cli import app
from tools.train.data import FINE_TUNING
from tools.train.seeds import Tried, best_of
from tools.train.training import run

pytestmark = pytest.mark.timeout(600)  # five trainings, after the simulation and an export
SECONDS, SFREQ, MICE = 120, 256.0, ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four mice, one of them recorded twice."""
    folder = tmp_path_factory.mktemp("lab")
    write_mice(folder, ("a/1", "a/2", "b/1", "c/1", "d/1"), SECONDS, SFREQ)
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("start"), 5, **TINY)


@pytest.mark.training
def test_a_lab_trains_tests_on_each_animal_and_gets_a_bundle(
    lab: Path, start: Path, tmp_path: Path
) -> None:
    out = tmp_path / "ours"
    options = ["--out", out, "--from-bundle", start, "--passes", "1", "--device", "cpu"]
    options += ["--leave-one-subject-out", "--workers", "1", "--json"]  # a process apart
    done = CliRunner().invoke(app, ["train", *map(str, (lab, *options))])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert json.loads((tmp_path / "ours-report.json").read_text()) == report
    assert sorted(report["subjects"]) == list(MICE)
    assert report["scores"]["mixed live"]["n_epochs"] == 5 * SECONDS
    assert report["split"]["test"] == []
    assert report["config"]["learning_rate"] == 1e-4
    assert (tmp_path / "ours-report.png").stat().st_size < 200_000
    assert {path.name for path in tmp_path.iterdir()} == {
        *("ours", "ours-report.json", "ours-report.png")
    }
    bundle = open_bundle(out)
    assert bundle.manifest.temperatures == report["temperatures"]
    assert bundle.manifest.grammar == msgspec.convert(report["grammar"], Grammar)
    assert {report["grammar"][f"beta_{kind}"] for kind in ("live", "final")} <= {*BETAS}
    assert bundle.spec == open_bundle(start).spec
    assert bundle.manifest.reference is None  # two minutes are too short
    assert "no drift measure" in done.stderr
    with OnnxRuntimeEngine(bundle, n_rows=1) as engine:
        engine.step(np.zeros((1, 2, 512), np.float32), np.array([0]), np.ones((1, 2), bool))


def test_the_bundle_says_which_files_it_learnt_from_by_their_content(
    lab: Path, start: Path, tmp_path: Path
) -> None:
    before = shutil.copytree(start, tmp_path / "before")
    former = {"0" * 64: "trained", "1" * 64: "stopped on"}
    change_manifest(before, learnt_from=former)
    report = run(train_options(lab, before, tmp_path / "ours", passes=1), Console(quiet=True))
    assert report is not None
    expected = dict(former)
    for part, what in (("training", "trained"), ("validation", "stopped on")):
        for name in report.split[part]:
            for path in (lab / name).glob("*.edf"):
                expected[hashlib.sha256(path.read_bytes()).hexdigest()] = what
    assert report.split["test"]
    assert open_bundle(tmp_path / "ours").manifest.learnt_from == expected


@pytest.mark.training
def test_of_several_seeds_one_is_taken_and_all_are_told_wherever_they_are_tried(
    lab: Path, start: Path, tmp_path: Path, scheduler: str
) -> None:
    options = ["--from-bundle", start, "--passes", 1, "--learning-rate", 1e-3, "--device", "cpu"]
    options += ["--seeds", 2, "--seed", 5, "--precision", "float32", "--scheduler", scheduler]
    words = ["train", lab, "--out", tmp_path / "there", *options, "--json"]
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == 0, done.output
    there = json.loads(done.stdout)
    assert [each["seed"] for each in there["seeds"]] == [5, 6]
    taken = next(e for e in there["seeds"] if e["seed"] == there["config"]["seed"])
    assert taken["stopped_by"] == max(each["stopped_by"] for each in there["seeds"])
    assert taken["scores"] == there["scores"]
    assert max(p["kappa"]["mixed"] for p in there["history"]) == taken["stopped_by"]
    assert not [*tmp_path.glob("*.state")]
    changes = {"passes": 1, "learning_rate": 1e-3, "seeds": 2, "seed": 5}
    here = run(train_options(lab, start, tmp_path / "here", **changes), Console(quiet=True))
    assert here is not None
    assert json.loads(msgspec.json.encode(here.seeds)) == there["seeds"]
    weights = [(tmp_path / where / WEIGHTS_FILE).read_bytes() for where in ("here", "there")]
    assert weights[0] == weights[1]


def test_the_seed_that_does_best_on_what_stops_it_is_taken_whatever_the_test_says() -> None:
    found = [
        Tried(seed, Pass(1, 0.0, {MIXED: kappa}, {MIXED: 0.5}), {})
        for seed, kappa in ((3, 0.4), (4, 0.6), (5, 0.6))
    ]
    assert best_of(found).seed == 4


@pytest.mark.parametrize("copy", ["lab/e/1.edf", "lab/c/again.edf", "judges/judge.edf", None])
def test_no_recording_crosses_the_split_under_another_name(
    lab: Path, start: Path, tmp_path: Path, copy: str | None
) -> None:
    own = shutil.copytree(lab, tmp_path / "lab")
    stop_by = own / "b" / "1.edf" if copy is None else tmp_path / "judges"
    if copy is not None:
        (tmp_path / copy).parent.mkdir(exist_ok=True)
        shutil.copy(own / "b" / "1.edf", tmp_path / copy)
    given = (stop_by,) if stop_by.exists() else ()
    options = train_options(own, start, tmp_path / "ours", stop_by=given, passes=1)
    with pytest.raises(RecordingError, match=r"found the very same file as \S*/b/1\.edf: what lea"):
        run(options, Console(quiet=True))


def test_a_recording_that_is_there_twice_of_one_animal_is_no_test_of_another(
    lab: Path, start: Path, tmp_path: Path
) -> None:
    own = shutil.copytree(lab, tmp_path / "lab")
    shutil.copy(own / "b" / "1.edf", own / "b" / "again.edf")
    assert run(train_options(own, start, tmp_path / "ours", passes=1), Console(quiet=True))


@pytest.mark.training
def test_the_test_subject_decides_nothing(lab: Path, start: Path, tmp_path: Path) -> None:
    (unseen,) = split_subjects(MICE, seed=0).test
    other = tmp_path / "lab"
    shutil.copytree(lab, other)
    for edf in (other / unseen).glob("*.edf"):
        scored = Hypnogram.from_epochs([MOUSE[k % 3] for k in range(SECONDS)], 1.0)
        write_csv(edf.with_suffix(".csv"), scored)
    console = Console(quiet=True)
    first = run(train_options(lab, start, tmp_path / "first"), console)
    second = run(train_options(other, start, tmp_path / "second"), console)
    assert first is not None
    assert second is not None
    assert first.split == second.split
    assert first.scores != second.scores
    assert (first.history, first.temperatures) == (second.history, second.temperatures)
    weights = [(tmp_path / name / WEIGHTS_FILE).read_bytes() for name in ("first", "second")]
    assert weights[0] == weights[1]


@pytest.mark.training
def test_recordings_that_a_run_stops_by_decide_and_are_named(
    lab: Path, start: Path, tmp_path: Path
) -> None:
    """The κ of each pass is that of the recording; the temperatures are those of the lab's own."""
    judge, own = tmp_path / "judges" / "judge.edf", tmp_path / "lab"
    judge.parent.mkdir()
    shutil.copy(lab / "b" / "1.edf", judge)
    scored = Hypnogram.from_epochs([MOUSE[k // 5 % 3] for k in range(SECONDS)], 1.0)
    write_csv(judge.with_suffix(".csv"), scored)
    shutil.copytree(lab, own, ignore=shutil.ignore_patterns("b"))
    before = load_model(start)
    options = train_options(own, start, tmp_path / "ours", stop_by=(judge.parent,), passes=1)
    report = run(options, Console(quiet=True))
    assert report is not None
    subject = _read(before.spec, judge)
    found = evaluate(before, [subject], every=FINE_TUNING.validate_every)
    expected = {pathway: scores.kappa for (pathway, _), scores in found.items()}
    assert report.history[0].kappa == pytest.approx(expected)
    assert report.split["validation"][-1] == "judge"
    assert "judge" in {s.subject for s in report.sources}
    trained, lag = load_model(options.out), before.spec.n_context - 1
    validated = [
        _read(before.spec, path)
        for name in report.split["validation"][:-1]
        for path in sorted((own / name).glob("*.edf"))
    ]
    assert report.grammar is not None
    fitted = fit_confidence(trained, validated, report.grammar, lag)
    assert _temperatures(report.grammar) == pytest.approx(_temperatures(fitted), rel=1e-3)
    learnt = open_bundle(options.out).manifest.learnt_from
    assert learnt[hashlib.sha256(judge.read_bytes()).hexdigest()] == "stopped on"
    assert {*learnt.values()} == {"trained", "stopped on"}


def _read(spec: ModelSpec, path: Path) -> ScoredEpochs:
    (recording,), _ = open_lab((path,), spec)
    return pack(read_one(recording, spec))


def _temperatures(grammar: Grammar) -> list[float]:
    return [grammar.temperature_live, grammar.temperature_final]


@pytest.mark.training
def test_widened_mice_and_a_recording_train_a_net_of_levels_that_another_stops(
    lab: Path, tmp_path: Path
) -> None:
    stopped, trained = (tmp_path / f"{x}.edf" for x in "bc")
    shutil.copy(lab / "b" / "1.edf", stopped)
    shutil.copy(lab / "c" / "1.edf", trained)
    options = ["--simulated", 3, "--wide", "--hours", 0.04, "--context", 4, "--passes", 1]
    options += ["--stop-by", stopped, "--out", tmp_path / "wide", "--device", "cpu", trained]
    done = CliRunner().invoke(app, ["train", *map(str, options)])
    assert done.exit_code == 0, done.output
    bundle = open_bundle(tmp_path / "wide")
    assert bundle.spec.relative == relative_of("mouse")
    beside = f"1 subjects, 1 recordings, {SECONDS} epochs"
    data = f"3 widened simulated mice of 0.04 h, and beside them {beside}"
    assert bundle.manifest.provenance["data"] == data
    hashes = [hashlib.sha256(r.read_bytes()).hexdigest() for r in (stopped, trained)]
    learnt_from = dict(zip(hashes, ("stopped on", "trained"), strict=True))
    assert bundle.manifest.learnt_from == learnt_from
    assert bundle.manifest.provenance["training"] == "2 subjects"
    with OnnxRuntimeEngine(bundle, n_rows=1) as engine:
        epochs = np.zeros((1, 2, bundle.spec.n_inputs), np.float32)
        engine.step(epochs, np.array([0]), np.ones((1, 2), bool))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--out", "x"], RecordingError("expected folders of recordings, --simulated or both")),
        (["--out", "x", "--simulated", "2"], RecordingError("expected 3 to 1000 simulated")),
        (["d", "--out", "x", "--context", "64"], SpecError("--from-scratch")),
        (
            ["d", "--out", "x", "--workers", "2"],
            ConfigError("expected --workers, --scheduler, … with --seeds, --leave-one-subject-out"),
        ),
        (
            ["d", "--out", "x", "--seeds", "2", "--leave-one-subject-out"],
            ConfigError("expected --seeds without a subject or dataset left out in turn"),
        ),
        (
            ["d", "--out", "x", "--simulated", "3", "--leave-one-subject-out"],
            RecordingError("expected --leave-one-subject-out without --simulated"),
        ),
        (["d", "--out", "x", "--wide"], RecordingError("expected --wide with --simulated only")),
        (["d", "--out", "x", "--from-scratch", "--from-bundle", "b"], SpecError("found both")),
    ],
)
def test_what_does_not_fit_is_one_sentence(arguments: list[str], expected: HypnodError) -> None:
    result = CliRunner().invoke(app, ["train", *arguments])
    assert type(result.exception) is type(expected)
    assert str(expected) in str(result.exception)
