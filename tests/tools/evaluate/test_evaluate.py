"""`hypnod evaluate`: the same stages as live, held against experts, with no epoch hidden."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from models.errors import ConfigError
from models.recordings.hypnogram import Hypnogram, read_hypnogram
from models.recordings.writers import write_csv
from models.simulator.simulate import iterate_subjects
from models.spec import MIXED
from models.stages import MOUSE
from tests.support.bundles import TINY, make_bundle
from tests.support.edf import write_interrupted_edf
from tools.cli import app
from tools.simulate import write_edf

SECONDS = 72
WITHOUT_TORCH = """
import sys
from tools.cli import main
try:
    main()
finally:
    assert "torch" not in sys.modules
"""
SIMULATION = {"duration_s": SECONDS, "sfreq": 256.0, "time_scale": 20, "every_stage": True}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle"), **TINY)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Three mice in a folder, the first one recorded twice."""
    folder = tmp_path_factory.mktemp("lab")
    for seed, name in enumerate(("a/one", "a/two", "b/one", "c/one")):
        path = folder / f"{name}.edf"
        path.parent.mkdir(exist_ok=True)
        write_edf(path, iterate_subjects(seed=seed, **SIMULATION), SIMULATION["sfreq"], 1)
    return folder


def run(command, *arguments):
    """Run a subcommand; return what it prints, read where it is JSON."""
    result = CliRunner().invoke(app, [command, *map(str, arguments)])
    if result.exception is not None:
        raise result.exception
    return json.loads(result.stdout) if "--json" in arguments else result.stdout


def pick(evaluation, kind="final", part="all", without=()):
    wanted = [kind, part, list(without)]
    (found,) = (r for r in evaluation["results"] if [r["kind"], r["part"], r["without"]] == wanted)
    return found


def test_a_lab_scores_a_bundle_in_one_command_without_torch(tmp_path, lab, bundle):
    outputs = ["--csv", "subjects.csv", "--png", "evaluation.png", "--json"]
    command = [sys.executable, "-c", WITHOUT_TORCH, "evaluate", lab, "--bundle", bundle, *outputs]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    evaluation = json.loads(done.stdout)
    assert (evaluation["recordings"], evaluation["epoch_s"]) == (4, [1.0])
    source = evaluation["sources"][0]
    assert (source["subject"], source["channels"]) == ("a", {"eeg": "EEG1", "emg": "EMG1"})
    assert source["recording"] == source["hypnogram"] == str(lab / "a" / "one.edf")
    assert evaluation["hours"] == pytest.approx(4 * SECONDS / 3600)
    assert len(evaluation["results"]) == 4
    for kind in ("live", "final"):
        result = pick(evaluation, kind)
        assert [*result["subjects"]] == ["a", "b", "c"]
        assert result["pooled"]["n_epochs"] == 4 * SECONDS
        assert result["pathways"] == {MIXED: 4 * SECONDS}
        assert result["subjects"]["a"]["n_epochs"] == 2 * SECONDS
        low, high = result["intervals"]["accuracy"]
        assert low <= result["pooled"]["accuracy"] <= high
        matrices = [np.array(s["confusion"]) for s in result["subjects"].values()]
        assert np.array_equal(sum(matrices), result["pooled"]["confusion"])
        assert pick(evaluation, kind, "first_minute")["pooled"]["n_epochs"] == 4 * 60
    with (tmp_path / "subjects.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3 * 4
    assert float(rows[0]["accuracy"]) == pytest.approx(
        pick(evaluation, "live")["subjects"]["a"]["accuracy"], abs=1e-5
    )
    assert (tmp_path / "evaluation.png").stat().st_size > 20_000


@pytest.mark.parametrize("kind", ["live", "final"])
def test_its_stages_are_those_of_score(lab, bundle, kind):
    night = lab / "b" / "one.edf"
    options = ["--bundle", bundle, "--hypnogram", night, "--kind", kind, "--json"]
    expected = run("score", night, *options)["subjects"]["m1"]["agreement"]
    found = pick(run("evaluate", night, "--bundle", bundle, "--json"), kind)["pooled"]
    assert {key: found[key] for key in expected} == expected


def test_a_withheld_modality_is_as_if_it_had_not_been_recorded(lab, bundle):
    night = lab / "b" / "one.edf"
    options = [night, "--bundle", bundle, "--json"]
    every = run("evaluate", *options, "--pathways", "all")
    for withheld, left in (("emg", "eeg"), ("eeg", "emg")):
        alone = run("evaluate", *options, f"--{left}", f"{left.upper()}1")
        one = run("evaluate", *options, "--without", withheld)
        expected = pick(alone)["pooled"]
        assert pick(one, without=[withheld])["pooled"] == expected
        assert pick(every, without=[withheld])["pooled"] == expected
        assert pick(every, without=[withheld])["pathways"] == {left: SECONDS}
    assert pick(every) == pick(run("evaluate", *options))
    with pytest.raises(ConfigError, match="some but not all of eeg, emg, found eog"):
        run("evaluate", *options, "--without", "eog")
    with pytest.raises(ConfigError, match="beside emg, found none"):
        run("evaluate", *options, "--emg", "EMG1", "--without", "emg")


@pytest.mark.parametrize("asked", [(), ("--epoch-s", 4)])
def test_an_experts_epochs_are_compared_as_they_were_scored(tmp_path, lab, bundle, asked):
    night = tmp_path / "night.edf"
    night.write_bytes((lab / "b" / "one.edf").read_bytes())
    truth = read_hypnogram(night, MOUSE).to_epochs(4.0, SECONDS // 4)
    write_csv(tmp_path / "night.csv", Hypnogram.from_epochs(truth, 4.0))
    options = ["--bundle", bundle, "--json"]
    evaluation = run("evaluate", tmp_path, *options, *asked)
    assert evaluation["epoch_s"] == [4.0]
    result = pick(evaluation)
    assert pick(evaluation, part="first_minute")["pooled"]["n_epochs"] == 15
    options += ["--hypnogram", tmp_path / "night.csv"]
    expected = run("score", night, *options)["subjects"]["m1"]
    assert (expected["agreement"]["n_epochs"], expected["agreement_epoch_s"]) == (18, 4.0)
    assert result["pooled"]["confusion"] == expected["agreement"]["confusion"]
    with pytest.raises(ConfigError, match="at least the 1 s between two stages"):
        run("evaluate", tmp_path, *options[:3], "--epoch-s", 0.5)


def test_epochs_without_a_stage_are_counted_apart(tmp_path, bundle):
    write_interrupted_edf(tmp_path / "gap.edf", [*range(12), *range(15, 30)])
    stages = ["Wake", "NREM", "?"] * 10
    write_csv(tmp_path / "gap.csv", Hypnogram.from_epochs(stages, 1.0))
    write_interrupted_edf(tmp_path / "plain.edf", range(5))
    options = [tmp_path, "--skip-unscored", "--bundle", bundle, "--json"]
    evaluation = run("evaluate", *options)
    assert evaluation["left_out"] == [str(tmp_path / "plain.edf")]
    result = pick(evaluation)
    pooled = result["pooled"]
    assert (pooled["n_epochs"], pooled["n_unscored"], pooled["n_unscorable"]) == (18, 12, 2)
    assert result["reasons"] == {"eeg missing, emg missing": 2}
    assert result["pathways"] == {"eeg": 18}
    assert set(result["intervals"].values()) == {None}  # of a single subject
    text = run("evaluate", *options[:-1])
    assert "no stage for 2 × eeg missing, emg missing" in text
    assert "left out, without a hypnogram" in text
    assert "read 1 × eeg = EEG" in text


def test_unseen_simulated_mice_stand_in_for_recordings(bundle):
    options = ["--simulated", 2, "--hours", 0.02, "--sfreq", 128, "--bundle", bundle, "--json"]
    evaluation = run("evaluate", *options)
    result = pick(evaluation)
    assert [*result["subjects"]] == ["simulated-1000000", "simulated-1000001"]
    assert result["pooled"]["n_epochs"] + result["pooled"]["n_unscored"] == 2 * SECONDS
    assert evaluation["data"].startswith("unseen simulated mice, seeds 1000000 to 1000001, 128 Hz")
    again = run("evaluate", *options, "--seed", 1_000_001, "--simulated", 1)
    assert pick(again)["pooled"] == result["subjects"]["simulated-1000001"]
    with pytest.raises(SystemExit):
        run("evaluate", *options, "--seed", 7)
    with pytest.raises(ConfigError, match="folders of recordings or --simulated, found neither"):
        run("evaluate", "--bundle", bundle)
    with pytest.raises(ConfigError, match="found both"):
        run("evaluate", Path.cwd(), *options)
