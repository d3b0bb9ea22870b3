"""Whose channels a recording's are, and what is said of them."""

import pytest

from models.errors import ConfigError, RecordingError, SpeciesError
from models.recordings.as_stream import condition
from models.recordings.channels import choose
from tests.support.bundles import human_spec
from tests.support.recordings.psg import write_psg
from tests.support.signals import SPEC as MOUSE

PERSON = human_spec(epoch_s=2.0)

SHHS = {"EEG(sec)": 125, "ECG": 125, "EOG(L)": 50, "EOG(R)": 50, "EEG": 125, "AIRFLOW": 10}


def test_a_person_is_read_by_electrodes_each_channel_at_its_rate(tmp_path):
    write_psg(tmp_path / "p.edf", SHHS, ["W"])
    found = choose(tmp_path / "p.edf", None, {}, (), PERSON)
    assert found.stream.subjects[0].channels == {"eeg": "EEG", "eog": "EOG(L)"}
    assert (found.recording.ch_names, found.recording.sfreq) == (("EEG", "EOG(L)"), 125.0)
    assert found.recording.read(0, 3750).shape == (3750, 2)
    assert found.table == [
        ("EEG", "eeg", "EEG, its site unknown"),
        ("EOG(L)", "eog", "left eye"),
        ("EEG(sec)", "", "EEG comes before it"),
        ("ECG", "", "no EEG or EOG by its label"),
        ("EOG(R)", "", "EOG(L) comes before it"),
        ("AIRFLOW", "", "10 Hz, too slow to be staged"),
    ]
    assert "eog = EOG(L) (left eye)" in found.guess[0]


def test_a_person_without_an_eog_is_staged_by_the_eeg_alone_and_it_is_said(tmp_path):
    write_psg(tmp_path / "p.edf", {"C3": 100, "M2": 100, "EMG chin": 100}, ["W"])
    found = choose(tmp_path / "p.edf", None, {}, (), PERSON)
    assert found.stream.subjects[0].channels == {"eeg": "C3-M2"}
    assert found.guess[-1] == "no EOG by its label: staged by the EEG alone"
    _, usable, _ = condition(found.recording, found.stream, PERSON)
    assert usable[0, -1].tolist() == [True, False]


def test_a_channel_that_is_too_slow_is_said_to_be_and_not_to_be_missing(tmp_path):
    slow = {"C3-M2": 100, "E1-M2": 25, "ROC": 25, "Temp": 1}
    write_psg(tmp_path / "p.edf", slow, ["W"])
    found = choose(tmp_path / "p.edf", None, {}, (), PERSON)
    why = "(25 Hz, too slow to be staged)"
    sentence = f"no EOG that can be read, E1-M2 {why}, ROC {why}: staged by the EEG alone"
    assert found.absent == [sentence]
    write_psg(tmp_path / "q.edf", {"C3-M2": 25, "EMG chin": 100}, ["W"])
    sentence = r"expected an EEG that can be read, found C3-M2 \(25 Hz, too slow to be staged\)"
    with pytest.raises(ConfigError, match=sentence):
        choose(tmp_path / "q.edf", None, {}, (), PERSON)


def test_what_somebody_names_is_taken_and_nothing_guessed(tmp_path):
    write_psg(tmp_path / "p.edf", SHHS, ["W"])
    found = choose(tmp_path / "p.edf", None, {"eeg": ["EEG(sec)"]}, (), PERSON)
    assert found.stream.subjects[0].channels == {"eeg": "EEG(sec)"}
    assert (found.table, found.guess) == ([], [])
    found = choose(tmp_path / "p.edf", None, {"eog": ["EOG(L)"]}, (), PERSON)
    assert found.guess == [
        "no EEG of p1: staged by the EOG alone, which nobody has measured on real people"
    ]


def test_fifty_hertz_are_enough_for_people_and_not_for_mice(tmp_path):
    write_psg(tmp_path / "p.edf", {"C4-M1": 50, "E1-M2": 50}, ["W"])
    found = choose(tmp_path / "p.edf", None, {}, (), PERSON)
    assert condition(found.recording, found.stream, PERSON).usable[0, -1].all()
    write_psg(tmp_path / "m.edf", {"EEG": 64, "EMG": 64}, ["W"])
    found = choose(tmp_path / "m.edf", None, {}, (), MOUSE)
    with pytest.raises(RecordingError, match="from 100 Hz for a mouse, found 64 Hz"):
        condition(found.recording, found.stream, MOUSE)


def test_a_person_in_front_of_a_model_of_mice_is_told_which_bundle_there_is(tmp_path):
    write_psg(tmp_path / "p.edf", {"EEG Fpz-Cz": 100, "EEG Pz-Oz": 100, "EOG": 100}, ["W"])
    with pytest.raises(SpeciesError, match=r"bundle sleepdifformer-human .*name its channels"):
        choose(tmp_path / "p.edf", None, {}, (), MOUSE)


def test_a_real_persons_channels(shared_data):
    found = choose(shared_data / "human_raw" / "short_psg.edf", None, {}, (), PERSON)
    assert found.stream.subjects[0].channels == {"eeg": "EEG Fpz-Cz", "eog": "EOG horizontal"}
    assert found.unused["EMG submental"] == "1 Hz, too slow to be staged"
