"""`--unit`, of all channels or of a modality."""

import pytest

from models.errors import ConfigError
from tools.shared.unit import read_unit


@pytest.mark.parametrize(
    ("option", "units"),
    [
        (None, None),
        ("mV", "mV"),
        ("EMG=mV", {"emg": "mV"}),
        ("EEG=µV, EMG=mV", {"eeg": "µV", "emg": "mV"}),
    ],
)
def test_what_is_read(option, units):
    assert read_unit(option) == units


@pytest.mark.parametrize("option", ["", "EMG", "=mV", "EMG=xx", "mV,EMG=V", "EMG=mV,EMG=µV"])
def test_what_is_none_or_said_twice_is_refused(option):
    with pytest.raises(ConfigError, match=r"--unit: expected V, mV, .*each once.* found "):
        read_unit(option)
