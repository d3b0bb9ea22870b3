import msgspec
import pytest

from models.recordings.open import open_recording
from models.species import contradict, find_human_labels
from models.stages import HUMAN
from tests.support.bundles import mouse_spec

MOUSE_LABELS = (
    ["EEG1", "EMG1", "EEG2", "EMG2"],
    ["EEG frontal", "EEG parietal", "EMG neck", "Temp"],
    ["C3 EEG", "C3 EMG", "C4 EEG", "C4 EMG"],  # cages
    ["M1", "M2", "A1", "A2", "B1", "B2"],
    ["M1-M2", "EMG1-EMG2", "F1", "P1"],
    ["EEG F3", "EEG P3", "EMG"],
    ["CH3", "A-003", "EEG_EEG1A-B", "EMG2a", "Pz1 fan"],
    ["E1", "E2", "LFP", "ECoG", "geologic"],
)


def person_spec():
    return msgspec.structs.replace(mouse_spec(), species="human", stages=HUMAN)


@pytest.mark.parametrize("labels", MOUSE_LABELS)
def test_a_mouse_is_not_taken_for_a_person(labels):
    assert find_human_labels(labels) == []
    assert contradict(labels, mouse_spec()) is None


@pytest.mark.parametrize(
    "label",
    [
        *("EEG Fpz-Cz", "EEG Pz-Oz", "EOG horizontal", "EOG1", "Fp1", "C3-A2", "EEG C4M1"),
        *("F3:M2", "LOC-A2", "E1-M2", "EMG submental", "EMG Chin", "VEOG", "O1-O2", "eeg_cz"),
    ],
)
def test_one_label_of_a_person_tells(label):
    found = contradict(["EEG1", label, "EMG1"], mouse_spec())
    assert found == (
        f"expected channels of a mouse, found {label}: labels of a person, whom the bundle "
        "sleepdifformer-human stages (--species human, or species under [engine])"
    )


@pytest.mark.parametrize(
    "labels", [["EEG1", "EMG1"], ["EEG", "EMG"], ["LFP CA1", "EMG neck"], ["EEG F3", "EMG", "Temp"]]
)
def test_an_animal_in_front_of_a_model_of_people_is_told(labels):
    found = contradict(labels, person_spec())
    assert found is not None
    assert found.endswith(
        "labels of a mouse, which the bundle sdreamer-mouse stages "
        "(--species mouse, or species under [engine])"
    )


@pytest.mark.parametrize(
    "labels",
    [
        *(["EEG Fpz-Cz", "EMG submental"], ["EEG", "EMG", "EOG(L)"], ["EEG1", "EEG2"]),
        *(["C3", "C4", "M1", "EMG chin"], ["EEG", "EMG Leg", "EMG TIB"]),
    ],
)
def test_a_person_is_not_taken_for_an_animal(labels):
    assert contradict(labels, person_spec()) is None


def test_electrodes_over_three_regions_tell():
    assert find_human_labels(["F3", "C3", "O1", "EMG"]) == ["F3", "C3", "O1"]
    assert find_human_labels(["F3", "F4", "C3", "EMG"]) == []


def test_a_bundle_of_people_or_with_eyes_is_not_contradicted():
    assert contradict(["EEG Fpz-Cz", "EOG"], person_spec()) is None
    mouse = mouse_spec()
    with_eyes = msgspec.structs.replace(
        mouse,
        modalities=(*mouse.modalities, "eog"),
        bands=(*mouse.bands, mouse.bands[0]),
        token_shape=(3, 128),
    )
    assert contradict(["EEG", "EMG", "EOG"], with_eyes) is None
    assert contradict(["EEG", "EMG", "EOG", "Cz"], with_eyes) is not None


def test_real_people_are_told_from_real_mice(shared_data):
    for path in sorted(shared_data.glob("mouse_*/*.edf")):
        assert find_human_labels(open_recording(path).ch_names) == []
    person = open_recording(shared_data / "human_raw" / "short_psg.edf")
    found = find_human_labels((*person.ch_names, *person.skipped))
    assert found == ["EEG Fpz-Cz", "EEG Pz-Oz", "EOG horizontal", "EMG submental"]
