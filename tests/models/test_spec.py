import msgspec
import pytest

from models.errors import SpecError
from models.spec import Band, ModelSpec
from tests.support.signals import SPEC


def test_a_spec_survives_json():
    assert msgspec.json.decode(msgspec.json.encode(SPEC), type=ModelSpec) == SPEC


def test_derived_numbers():
    assert (SPEC.n_times, SPEC.n_modalities) == (512, 2)
    assert SPEC.pathways == ("mixed", "eeg", "emg")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stages": ("Awake", "Asleep")}, "stages: expected Wake/NREM/REM or .*found Awake"),
        ({"bands": (Band(1.0, 2.0),)}, "bands: expected one for each of 2 modalities, found 1"),
        ({"n_context": 0}, "n_context: expected more than 0, found 0"),
        ({"sfreq": 511.96}, "whole number of samples"),
    ],
)
def test_contradictions_are_refused(change, message):
    with pytest.raises(SpecError, match=message):
        msgspec.structs.replace(SPEC, **change)
