"""What `hypnod train` takes and refuses, before it trains for hours."""

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from models.errors import RecordingError
from models.recordings.hypnogram import Hypnogram
from models.recordings.hypnograms.read import read_hypnogram
from models.recordings.writers import write_csv
from models.scored_epochs import ScoredEpochs
from models.sdreamer import net as sdreamer
from models.sdreamer.losses import PAPER, LossConfig
from models.signal.relative import relative_of
from models.sleepdifformer import net as sleepdifformer
from models.spec import LearntAs
from models.stages import MOUSE
from models.training.splits import Split
from models.training.train import paper_recipe
from tests.support.bundles import TINY, make_bundle
from tests.support.training import train_options, write_mice
from tools.cli import app
from tools.train.command import TrainOptions
from tools.train.data import (
    FINE_TUNING,
    FROM_SCRATCH,
    choose_config,
    learnt_from,
    mixed,
    new_spec,
)
from tools.train.training import run

SECONDS, SFREQ, MICE = 60, 128.0, ("a", "b", "c")


WITHOUT_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'")

sys.meta_path.insert(0, NoTorch())
from tools.cli import main
main()
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("start"), 5, **TINY)


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Three mice with their stages inside."""
    write_mice(tmp_path / "lab", [f"{name}/night" for name in MICE], SECONDS, SFREQ)
    return tmp_path / "lab"


def _options(lab: Path, start: Path, out: Path) -> TrainOptions:
    return train_options(lab, start, out, leave_out="subject", passes=1)


def test_a_lab_that_scores_4_s_is_told_its_agreement_in_4_s(
    lab: Path, start: Path, tmp_path: Path
) -> None:
    for edf in lab.glob("*/night.edf"):
        truth = read_hypnogram(edf, MOUSE).to_epochs(4.0, SECONDS // 4)
        write_csv(edf.with_suffix(".csv"), Hypnogram.from_epochs(truth, 4.0))
    options = _options(lab, start, tmp_path / "ours")
    options.state.mkdir()
    (options.state / "notes.txt").touch()
    report = run(options, Console(quiet=True))
    assert report is not None
    assert report.scores["mixed live"].n_epochs == len(MICE) * SECONDS // 4
    assert report.tested == "3 subjects, each with a net that never saw it, epochs of 4 s"
    found = [(s.subject, s.channels, s.epoch_s) for s in report.sources]
    assert found == [(name, {"eeg": "EEG1", "emg": "EMG1"}, 4.0) for name in MICE]
    for source in report.sources:
        assert source.read is not None
        assert source.read.file == source.hypnogram
        assert sum(source.read.seconds.values()) == SECONDS // 4 * 4
    assert [path.name for path in options.state.iterdir()] == ["notes.txt"]  # a lab's own


def test_the_settings_follow_from_the_kind_of_run(lab: Path, start: Path, tmp_path: Path) -> None:
    tuning = _options(lab, start, tmp_path / "x")
    scratch = msgspec.structs.replace(tuning, start=None, passes=None)
    usual, model = LossConfig(), "sdreamer"
    tuned = msgspec.structs.replace(FINE_TUNING, passes=1, loss=usual)
    assert choose_config(tuning, model) == tuned
    assert choose_config(scratch, model) == msgspec.structs.replace(FROM_SCRATCH, loss=usual)
    paper = msgspec.structs.replace(scratch, recipe="paper", seed=3)
    config = choose_config(paper, model)
    assert config == msgspec.structs.replace(paper_recipe(model), seed=3)
    assert (config.loss, config.masks) == (PAPER, False)
    assert new_spec(paper) == sdreamer.new_spec(dropout=0.1)


def test_a_new_net_is_given_levels_unless_patches_or_the_paper_are_asked_for(
    lab: Path, tmp_path: Path
) -> None:
    scratch = train_options(lab, None, tmp_path / "x")
    levels = sdreamer.given_levels(sdreamer.new_spec(dropout=0.1), relative_of("mouse"))
    assert new_spec(scratch) == levels
    assert new_spec(msgspec.structs.replace(scratch, simulated=5)).architecture["dropout"] == 0.0
    for recipe in ("hypnod", "paper"):
        patches = msgspec.structs.replace(scratch, patch=128, recipe=recipe)
        assert new_spec(patches) == sdreamer.new_spec(dropout=0.1, patch_size=128)


def test_a_new_net_for_people_is_given_their_levels_unless_the_paper_is_asked_for(
    lab: Path, tmp_path: Path
) -> None:
    scratch = train_options(lab, None, tmp_path / "x", species="human")
    paper = sleepdifformer.new_spec(16, dropout=0.1)
    assert new_spec(scratch) == sleepdifformer.given_levels(paper, relative_of("human"))
    assert new_spec(msgspec.structs.replace(scratch, recipe="paper")) == paper


def test_a_file_was_for_what_most_of_it_was_for_ever() -> None:
    split = Split(training=("a", "b/m1"), validation=("c", "b/m2"), test=("d", "e/m1"))
    names = {"A": "a", "B": "b/m1 b/m2", "C": "c", "D": "d", "E": "e/m1", "F": "c", "G": "c"}
    files = [(name, frozenset(subjects.split())) for name, subjects in names.items()]
    before: dict[str, LearntAs] = {"A": "stopped on", "F": "trained", "G": "stopped on"}
    before |= {"H": "trained", "D": "stopped on"}
    assert learnt_from(files, split, before) == {
        **dict.fromkeys(("A", "B", "F", "H"), "trained"),
        **dict.fromkeys(("C", "D", "G"), "stopped on"),
    }


def _train(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["train", *map(str, arguments), "--device", "cpu"])


@pytest.mark.parametrize("command", ["adapt", "train", "import", "explain"])
def test_a_computer_without_torch_is_told_what_to_install(tmp_path: Path, command: str) -> None:
    rest = ("--at", "0") if command == "explain" else ("--out", "y")
    arguments = [sys.executable, "-c", WITHOUT_TORCH, command, str(tmp_path / "x"), *rest]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert done.stderr.strip() == (
        "hypnod: expected pip install '.[train]' to have been run in hypnod's checkout, "
        "found: No module named 'torch'"
    )


def test_too_few_subjects_are_told_before_hours_of_reading(
    lab: Path, start: Path, tmp_path: Path
) -> None:
    done = _train(lab / "a", lab / "b", "--out", tmp_path / "x", "--from-bundle", start)
    with pytest.raises(RecordingError, match=r"at least 3 subjects, .* found 2: a, b"):
        raise done.exception or AssertionError
    assert "reading" not in done.output


def test_recordings_shorter_than_two_windows_are_refused(lab: Path, tmp_path: Path) -> None:
    done = _train(lab, "--from-scratch", "--context", 64, "--out", tmp_path / "x")
    with pytest.raises(RecordingError, match="at least 128 epochs, two context windows, found 60"):
        raise done.exception or AssertionError
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("place", ["lab", "lab/a/night.edf", "."])
def test_a_bundle_replaces_no_recordings(
    lab: Path, start: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(lab.parent)
    done = _train("lab", "--out", place, "--from-bundle", start)
    assert done.exit_code == 2
    assert "expected a new folder or a bundle's, found" in " ".join(done.output.split())
    assert all((lab / name / "night.edf").stat().st_size > 0 for name in MICE)


def test_real_recordings_are_read_a_fifth_as_often_as_simulated_ones_each_alike() -> None:
    simulated, short, long = (
        [_epochs(name, n)] for name, n in zip("abc", (9000, 20, 300), strict=True)
    )
    found = mixed(simulated * 2, [*short, *long])
    read = {name: sum(len(s.epochs) for s in found if s.name == name) for name in "abc"}
    assert read == {"a": 18_000, "b": 1800, "c": 1800}
    assert mixed(simulated, []) == simulated
    assert [s.name for s in mixed(short, long)] == ["b", "c"]  # at least once


def _epochs(name: str, n: int) -> ScoredEpochs:
    return ScoredEpochs(name, np.zeros((n, 2, 1)), np.zeros(n, np.int64), np.ones((n, 2), bool))
