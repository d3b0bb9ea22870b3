import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.config import StreamConfig, SubjectConfig
from models.errors import ConfigError, StreamError
from models.signal.chunk import StreamDescription, number_duplicates
from models.signal.montage import Montage, no_channel

MODALITIES = ("eeg", "emg")
LABELS = ("EEG1", "EMG1", "EMG2", "Fpz-Cz")


def montage(*channels, units=("µV",) * 4, labels=LABELS, unit=None):
    subjects = tuple(SubjectConfig(name=f"m{i}", channels=c) for i, c in enumerate(channels))
    stream = StreamConfig(name="cage", match={}, subjects=subjects, unit=unit)
    return Montage(stream, StreamDescription("rig", labels, units, 512.0), MODALITIES)


DATA = np.arange(20, dtype=np.float32).reshape(5, 4)


def test_channels_are_picked_by_label_and_differences_taken():
    m = montage({"eeg": "EEG1", "emg": "EMG1-EMG2"}, {"emg": "EMG2", "eeg": "Fpz-Cz"})
    out = m.apply(DATA)
    np.testing.assert_array_equal(out[:, 0], DATA[:, 0])
    np.testing.assert_array_equal(out[:, 1], DATA[:, 1] - DATA[:, 2])
    np.testing.assert_array_equal(out[:, 2], DATA[:, 3])
    np.testing.assert_array_equal(out[:, 3], DATA[:, 2])


def test_each_channel_of_a_difference_has_its_own_unit():
    m = montage({"emg": "EMG1-EMG2"}, units=("uV", "mV", "microvolts", "V"))
    out = m.apply(DATA)
    np.testing.assert_allclose(out[:, 1], DATA[:, 1] * 1000.0 - DATA[:, 2])
    assert np.isnan(out[:, 0]).all()


def test_a_unit_of_one_modality_leaves_the_others_as_they_are_declared():
    both = {"eeg": "EEG1", "emg": "EMG1"}
    out = montage(both, unit={"emg": "mV"}).apply(DATA)
    plain = montage(both).apply(DATA)
    assert np.array_equal(out[:, 0], plain[:, 0])
    assert np.array_equal(out[:, 1], 1000 * plain[:, 1])
    with pytest.raises(StreamError, match=r'found no unit; set unit = \{ emg = "µV" \} for this'):
        montage(both, units=("µV", "", "µV", "µV"))
    with pytest.raises(ConfigError, match="unit: expected units of eeg and emg, found one of eog"):
        montage(both, unit={"eog": "mV"})


def test_the_configured_unit_wins():
    out = montage({"eeg": "EEG1"}, unit="mV").apply(DATA)
    np.testing.assert_allclose(out[:, 0], DATA[:, 0] * 1000.0)


def test_missing_label_names_the_nearest_and_all():
    with pytest.raises(StreamError, match=r"channel 'EEG9'.*EEG1, EMG1.*did you mean 'EEG1'"):
        montage({"eeg": "EEG9"})


@pytest.mark.parametrize(
    ("label", "names", "meant"),
    [
        ("EEG E1-M2", ("EEG C4-M1", "EOG E1-M2"), "EEG C4-M1"),
        ("EEG E1-M2", ("P8", "EOG E1-M2"), None),
        ("eeg e1-m2", ("eeg c4-m1", "eog e1-m2"), "eeg c4-m1"),
        ("EEG-EOG-1", ("EEG-EOG-2", "EMG-1"), "EEG-EOG-2"),
        ("E1-M1", ("C4-M1", "EOG E1-M1"), "EOG E1-M1"),
    ],
)
def test_what_is_said_to_be_of_another_kind_is_not_meant(label, names, meant):
    said = no_channel(label, names)
    hint = "" if meant is None else f"; did you mean {meant!r}?"
    assert said == f"expected a channel {label!r}, found {', '.join(names)}{hint}"


def test_one_that_cannot_be_read_may_be_left_out():
    said = no_channel("EOG", ("EEG",), {"EOG": "25 Hz, too slow to be staged"})
    assert said == (
        "expected a channel 'EOG' that can be read, found one of 25 Hz, too slow to be staged: "
        "leave it out"
    )


def test_of_a_label_that_occurs_twice_the_place_says_which_is_meant():
    labels = ("EEG1", "EEG1", "", " b ")
    with pytest.raises(StreamError, match=r"channel 'EEG1', found EEG1#1, EEG1#2, 3, b; did you"):
        montage({"eeg": "EEG1"}, labels=labels)
    out = montage({"eeg": "EEG1#2", "emg": "3-b"}, labels=labels).apply(DATA)
    np.testing.assert_array_equal(out, np.stack([DATA[:, 1], DATA[:, 2] - DATA[:, 3]], axis=1))


@given(
    st.lists(st.sampled_from(["EEG", "EEG\r\n", "EEG#1", "EEG#1#2", "1", "", "\x1b"]), max_size=6)
)
def test_labels_are_told_apart_and_hold_nothing_that_a_terminal_obeys(labels):
    told = number_duplicates(labels)
    assert len({*told}) == len(labels)
    assert all(label.isprintable() and label == label.strip() for label in told)


@pytest.mark.parametrize(
    ("eeg", "emg", "sentence"),
    [
        ("EEG1-EMG1", "EMG1-EEG1", "another signal as emg of m0 than 'EEG1-EMG1', found 'EMG1-EE"),
        ("EEG1", "EEG1", "another signal as emg of m0 than 'EEG1', found 'EEG1'"),
        ("EEG1", "EMG1-EMG1", "two channels as emg of m0, found 'EMG1-EMG1'"),
    ],
)
def test_a_signal_is_another_only_if_more_than_its_sign_is(eeg, emg, sentence):
    with pytest.raises(StreamError, match=sentence):
        montage({"eeg": eeg, "emg": emg})


def test_without_labels_the_numbers_are_the_way_on():
    with pytest.raises(StreamError, match=r"'EEG', found 1, 2, 3, 4; .*use those"):
        montage({"eeg": "EEG"}, labels=tuple("1234"))
    assert montage({"eeg": "3"}, labels=tuple("1234")).apply(DATA)[0, 0] == DATA[0, 2]


def test_of_a_thousand_labels_a_few_are_named():
    labels = tuple(f"CH{i}" for i in range(1000))
    with pytest.raises(StreamError, match=r"CH31 and 968 more; did you mean 'CH\d+'") as error:
        montage({"eeg": "CH1000"}, labels=labels, units=("µV",) * 1000)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("units", "microvolts"),
    [
        (("V", "volts", "0", "0.0", " v "), 1e6),
        (("mV", "millivolt", "-3", "MV"), 1e3),
        (("µV", "μV", "uV", "UV", "uVolt", "muV", "mcV", "mkV", "µ V", "-6", "-6.0"), 1.0),
        (("microvolts", "?V", "\ufffdV", "æV", "\x83ÊV"), 1.0),
        (("nV", "nanovolts", "-9"), 1e-3),
    ],
)
def test_units_are_read_however_they_are_spelt(units, microvolts):
    for unit in units:
        out = montage({"eeg": "EEG1"}, units=(unit,) * 4).apply(DATA)
        np.testing.assert_allclose(out[:, 0], DATA[:, 0] * microvolts)


@pytest.mark.parametrize("unit", ["", "furlong", "uV/bit", "-5", "counts", "%"])
def test_an_unknown_unit_says_what_to_do(unit):
    with pytest.raises(StreamError, match=r'in V, mV, µV or nV, found .*set unit = "µV" for this'):
        montage({"eeg": "EEG1"}, units=(unit,) * 4)


def test_modality_the_model_does_not_read():
    with pytest.raises(ConfigError, match="expected channels for eeg and emg, found ecg"):
        montage({"ecg": "EEG1"})
