"""`hypnod score` on people: channels by their electrodes, and who is not one."""

import json

import pytest
from typer.testing import CliRunner

from engines.errors import BundleError
from models.errors import RecordingError, SpeciesError
from models.species import SHIPPED
from models.teacher import NAME, teacher_hash
from tests.support.bundles import change_manifest, human_spec, make_bundle_of
from tests.support.recordings.psg import write_psg
from tools.cli import app

LABELS = {"EEG F4-M1": 128, "EEG C4-M1": 128, "EMG chin": 128, "EOG E1-M2": 64, "SaO2": 1}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    made = make_bundle_of(human_spec(epoch_s=2.0), tmp_path_factory.mktemp("people"))
    return change_manifest(made, name="people")


def score(*arguments):
    result = CliRunner().invoke(app, ["score", *map(str, arguments)])
    if result.exception is not None:
        raise result.exception
    return result


def test_a_psg_is_staged_from_the_channels_that_a_table_names(tmp_path, bundle):
    write_psg(tmp_path / "p.edf", LABELS, ["W", "N2"])
    result = score(tmp_path / "p.edf", "--bundle", bundle, "--json")
    subject = json.loads(result.stdout)["subjects"]["p1"]
    assert subject["channels"] == {"eeg": "EEG C4-M1", "eog": "EOG E1-M2"}
    assert subject["epochs"] == 30
    table = " ".join(result.stderr.split())
    assert "EEG C4-M1 │ EEG │ central, against the other side's mastoid" in table
    assert "EEG F4-M1 │ – │ EEG C4-M1 comes before it" in table
    assert "SaO2 │ – │ 1 Hz, too slow to be staged" in table


def test_channels_that_are_named_are_taken_and_no_table_is_shown(tmp_path, bundle):
    write_psg(tmp_path / "p.edf", LABELS, ["W", "N2"])
    options = ["--bundle", bundle, "--eeg", "EEG F4-M1", "--json"]
    result = score(tmp_path / "p.edf", *options)
    assert json.loads(result.stdout)["subjects"]["p1"]["channels"] == {"eeg": "EEG F4-M1"}
    assert "comes before it" not in result.stderr


def test_a_person_without_eog_is_said_to_be(tmp_path, bundle):
    write_psg(tmp_path / "p.edf", {"C3-A2": 100}, ["W", "N2"])
    result = score(tmp_path / "p.edf", "--bundle", bundle)
    assert "no EOG by its label: staged by the EEG alone" in result.stderr


def test_an_animal_is_refused_and_its_bundle_named(tmp_path, bundle):
    write_psg(tmp_path / "m.edf", {"EEG1": 128, "EMG1": 128}, ["W", "N2"])
    options = [tmp_path / "m.edf", "--bundle", bundle]
    sentence = "found EMG1: labels of a mouse, which the bundle sdreamer-mouse stages"
    with pytest.raises(SpeciesError, match=sentence):
        score(*options)
    assert score(*options, "--anyway", "--json")


def test_the_species_chooses_the_shipped_bundle(tmp_path, bundle, monkeypatch):
    write_psg(tmp_path / "p.edf", LABELS, ["W", "N2"])
    with pytest.raises(SpeciesError, match=f"the bundle {SHIPPED['human']} stages"):
        score(tmp_path / "p.edf")
    monkeypatch.setitem(SHIPPED, "human", str(bundle))
    assert "people" in score(tmp_path / "p.edf", "--species", "human", "--json").stdout
    with pytest.raises(BundleError, match="of the species mouse, found one of the species human"):
        score(tmp_path / "p.edf", "--species", "mouse", "--bundle", bundle)


def test_the_offline_teacher_stages_a_psg_with_or_without_an_eog_and_is_named(tmp_path):
    for name, labels in (("both", LABELS), ("alone", {"C3-A2": 100})):
        psg, table = tmp_path / f"{name}.edf", tmp_path / f"{name}-out.csv"
        write_psg(psg, labels, ["W", "N2", "N3", "N2"] * 10)
        options = ["--species", "human", "--offline", "--json", "--csv", table]
        summary = json.loads(score(psg, *options).stdout)
        said = (summary["bundle"], summary["kind"], summary["model"])
        assert said == (NAME, NAME, teacher_hash("human")[:12])
        assert summary["subjects"]["p1"]["epochs"] == 40
        text = table.read_text(encoding="utf-8")
        assert text.count(f"hypnod: {NAME} {teacher_hash('human')[:12]}") == 40
    with pytest.raises(SpeciesError, match="--species human"):
        score(tmp_path / "both.edf", "--offline")
    write_psg(tmp_path / "eye.edf", {"EOG E1-M2": 100}, ["W", "N2"])
    with pytest.raises(RecordingError, match="found no eeg"):
        score(tmp_path / "eye.edf", "--species", "human", "--offline", "--eog", "EOG E1-M2")
