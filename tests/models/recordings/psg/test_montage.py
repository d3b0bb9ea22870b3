"""Which channels of a person are staged, by their labels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.electrodes import Lead, read_label
from models.errors import ConfigError
from models.recordings.psg.montage import pick_channels, why_left

READ = ("eeg", "eog")
SLEEP_EDF = ["EEG Fpz-Cz", "EEG Pz-Oz", "EOG horizontal", "EMG submental"]
HMC = ["EEG F4-M1", "EEG C4-M1", "EEG O2-M1", "EEG C3-M2", "EMG chin", "EOG E1-M2", "EOG E2-M2"]
SHHS = ["SaO2", "EEG(sec)", "ECG", "EMG", "EOG(L)", "EOG(R)", "EEG", "AIRFLOW"]
ISRUC = ["LOC-A2", "ROC-A1", "F3-A2", "C3-A2", "O1-A2", "F4-A1", "C4-A1", "O2-A1", "X1", "24"]
P2018 = ["F3-M2", "F4-M1", "C3-M2", "C4-M1", "O1-M2", "O2-M1", "E1-M2", "Chin1-Chin2", "SaO2"]


def chosen(labels, **options):
    return [pick.label for pick in pick_channels(labels, READ, **options).values()]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (SLEEP_EDF, ["EEG Fpz-Cz", "EOG horizontal"]),
        (HMC, ["EEG C4-M1", "EOG E1-M2"]),
        (SHHS, ["EEG", "EOG(L)"]),
        (ISRUC, ["C4-A1", "LOC-A2"]),
        (P2018, ["C4-M1", "E1-M2"]),
        (["C3", "C4", "M1", "M2", "E1", "E2", "O2 sat"], ["C4-M1", "E1-M2"]),
        (["EEG C3-Ref", "EEG A2-Ref", "EOG L"], ["EEG C3-Ref-EEG A2-Ref", "EOG L-EEG A2-Ref"]),
        (["C4-M2", "C3-M2", "Cz-Oz"], ["C3-M2"]),  # the other side's mastoid
        (["C4-M2", "Cz-Oz"], ["C4-M2"]),
        (["F4:M1", "eeg o2m1"], ["F4:M1"]),
        (["EEG2", "EEG1", "ROC-A1", "LOC-ROC"], ["EEG1", "ROC-A1"]),
        (["Pz-Oz", "EEG", "VEOG", "HEOG"], ["EEG", "HEOG"]),
        (["PSG_C3", "PSG_O1", "EOG links"], ["PSG_C3", "EOG links"]),
        (["C3-M2#1", "C3-M2#2"], ["C3-M2#1"]),
        (["Fpz-Cz", "EEG C4-A1A2", "M1", "LEOG", "REOG"], ["EEG C4-A1A2", "LEOG-M1"]),
        (["C4-(M1+M2)/2", "C3-M1", "ROC-A2"], ["C3-M1", "ROC-A2"]),
        (["EEG C3-LE", "EEG A2-LE"], ["EEG C3-LE-EEG A2-LE"]),
        (["TP9", "AF7", "AF8", "TP10"], ["AF7"]),
        (["C3..", "EOG 2", "EOG 1", "EOG V"], ["C3..", "EOG 1"]),
    ],
)
def test_the_channels_that_the_order_says_are_taken(labels, expected):
    assert chosen(labels) == expected


@pytest.mark.parametrize(
    ("spellings", "eye", "reference"),
    [
        ("EOG(L) EOG_L L-EOG LEOG EOGL Left_EOG EOGLeft EOG1 LOC EOGLOC Left/Eye", "e1", ""),
        ("EOG-R REOG EOGR EOGRight EOG2 ROC EOG:ROC HEOGR Right:eye", "e2", ""),
        ("LEOG-M2 EOGL-A2 E1:M2 LOC/A2 EOGLOC-A2 EOG1:A2 Left_Eye-A2", "e1", "m2"),
        ("HEOG EOGH E1-E2 LOC-ROC EOG-horizontal", "horizontal", ""),
        ("VEOG EOGV EOG/vertical", "vertical", ""),
        ("EOG EOG-0 EOGx", "", ""),
    ],
)
def test_an_eye_is_read_in_every_spelling(spellings, eye, reference):
    found = {label: read_label(label) for label in spellings.split()}
    assert found == dict.fromkeys(found, Lead("eog", eye, reference))


@given(st.permutations(HMC))
def test_the_order_in_the_file_is_no_matter_where_derivations_differ(labels):
    assert chosen(labels) == ["EEG C4-M1", "EOG E1-M2"]


def test_a_preferred_derivation_comes_first_in_any_spelling_of_it():
    assert chosen(ISRUC, preferred={"eeg": ("O2-M1", "C4-M1")}) == ["O2-A1", "LOC-A2"]
    assert chosen(HMC, preferred={"eeg": ("Oz-M1", "F4-M1"), "eog": ("E2-M2",)}) == [
        "EEG F4-M1",
        "EOG E2-M2",
    ]
    apart = ["F4", "C4", "M1", "E1"]
    assert chosen(apart, preferred={"eeg": ("F4-M1",)}) == ["F4-M1", "E1-M1"]


@pytest.mark.parametrize(
    "label",
    [
        *("SaO2", "O2 sat", "ECG", "EKG1-EKG2", "EMG chin", "Chin1-Chin2", "Leg/L", "THOR RES"),
        *("P3 pressure", "F3 flow", "ABD", "CO2", "Snore", "Position", "", "°C", "M1-M2"),
    ],
)
def test_other_sensors_are_neither_eeg_nor_eog(label):
    assert read_label(label) is None
    with pytest.raises(ConfigError, match=r"expected an EEG by its label.*name it, as in --eeg"):
        chosen([label])


def test_an_eeg_that_cannot_be_read_is_not_asked_for_by_name():
    unread = {"EEG C4-M1": "25 Hz, too slow to be staged", "SaO2": "1 Hz, too slow to be staged"}
    with pytest.raises(ConfigError) as raised:
        pick_channels(["E1-M2"], READ, others=unread)
    expected = "an EEG that can be read, found EEG C4-M1 (25 Hz, too slow to be staged)"
    assert str(raised.value) == f"expected {expected}"


def test_without_an_eog_the_eeg_alone_is_taken():
    assert chosen(["C3-A2", "EMG"]) == ["C3-A2"]


def test_of_each_channel_that_is_left_it_is_said_why():
    found = pick_channels([*HMC, "M2"], READ)
    assert {label: why_left(label, found) for label in ("EEG F4-M1", "EMG chin", "M2")} == {
        "EEG F4-M1": "EEG C4-M1 comes before it",
        "EMG chin": "no EEG or EOG by its label",
        "M2": "a mastoid that nothing is held against",
    }
    assert [pick.why for pick in found.values()] == [
        "central, against the other side's mastoid",
        "left eye against a mastoid",
    ]
