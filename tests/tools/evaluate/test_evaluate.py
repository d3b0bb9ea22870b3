"""`hypnod evaluate`: the same stages as live, held against experts, with no epoch hidden."""

import csv
import hashlib
import json
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from engines.bundle import open_bundle
from models.errors import ConfigError, LearntError, RecordingError
from models.recordings.hypnogram import Hypnogram
from models.recordings.hypnograms.read import read_hypnogram
from models.recordings.open import open_recording
from models.recordings.writers import write_csv
from models.simulator.mouse.simulate import SimulatedMice
from models.spec import MIXED, Grammar
from models.stages import MOUSE
from tests.rigs import forked
from tests.support.bundles import TINY, any_reference, change_manifest, make_bundle
from tests.support.recordings.edf import write_channels, write_interrupted_edf
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
CONFIG = """
[[streams]]
name = "cage"
match = {{ name = "cage" }}
subjects = [{{ name = "m1", channels = {{ eeg = "EEG1", emg = "EMG1" }} }}]
[staging]
hop_s = {hop_s}
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
        write_edf(path, SimulatedMice(seed=seed, **SIMULATION).subjects(), SIMULATION["sfreq"], 1)
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
    assert source["read"]["file"] == source["hypnogram"]
    assert sum(source["read"]["seconds"].values()) == SECONDS
    assert evaluation["hours"] == pytest.approx(4 * SECONDS / 3600)
    assert len(evaluation["results"]) == 4
    for kind in ("live", "final"):
        result = pick(evaluation, kind)
        assert sorted(result["subjects"]) == ["a", "b", "c"]
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
    worst, scores = next(iter(pick(evaluation, "live")["subjects"].items()))
    assert rows[0]["subject"] == worst
    assert float(rows[0]["accuracy"]) == pytest.approx(scores["accuracy"], abs=1e-5)
    assert float(rows[0]["precision_Wake"] or 0) == pytest.approx(
        scores["precision"]["Wake"] or 0, abs=1e-5
    )
    course = pick(evaluation, "live")["courses"][worst]
    for who in ("expert", "hypnod"):
        found = float(rows[0][f"{who}_transitions_per_hour"])
        assert found == pytest.approx(course[who]["transitions_per_hour"], rel=1e-4)
    assert rows[1]["part"] == "all" or rows[1]["expert_transitions_per_hour"] == ""
    assert (tmp_path / "evaluation.png").stat().st_size > 20_000


@pytest.mark.parametrize("kind", ["live", "final"])
def test_its_stages_are_those_of_score(lab, bundle, kind):
    night = lab / "b" / "one.edf"
    options = ["--bundle", bundle, "--hypnogram", night, "--kind", kind, "--json"]
    expected = run("score", night, *options)["subjects"]["m1"]["agreement"]
    found = pick(run("evaluate", night, "--bundle", bundle, "--json"), kind)["pooled"]
    assert {key: found[key] for key in expected} == expected


def test_it_stages_with_the_bundles_grammar(tmp_path, lab, bundle):
    night = lab / "b" / "one.edf"
    mostly_rem = Grammar(
        source="made up",
        rates=((0.0, 0.1, 0.4), (0.1, 0.0, 0.4), (1e-4, 1e-4, 0.0)),
        beta_live=0.05,
        beta_final=0.05,
    )
    given = shutil.copytree(bundle, tmp_path / "bundle")
    change_manifest(given, grammar=mostly_rem)
    options = ["--bundle", given, "--hypnogram", night, "--json"]
    expected = run("score", night, *options)["subjects"]["m1"]["agreement"]["confusion"]
    found, plain = (
        pick(run("evaluate", night, "--bundle", each, "--json"))["pooled"]["confusion"]
        for each in (given, bundle)
    )
    assert found == expected != plain


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
    with pytest.raises(RecordingError, match="at least one epoch of 600 s, found 72 s"):
        run("evaluate", tmp_path, *options[:3], "--epoch-s", 600)


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
    assert result["reasons"] == {"eeg missing": 2}
    assert result["pathways"] == {"eeg": 18}
    assert set(result["intervals"].values()) == {None}  # of a single subject
    text = run("evaluate", *options[:-1])
    assert "no stage for 2 × eeg missing" in text
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
    with pytest.raises(ConfigError, match="no option that says how recordings are read"):
        run("evaluate", *options, "--eeg", "EEG2")
    with pytest.raises(ConfigError, match="folders of recordings or --simulated, found neither"):
        run("evaluate", "--bundle", bundle)
    with pytest.raises(ConfigError, match="found both"):
        run("evaluate", Path.cwd(), *options)
    with pytest.raises(ConfigError, match=r"^--hop: expected a whole fraction of the epoch of 1 s"):
        run("evaluate", *options, "--hop", 0.3)


def test_the_worst_animal_comes_first_everywhere(lab):
    evaluation = run("evaluate", lab, "--pathways", "all", "--json")
    for without in ([], ["emg"], ["eeg"]):
        live = pick(evaluation, "live", without=without)["subjects"]
        kappas = [scores["kappa"] for scores in live.values()]
        assert kappas == sorted(kappas)
        assert len({*kappas}) == 3
        for kind, part in (("final", "all"), ("live", "first_minute"), ("final", "first_minute")):
            assert [*pick(evaluation, kind, part, without)["subjects"]] == [*live]
        assert [*pick(evaluation, "final", without=without)["courses"]] == [*live]
    text = run("evaluate", lab)
    rows = text[text.index("worst first") :].splitlines()
    listed = [line.split()[0] for line in rows if line[:1] in "abc" and line[1:2] == " "]
    assert listed == [*pick(evaluation, "live")["subjects"]]


def test_the_course_is_that_of_the_hypnograms(tmp_path):
    night, n = tmp_path / "one.edf", 180  # s: the shipped bundle sees every stage in it
    simulation = {**SIMULATION, "duration_s": n, "time_scale": 8}
    write_edf(night, SimulatedMice(seed=3, **simulation).subjects(), SIMULATION["sfreq"], 1)
    evaluation = run("evaluate", night, "--json")
    truth = read_hypnogram(night, MOUSE).to_epochs(1.0, n)
    for kind in ("live", "final"):
        out = tmp_path / "o.csv"
        run("score", night, "--csv", out, "--kind", kind)
        with out.open(encoding="utf-8", newline="") as stream:
            found = [r["stage"] for r in csv.DictReader(stream) if r["kind"] == kind]
        course = pick(evaluation, kind)["course"]
        assert pick(evaluation, kind)["courses"] == {"one": course}
        assert {*found} == {*MOUSE}
        assert course["hours"] == pytest.approx(n / 3600)
        for who, stages in (("expert", truth), ("hypnod", found)):
            changes = [pair for pair in pairwise(stages) if len({*pair}) > 1]
            per_hour = 3600 / n
            told = course[who]
            assert told["transitions_per_hour"] == pytest.approx(len(changes) * per_hour)
            rate = changes.count(("Wake", "REM")) * per_hour
            assert told["wake_to_rem_per_hour"] == pytest.approx(rate)
            assert sum(told["n"].values()) == len(changes) + 1
        n_rem = sum(b == "REM" for a, b in pairwise(truth) if a != b)
        assert course["delays"]["REM"]["n_bouts"] == n_rem > 0
    assert pick(evaluation, part="first_minute")["course"] is None
    text = run("evaluate", night)
    for words in ("transitions an hour", "Wake → REM an hour", "REM bouts × mean s", "REM called"):
        assert words in text


@pytest.mark.parametrize("hop_s", [1.0, 0.25])
def test_an_experts_long_epochs_do_not_make_the_delay_coarse(tmp_path, lab, hop_s):
    """Bouts are compared in the expert's 4 s; what a trigger hears comes at every hop."""
    night = tmp_path / "night.edf"
    night.write_bytes((lab / "b" / "one.edf").read_bytes())
    truth = read_hypnogram(night, MOUSE).to_epochs(4.0, SECONDS // 4)
    write_csv(tmp_path / "night.csv", Hypnogram.from_epochs(truth, 4.0))
    evaluation = run("evaluate", night, "--hop", hop_s, "--json")
    assert evaluation["hop_s"] == (None if hop_s == 1.0 else hop_s)
    course = pick(evaluation, "live")["course"]
    assert pick(evaluation, "live")["pooled"]["n_epochs"] <= SECONDS // 4
    changes = sum(a != b for a, b in pairwise(truth))
    assert course["expert"]["transitions_per_hour"] == pytest.approx(changes * 3600 / SECONDS)
    config = tmp_path / "hypnod.toml"
    config.write_text(CONFIG.format(hop_s=hop_s))
    run("score", night, "--config", config, "--csv", tmp_path / "o.csv")
    with (tmp_path / "o.csv").open(encoding="utf-8", newline="") as stream:
        found = [r["stage"] for r in csv.DictReader(stream) if r["kind"] == "live"]
    expected = []
    for k in range(1, len(truth)):
        if truth[k] == "NREM" != truth[k - 1]:
            stop = next((j for j in range(k, len(truth)) if truth[j] != "NREM"), len(truth))
            # the newest part of each epoch, a hop long, lies in the stay
            first, last = (max(0, round((4 * i - 1) / hop_s) + 1) for i in (k, stop))
            inside = found[first:last]
            expected += [hop_s * (inside.index("NREM") + 1)] if "NREM" in inside else []
    told = course["delays"]["NREM"]
    assert told["median_s"] == pytest.approx(np.median(expected))
    assert any(delay % 4 for delay in expected)


@pytest.mark.parametrize("what", ["trained", "stopped on"])
def test_what_a_bundle_learnt_from_is_refused_unless_told(tmp_path, lab, what):
    copy = tmp_path / "lab" / "x" / "renamed.edf"
    copy.parent.mkdir(parents=True)
    copy.write_bytes((lab / "b" / "one.edf").read_bytes())
    other = copy.with_name("other.edf")
    other.write_bytes((lab / "c" / "one.edf").read_bytes())
    learnt = {hashlib.sha256(copy.read_bytes()).hexdigest(): what}
    bundle = change_manifest(make_bundle(tmp_path, **TINY), learnt_from=learnt)
    options = [copy.parent, "--bundle", bundle]
    done = forked.run("evaluate", *options)
    assert done.returncode == LearntError.exit_code
    assert done.stderr.strip() == (
        f"hypnod: expected recordings that random did not learn from, found {copy} ({what}); "
        "--even-trained-on reports them all the same"
    )
    png, table = tmp_path / "e.png", tmp_path / "e.csv"
    told = ["--even-trained-on", "--png", png, "--csv", table]
    evaluation = run("evaluate", *options, *told, "--json")
    assert [s["learnt"] for s in evaluation["sources"]] == [None, what]
    text = run("evaluate", *options, "--even-trained-on")
    assert f"renamed ({what})" in text
    assert "its figures flatter" in text
    with table.open(encoding="utf-8", newline="") as stream:
        found = {row["subject"]: row["learnt"] for row in csv.DictReader(stream)}
    assert found == {"other": "", "renamed": what}
    run("evaluate", other, "--bundle", bundle)  # of which it knows nothing


def test_its_own_stages_are_never_an_experts(tmp_path, lab, bundle):
    night = tmp_path / "night.edf"
    night.write_bytes((lab / "b" / "one.edf").read_bytes())
    before = run("evaluate", night, "--bundle", bundle, "--json")
    run("score", night, "--bundle", bundle, "--csv", tmp_path / "staged.csv")
    (tmp_path / "staged.csv").rename(tmp_path / "night.csv")
    after = run("evaluate", night, "--bundle", bundle, "--json")
    assert after["results"] == before["results"]
    assert after["sources"][0]["own"] == [str(tmp_path / "night.csv")]
    text = "".join(run("evaluate", night, "--bundle", bundle).split())
    assert f"notread,hypnodwroteit:{tmp_path / 'night.csv'}" in text
    assert f"{night}:Wake" in text


def test_two_animals_of_one_file_name_are_two(tmp_path, lab, bundle):
    options = [lab / "a" / "one.edf", lab / "b" / "one.edf", "--bundle", bundle, "--json"]
    assert sorted(pick(run("evaluate", *options))["subjects"]) == ["a", "b"]


def test_drift_and_a_contradicted_species_are_told(tmp_path):
    bundle = make_bundle(tmp_path, **TINY)
    change_manifest(bundle, reference=any_reference(open_bundle(bundle).spec, mean=-9.0, sd=0.5))
    mice = SimulatedMice(**(SIMULATION | {"duration_s": 300, "sfreq": 128.0}), seed=0).subjects()
    write_edf(tmp_path / "night.edf", mice, 128.0, 1)
    options = [tmp_path / "night.edf", "--bundle", bundle]
    png = tmp_path / "e.png"
    evaluation = run("evaluate", *options, "--png", png, "--json")
    eeg = evaluation["drift"]["night"]["eeg"]
    assert eeg["median"] > 3  # extreme, so that five minutes tell
    assert (eeg["beyond"], eeg["doubtful"]) == (1.0, True)
    assert evaluation["contradictions"][0].startswith("eeg of night looks unlike what the model")
    text = run("evaluate", *options)
    assert f"eeg {eeg['median']:.2f}" in text
    assert "looks unlike what the model was trained on" in " ".join(text.split())
    write_events = Hypnogram.from_epochs(["Wake"] * 10, 30.0)
    write_csv(tmp_path / "night.csv", write_events)
    person = open_recording(tmp_path / "night.edf")
    labels, data = ("EEG Cz-A1", "EMG chin"), person.read(0, 300 * 128).T
    write_channels(tmp_path / "night.edf", data, labels, 128)
    evaluation = run("evaluate", *options, "--eeg", "EEG Cz-A1", "--emg", "EMG chin", "--json")
    assert evaluation["contradictions"][0] == (
        f"{tmp_path / 'night.edf'}: expected channels of a mouse, found EEG Cz-A1, EMG chin: "
        "labels of a person, whom the bundle sleepdifformer-human stages "
        "(--species human, or species under [engine])"
    )
