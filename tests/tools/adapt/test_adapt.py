"""`hypnod adapt` on EDF files that nobody scored, from the command line."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import edfio
import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from engines.bundle import open_bundle
from engines.onnxruntime import OnnxRuntimeEngine
from models.base import Model
from models.errors import ConfigError, RecordingError, SpecError
from models.recordings.lab import read_one
from models.scored_epochs import ScoredEpochs
from models.signal.relative import relative_of
from models.simulator.human.simulate import SimulatedPeople
from models.simulator.mouse.simulate import SimulatedMice
from models.spec import SPEC_FILE, WEIGHTS_FILE
from models.stages import HUMAN, MOUSE
from models.teacher import teacher_hash
from models.training.devices import open_device
from models.training.simulated import simulate_subject
from models.training.splits import Split
from models.training.train import TrainConfig, train
from models.weights import load_model, save_weights
from tests.support.bundles import TINY, change_manifest, human_levels, make_bundle, make_bundle_of
from tools.adapt import adapting
from tools.adapt.gain import Answers, gain_of
from tools.adapt.lessons import Heard, divide, hold_out
from tools.adapt.report import Change, Gain
from tools.adapt.usual import read_as_taught
from tools.cli import app
from tools.simulate import write_edf

SECONDS, SFREQ = 1900, 128.0
COURSE = (("Wake",) * 90 + ("NREM",) * 120 + ("REM",) * 40) * 8


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small net that knows one mouse."""
    bundle = make_bundle(tmp_path_factory.mktemp("start"), 5, levels=True, **TINY)
    model = load_model(bundle)
    hours, course = SECONDS / 3600, COURSE[:SECONDS]
    mouse = read_one(simulate_subject("mouse", 0, hours, SFREQ, stages=course), model.spec)
    config = TrainConfig(passes=4, patience=4, learning_rate=2e-3, masks=False)
    with open_device("cpu", "float32") as device:
        model, _ = train(model.spec, [mouse], [mouse], config, device)
    return change_manifest(_given(bundle, model), learnt_from={"0" * 64: "stopped on"})


def _given(bundle: Path, model: Model) -> Path:
    """Give a bundle a net's weights."""
    save_weights(model, bundle / WEIGHTS_FILE)
    files = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in bundle.iterdir()
        if path.name != SPEC_FILE
    }
    return change_manifest(bundle, files=files)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording that nobody scored, of that mouse."""
    path = tmp_path_factory.mktemp("rig") / "a.edf"
    _write(path, 0, COURSE[:SECONDS])
    return path


def _write(path: Path, seed: int, stages: tuple[str, ...]) -> None:
    mice = SimulatedMice(seed=seed, duration_s=SECONDS, sfreq=SFREQ, stages=stages).subjects()
    write_edf(path, mice, SFREQ, 1)
    edfio.Edf(edfio.read_edf(path).signals).write(path)


def _adapt(start: Path, *arguments: object) -> Result:
    few = ("--passes", "1", "--simulated", "4", "--hours", "0.02")
    few += ("--from-bundle", start, "--device", "cpu")
    return CliRunner().invoke(app, ["adapt", *map(str, (*arguments, *few))])


@pytest.mark.training
def test_a_gain_becomes_a_bundle_that_says_what_it_learnt_from(
    rig: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether so little was a gain is not asked here."""
    monkeypatch.setattr(adapting, "why_not_written", lambda *_: None)
    monkeypatch.setattr(adapting, "best_pass", lambda history: history[-1])
    out = tmp_path / "ours"
    done = _adapt(start, rig, "--out", out, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["written"], report["outcome"]) == (str(out), f"wrote {out}")
    assert report["held_out"] == "the last third of a"
    assert {*report["kappa"]} == {"live", "final"}
    assert {*report["share"]} == {*MOUSE}
    assert report["kappa"]["live"]["before"] > 0.5
    (taught,) = report["recordings"]
    assert (taught["subject"], taught["left_out"]) == ("a", None)
    assert taught["seconds"]["Wake"] > 300
    assert taught["seconds"]["NREM"] > 300
    bundle, before = open_bundle(out), open_bundle(start).manifest
    assert (bundle.spec, bundle.manifest.grammar) == (before.spec, before.grammar)
    assert {*bundle.manifest.temperatures} == {*before.spec.pathways}
    found = hashlib.sha256(rig.read_bytes()).hexdigest()
    assert bundle.manifest.learnt_from == {"0" * 64: "stopped on", found: "trained"}
    with OnnxRuntimeEngine(bundle, n_rows=1) as engine:
        epoch = np.zeros((1, 2, bundle.spec.n_inputs), np.float32)
        engine.step(epoch, np.array([0]), np.ones((1, 2), bool))


NIGHT_S, NIGHT_SEED = 8100, 5
COURSE_OF_NIGHT = (
    ("W",) * 900 + ("N1",) * 120 + ("N2",) * 1500 + ("N3",) * 900 + ("N2",) * 300 + ("REM",) * 600
) * 2


@pytest.mark.timeout(300)  # a night is simulated twice, and ten short ones
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # of speed alone
@pytest.mark.training
def test_people_are_adapted_by_the_same_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a net that the teacher taught this night, so that they agree in most of it."""
    monkeypatch.setattr(adapting, "why_not_written", lambda *_: None)
    monkeypatch.setattr(adapting, "best_pass", lambda history: history[-1])
    course = COURSE_OF_NIGHT[:NIGHT_S]
    start = make_bundle_of(human_levels(30.0, relative_of("human")), tmp_path)
    model = load_model(start)
    lab = simulate_subject("human", NIGHT_SEED, NIGHT_S / 3600, 100.0, stages=course)
    taught = read_as_taught(lab, model.spec)
    config = TrainConfig(passes=30, patience=30, learning_rate=3e-3, batch_size=16, masks=False)
    with open_device("cpu", "float32") as device:
        model, _ = train(model.spec, [taught], [taught], config, device)
    _given(start, model)
    people = SimulatedPeople(seed=NIGHT_SEED, duration_s=NIGHT_S, sfreq=100.0, stages=course)
    write_edf(tmp_path / "n.edf", people.subjects(), 100.0, 1)
    edfio.Edf(edfio.read_edf(tmp_path / "n.edf").signals).write(tmp_path / "n.edf")
    done = _adapt(start, tmp_path / "n.edf", "--out", tmp_path / "ours", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    (night,) = report["recordings"]
    assert night["left_out"] is None
    assert {*night["channels"]} == {"eeg", "eog"}
    assert sum(night["seconds"].values()) % 30 == 0
    assert night["seconds"]["N2"] > 600
    assert {*report["share"]} == {*HUMAN}
    assert report["teacher"] == teacher_hash("human")
    assert report["gain"]["n_blocks"] == 5  # of ten minutes, in the last third
    assert open_bundle(tmp_path / "ours").spec == model.spec


@pytest.mark.parametrize(
    ("taken", "n_blocks", "low", "after", "expected"),
    [
        (1, 5, 0.01, 0.795, None),
        (0, 9, 0.01, 0.8, "no pass was better than it"),
        (1, 4, 0.01, 0.8, "at least 5 blocks of 120 s to compare by, found 4"),
        (1, 9, 0.0, 0.8, r"may be chance \(\+0\.000 to \+0\.100\)"),
        (1, 9, 0.01, 0.785, r"simulated subjects lost 0\.015 of κ, more than 0\.01"),
    ],
)
def test_a_bundle_is_left_alone_unless_it_gains_and_forgets_nothing(
    taken: int, n_blocks: int, low: float, after: float, expected: str | None
) -> None:
    gain = Gain(kappa=0.05, low=low, high=0.1, n_blocks=n_blocks)
    why = adapting.why_not_written(taken, gain, Change(before=0.8, after=after), 120.0)
    assert why is None if expected is None else re.search(expected, why or "")


def test_what_was_surely_lost_is_not_called_chance() -> None:
    gain = Gain(kappa=-0.059, low=-0.160, high=-0.001, n_blocks=9)
    why = adapting.why_not_written(1, gain, Change(before=0.8, after=0.8), 120.0)
    assert "which is a loss (-0.160 to -0.001)" in (why or "")


@pytest.mark.training
def test_where_nothing_is_gained_nothing_is_written(rig: Path, start: Path, tmp_path: Path) -> None:
    done = _adapt(start, rig, "--out", tmp_path / "x", "--learning-rate", "1e-9")
    assert done.exit_code == 0, done.output
    assert "wrote nothing, the bundle stays as it is" in done.output
    assert "the last third of a" in done.output
    assert not [*tmp_path.iterdir()]


def test_a_recording_of_one_stage_is_refused(start: Path, tmp_path: Path) -> None:
    _write(tmp_path / "asleep.edf", 3, ("NREM",) * SECONDS)
    done = _adapt(start, tmp_path / "asleep.edf", "--out", tmp_path / "x")
    with pytest.raises(RecordingError, match=r"asleep\.edf: expected .* found"):
        raise done.exception or AssertionError
    assert not (tmp_path / "x").exists()


def test_so_is_a_short_one(start: Path, tmp_path: Path) -> None:
    mice = SimulatedMice(seed=1, duration_s=60, sfreq=SFREQ).subjects()
    write_edf(tmp_path / "short.edf", mice, SFREQ, 1)
    done = _adapt(start, tmp_path / "short.edf", "--out", tmp_path / "x")
    with pytest.raises(RecordingError, match=r"at least 30 min of usable eeg and emg, found [01]"):
        raise done.exception or AssertionError


def test_a_bundle_of_another_epoch_is_refused(start: Path, tmp_path: Path) -> None:
    other = shutil.copytree(start, tmp_path / "other")
    spec = msgspec.structs.replace(open_bundle(start).spec, epoch_s=4.0)
    change_manifest(other, spec=spec)
    done = _adapt(other, tmp_path, "--out", tmp_path / "x")
    with pytest.raises(SpecError, match=r"epoch_s of the teacher, 1\.0, found 4\.0"):
        raise done.exception or AssertionError


def test_a_third_of_the_subjects_is_held_out_or_of_the_time_of_one() -> None:
    heard = [_heard(name) for name in "aabcde"]
    parts = divide(heard, seed=0)
    assert len(parts.split.validation) == 1
    assert {*parts.split.training, *parts.split.validation} == {*"abcde"}
    assert {s.name for s in parts.held_out} == {*parts.split.validation}
    assert {s.name for s in parts.learnt} == {*parts.split.training}
    assert {len(s.epochs) for s in parts.learnt} == {675}
    assert {len(s.epochs) for s in parts.stopping} == {225}
    alone = divide(heard[:2], seed=0)
    assert [(len(s.epochs), s.stages[0]) for s in alone.held_out] == [(300, 600)] * 2
    assert [(len(s.epochs), s.stages[0]) for s in alone.learnt] == [(450, 0)] * 2
    assert [(len(s.epochs), s.stages[0]) for s in alone.stopping] == [(150, 450)] * 2


def test_a_subject_that_is_left_out_teaches_nothing_and_all_teach_the_bundle() -> None:
    heard = [_heard(name) for name in "aabc"]
    for subject in "abc":
        parts = hold_out(heard, (subject,))
        assert {s.name for s in parts.held_out} == {subject}
        assert {s.name for s in (*parts.learnt, *parts.stopping)} == {*"abc"} - {subject}
    every = hold_out(heard, ())
    assert every.split == Split(("a", "b", "c"), (), ())
    assert {s.name for s in every.learnt} == {*"abc"}


@pytest.mark.timeout(600)  # three trainings, and two recordings are staged twice
@pytest.mark.training
def test_each_subject_is_left_out_in_turn_by_workers_too(
    rig: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapting, "why_not_written", lambda *_: None)
    monkeypatch.setattr(adapting, "best_pass", lambda history: history[-1])
    lab, out = tmp_path / "lab", tmp_path / "ours"
    lab.mkdir()
    shutil.copy(rig, lab / "a.edf")
    _write(lab / "b.edf", 2, COURSE[:SECONDS])
    done = _adapt(start, lab, "--out", out, "--json", "--leave-one-subject-out", "--workers", 1)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["held_out"] == "2 subjects, each with a net that never saw it"
    alone = [each for each in report["recordings"] if not each["left_out"]]
    assert [each["subject"] for each in alone] == ["a", "b"]
    assert report["gain"]["n_blocks"] == 2 * -(-SECONDS // 120)
    learnt = open_bundle(out).manifest.learnt_from
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest() for path in lab.iterdir()}
    assert learnt == {"0" * 64: "stopped on"} | dict.fromkeys(hashes, "trained")


@pytest.mark.training
def test_of_several_seeds_the_best_on_what_stops_it_is_judged(
    rig: Path, start: Path, tmp_path: Path, scheduler: str
) -> None:
    several = ("--out", tmp_path / "x", "--json", "--seeds", 2)
    here, spread = (
        _adapt(start, rig, *several, *more) for more in ((), ("--scheduler", scheduler))
    )
    assert (here.exit_code, spread.exit_code) == (0, 0), here.output + spread.output
    one, other = json.loads(here.stdout), json.loads(spread.stdout)
    assert [*one["seeds"]] == ["0", "1"]
    best = max(one["seeds"].values())
    (taken,) = [each for each in one["history"] if each["number"] == one["taken"]]
    assert taken["kappa"]["mixed"] == best
    for what in ("seeds", "taken", "kappa", "gain", "share"):
        assert other[what] == one[what]


def test_nobody_is_left_out_of_one_subject(rig: Path, start: Path, tmp_path: Path) -> None:
    done = _adapt(start, rig, "--out", tmp_path / "x", "--leave-one-subject-out")
    with pytest.raises(RecordingError, match=r"--leave-one-subject-out: .* found a alone"):
        raise done.exception or AssertionError


def test_one_training_is_not_spread(rig: Path, start: Path, tmp_path: Path) -> None:
    both = _adapt(start, rig, "--out", tmp_path / "x", "--seeds", 2, "--leave-one-subject-out")
    with pytest.raises(ConfigError, match="--seeds without --leave-one-subject-out, found both"):
        raise both.exception or AssertionError
    done = _adapt(start, rig, "--out", tmp_path / "x", "--workers", 2)
    with pytest.raises(ConfigError, match=r"--workers, .* with --seeds or --leave-one-subject-out"):
        raise done.exception or AssertionError


def _heard(name: str) -> Heard:
    epochs, usable = np.zeros((900, 2, 1)), np.ones((900, 2), bool)
    subject = ScoredEpochs(name, epochs, np.arange(900), usable)
    return Heard(name, name, subject, subject)


def test_a_gain_is_one_only_if_most_blocks_show_it() -> None:
    teacher = np.tile(np.repeat([0, 1], 30), 20)
    rng = np.random.default_rng(0)
    wrong = np.where(rng.random(len(teacher)) < 0.4, 2, teacher)
    once = wrong.copy()
    once[:120] = teacher[:120]  # all of it in one block
    for after, is_gain in ((teacher, True), (once, False), (wrong, False)):
        before, found = ([Answers(teacher, x, x)] for x in (wrong, after))
        gain = gain_of(before, found, 3, 120)
        assert (gain.low > 0) == is_gain
        assert gain.n_blocks == 10
    one = [Answers(np.zeros(240, int), *[np.zeros(240, int)] * 2)]
    assert gain_of(one, one, 3, 120) == Gain(kappa=0, low=0, high=0, n_blocks=2)
