import msgspec
import numpy as np
import pytest

from models.errors import SpecError
from models.spec import Band, ModelSpec
from tests.support.signals import SPEC


def test_a_spec_survives_json():
    assert msgspec.json.decode(msgspec.json.encode(SPEC), type=ModelSpec) == SPEC


def test_the_pathway_is_a_modality_s_own_where_it_alone_is_valid():
    valid = np.array([[1, 1], [1, 0], [0, 1], [0, 0]], bool)
    assert SPEC.pathway_for(valid).tolist() == [0, 1, 2, 0]
    assert SPEC.pathway_for(valid.reshape(2, 2, 2)).tolist() == [[0, 1], [2, 0]]


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
