import numpy as np
import pytest

from daemon.config import StreamConfig, SubjectConfig
from models.errors import ConfigError, StreamError
from models.signal.chunk import StreamDescription
from models.signal.montage import Montage

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


def test_the_configured_unit_wins():
    out = montage({"eeg": "EEG1"}, unit="mV").apply(DATA)
    np.testing.assert_allclose(out[:, 0], DATA[:, 0] * 1000.0)


def test_missing_label_names_the_nearest_and_all():
    with pytest.raises(StreamError, match=r"channel 'EEG9'.*EEG1, EMG1.*did you mean 'EEG1'"):
        montage({"eeg": "EEG9"})


def test_without_labels_the_numbers_are_the_way_on():
    with pytest.raises(StreamError, match=r"'EEG', found 1, 2, 3, 4; .*use those"):
        montage({"eeg": "EEG"}, labels=tuple("1234"))
    assert montage({"eeg": "3"}, labels=tuple("1234")).apply(DATA)[0, 0] == DATA[0, 2]


def test_of_a_thousand_labels_a_few_are_named():
    labels = tuple(f"CH{i}" for i in range(1000))
    with pytest.raises(StreamError, match=r"CH31 and 968 more; did you mean 'CH\d+'") as error:
        montage({"eeg": "CH1000"}, labels=labels, units=("µV",) * 1000)
    assert len(str(error.value)) < 400


def test_label_that_occurs_twice_is_refused():
    with pytest.raises(StreamError, match="one channel 'EEG1', found 2"):
        montage({"eeg": "EEG1"}, labels=("EEG1", "EEG1", "a", "b"))


@pytest.mark.parametrize("unit", ["", "furlong"])
def test_unknown_unit_says_what_to_do(unit):
    with pytest.raises(StreamError, match=r"in V, mV or µV, found .*set the stream's unit"):
        montage({"eeg": "EEG1"}, units=(unit,) * 4)


def test_modality_the_model_does_not_read():
    with pytest.raises(ConfigError, match="expected channels for eeg and emg, found ecg"):
        montage({"ecg": "EEG1"})
