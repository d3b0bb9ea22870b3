"""`hypnod explain`: it is about the decision that `hypnod score` gives, and adds up."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from models.errors import ConfigError, RecordingError
from models.stages import HUMAN, MOUSE
from tests.support.bundles import (
    TINY,
    change_manifest,
    human_levels,
    human_spec,
    make_bundle,
    make_bundle_of,
    mouse_grammar,
)
from tests.support.recordings.psg import write_psg
from tests.tools.score.test_score import BOTH, SECONDS, write_night
from tools.cli import app

CONFIG = """
staging = { hop_s = 0.5, final_lag = 2 }

[[streams]]
name = "cage"
match = { name = "cage" }
subjects = [{ name = "a", channels = { eeg = "EEG2", emg = "EMG2" } }]
"""


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def mice(tmp_path_factory):
    """Two mice of 40 s, of which the first has a flat EEG from 20 to 23 s."""
    return write_night(tmp_path_factory.mktemp("mice") / "mice.edf")


@pytest.fixture(scope="module")
def person(tmp_path_factory):
    """A person of two minutes, from ten in the evening on."""
    path = tmp_path_factory.mktemp("person") / "p.edf"
    write_psg(path, {"EEG C4-M1": 128, "EOG E1-M2": 128}, ["W", "N1", "N2", "N3"])
    return path


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Of samples and of levels, for mice and people; that of mice with a grammar."""

    def folder(name):
        return tmp_path_factory.mktemp(name)

    samples = make_bundle(folder("samples"), 5, **TINY)
    return {
        "mouse samples": change_manifest(samples, grammar=mouse_grammar()),
        "mouse levels": make_bundle(folder("levels"), 5, levels=True, **TINY),
        "people samples": make_bundle_of(human_spec(), folder("human")),
        "people levels": make_bundle_of(human_levels(), folder("human_levels")),
    }


def run(*arguments):
    """Run a command; return what it prints."""
    result = CliRunner().invoke(app, [*map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def explain(recording, *arguments):
    run("explain", recording, *arguments, "--json", "why.json")
    return json.loads(Path("why.json").read_text("utf-8"))


def scored(recording, *arguments):
    """Return the rows of `hypnod score`, by kind and onset."""
    run("score", recording, *arguments, "--csv", "out.csv")
    with Path("out.csv").open(encoding="utf-8", newline="") as file:
        return {(r["kind"], r["subject"], float(r["onset"])): r for r in csv.DictReader(file)}


def check_same(why, row, stages):
    """See that the explanation is of the estimate that a row is of, to the bit."""
    assert why["stage"] == row["stage"]
    assert why["pathway"] == row["pathway"]
    assert float(row["onset"]) == why["onset_s"]
    for stage in stages:
        assert np.float32(row[f"p_{stage}"]) == np.float32(why["probabilities"][stage])
        evidence = row.get(f"evidence_{stage}", row[f"p_{stage}"])
        assert np.float32(evidence) == np.float32(why["evidence"][stage])


def check_sums(why):
    """See that attention to the window adds up, and masked slots have no part in anything."""
    assert sum(slot["attention"] for slot in why["window"]) == pytest.approx(1, abs=1e-4)
    assert why["window"][why["slot"]]["onset_s"] == why["onset_s"]
    for slot in why["window"]:
        if not any(slot["valid"].values()):
            assert slot["attention"] == pytest.approx(0, abs=1e-6)
            assert slot["support"] == 0


@pytest.mark.parametrize("kind", ["live", "final"])
@pytest.mark.parametrize("which", ["mouse samples", "mouse levels"])
def test_decisions_on_a_mouse_are_those_of_score(mice, bundles, which, kind):
    options = ["--bundle", bundles[which], *BOTH]
    rows = scored(mice, *options)
    for at, onset in ((0, 0), (18.999, 18), (24, 24), (SECONDS - 0.5, SECONDS - 1)):
        why = explain(mice, *options, "--of", "m2", "--at", at, "--kind", kind)
        assert why["kind"] == kind
        check_same(why, rows[kind, "m2", onset], MOUSE)
        check_sums(why)


@pytest.mark.parametrize("which", ["people samples", "people levels"])
def test_decisions_on_a_person_are_those_of_score(person, bundles, which):
    options = ["--bundle", bundles[which]]
    rows = scored(person, *options)
    for at, onset in (("+00:00:05", 4), ("22:01:00", 60), ("2001-01-01T22:01:59", 116)):
        why = explain(person, *options, "--at", at)
        check_same(why, rows["final", "p1", onset], HUMAN)
        check_sums(why)
        assert why["clock"] == f"2001-01-01T22:{onset // 60:02}:{onset % 60:02}"


def test_a_hop_and_a_lag_of_a_config_are_kept(mice, bundles, tmp_path):
    (tmp_path / "hypnod.toml").write_text(CONFIG)
    options = ["--config", "hypnod.toml", "--bundle", bundles["mouse samples"]]
    rows = scored(mice, *options)
    for kind, onset in (("live", 18.5), ("final", 18.0)):  # final ones come once an epoch
        why = explain(mice, *options, "--at", "18.6", "--kind", kind)
        check_same(why, rows[kind, "a", onset], MOUSE)
        assert why["slot"] == {"live": 4, "final": 2}[kind]


def test_a_lost_modality_is_no_part_of_it(mice, bundles):
    options = ["--bundle", bundles["mouse samples"], *BOTH, "--of", "m1", "--at", "21.5"]
    why = explain(mice, *options)
    assert why["pathway"] == "emg"
    assert why["window"][why["slot"]]["valid"] == {"eeg": False, "emg": True}
    assert [*why["parts"]] == ["emg"]
    assert why["modalities"] == {}
    assert why["validity"] == {"eeg": "flat", "emg": "ok"}
    assert "staged without eeg (flat)" in run("explain", mice, *options)
    whole = run("explain", mice, *options[:-1], "30")
    assert "staged without" not in whole


def test_what_is_told_fits_what_the_net_is_given(mice, person, bundles):
    options = [*BOTH, "--of", "m2", "--at", "30"]
    samples = explain(mice, "--bundle", bundles["mouse samples"], *options)
    assert samples["bands"] == []
    ends = [(p["start_s"], p["stop_s"]) for p in samples["parts"]["eeg"]]
    assert ends[0][0] == 0
    assert ends[-1][1] == 1
    assert samples["parts"]["eeg"][0]["undifferenced"] is None
    levels = explain(mice, "--bundle", bundles["mouse levels"], *options)
    assert len(levels["parts"]["eeg"]) == 1
    assert {b["modality"] for b in levels["bands"]} == {"eeg", "emg"}
    people = explain(person, "--bundle", bundles["people samples"], "--at", "60")
    parts = people["parts"]["eog"]
    assert len(parts) == 4
    assert all(p["undifferenced"] is not None for p in parts)
    rows = explain(person, "--bundle", bundles["people levels"], "--at", "60")["parts"]["eeg"]
    assert [r["start_s"] for r in rows] == [0, None, None, None]


def test_the_table_says_what_counts(person, bundles):
    said = run("explain", person, "--bundle", bundles["people samples"], "--at", "22:01:00")
    assert "p1 at 22:01:00: " in said
    assert "the epoch itself" in said
    assert "the net's own" in said


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        (["--at", "40"], RecordingError, "0 to 40 s after its first sample"),
        (["--at", "30"], ConfigError, "--of: expected one of m1, m2, found none"),
        (["--at", "30", "--of", "m3"], ConfigError, "--of: expected one of m1, m2, found m3"),
    ],
)
def test_what_is_no_decision_is_refused(mice, bundles, options, error, sentence):
    with pytest.raises(error, match=sentence):
        explain(mice, "--bundle", bundles["mouse samples"], *BOTH, *options)


def test_an_epoch_without_a_stage_is_refused(tmp_path, bundles):
    flat = write_night(tmp_path / "flat.edf", labels=("EEG1",))
    with pytest.raises(RecordingError, match=r"found UNKNOWN at 21 s .*eeg flat.*nothing was dec"):
        explain(flat, "--bundle", bundles["mouse samples"], "--at", "21.5")
