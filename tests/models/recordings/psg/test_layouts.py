"""Public collections: generated in their layouts, read with their stages and channels."""

from collections import Counter

import numpy as np
import pytest

from models.errors import RecordingError
from models.recordings.hypnograms.interpret import Legend
from models.recordings.hypnograms.read import read_scoring
from models.recordings.lab import LabOptions, open_lab, read_subjects
from models.recordings.psg.layouts import find_collection
from models.stages import HUMAN
from tests.support.bundles import human_spec
from tests.support.recordings.psg import epochs, signal_of, write_psg, write_stages
from tests.support.recordings.wfdb import write_annotations, write_record

SPEC = human_spec(epoch_s=2.0)

STAGES = ["W", "W", "N1", "N2", "N3", "N3", "R", "W"]
INDICES = [0, 0, 1, 2, 3, 3, 4, 0]
EVENT = (0.0, None, "Lights off@@EEG F4-A1")
RK = {"W": "0", "N1": "1", "N2": "2", "N3": "4", "R": "5", "?": "9", "M": "6"}


def sleep_edfx(folder):
    rates = {"EEG Fpz-Cz": 100, "EEG Pz-Oz": 100, "EOG horizontal": 100, "EMG submental": 1}
    write_psg(folder / "sleep-cassette" / "SC4001E0-PSG.edf", rates, STAGES)
    spelt = [s.removeprefix("N") for s in [*STAGES[:4], "4", *STAGES[5:]]]
    bouts = [*epochs(spelt), (240.0, 6000.0, "Sleep stage ?")]
    write_stages(folder / "sleep-cassette" / "SC4001EC-Hypnogram.edf", bouts)


def hmc(folder):
    labels = ("EEG F4-M1", "EEG C4-M1", "EEG O2-M1", "EEG C3-M2", "EMG chin", "EOG E1-M2", "ECG")
    write_psg(folder / "SN001.edf", dict.fromkeys(labels, 256), STAGES)
    write_stages(folder / "SN001_sleepscoring.edf", [EVENT, *epochs(STAGES)])


def hmc_by_text(folder):
    hmc(folder)
    (folder / "SN001_sleepscoring.edf").unlink()
    lines = ["Date, Time, Recording onset, Duration, Annotation, Linked channel"]
    lines += ["2001-01-01, 22:00:00, 0, 0, Lights off, EEG F4-A1"]
    lines += [
        f"2001-01-01, 22:00:00, {on}, {length}, {text}, " for on, length, text in epochs(STAGES)
    ]
    (folder / "SN001_sleepscoring.txt").write_text("\n".join(lines) + "\n")


def isruc(folder):
    labels = ("LOC-A2", "ROC-A1", "F3-A2", "C3-A2", "O1-A2", "F4-A1", "C4-A1", "O2-A1", "X1")
    write_psg(folder / "group2" / "1" / "2" / "2.rec", dict.fromkeys(labels, 200), STAGES)
    codes = {"W": "0", "N1": "1", "N2": "2", "N3": "3", "R": "5"}
    for expert in (1, 2):
        path = folder / "group2" / "1" / "2" / f"2_{expert}.txt"
        path.write_text("".join(f"{codes[stage]}\n" for stage in STAGES) + "\n")


def shhs_psg(folder):
    rates = {"SaO2": 1, "EEG(sec)": 125, "ECG": 125, "EOG(L)": 50, "EOG(R)": 50, "EEG": 125}
    write_psg(folder / "edfs" / "shhs1" / "shhs1-200001.edf", rates, STAGES)
    (folder / "xml").mkdir()


def shhs(folder):
    shhs_psg(folder)
    names = {"W": "Wake", "N1": "Stage 1 sleep", "N2": "Stage 2 sleep", "R": "REM sleep"}
    events = "".join(
        "<ScoredEvent><EventType>Stages|Stages</EventType>"
        f"<EventConcept>{names.get(stage, 'Stage 4 sleep')}|{RK[stage]}</EventConcept>"
        f"<Start>{30 * i}</Start><Duration>30.0</Duration></ScoredEvent>"
        "<ScoredEvent><EventType>Respiratory|Respiratory</EventType>"
        f"<EventConcept>Hypopnea|Hypopnea</EventConcept><Start>{30 * i + 7}</Start>"
        "<Duration>40</Duration></ScoredEvent>"
        for i, stage in enumerate(STAGES)
    )
    text = f"<PSGAnnotation><EpochLength>30</EpochLength><ScoredEvents>{events}</ScoredEvents>"
    (folder / "xml" / "shhs1-200001-nsrr.xml").write_text(f"{text}</PSGAnnotation>")


def shhs_profusion(folder):
    shhs_psg(folder)
    stages = "".join(f"<SleepStage>{RK[stage]}</SleepStage>" for stage in STAGES)
    (folder / "xml" / "shhs1-200001-profusion.xml").write_text(
        "<CMPStudyConfig><EpochLength>30</EpochLength>"
        f"<SleepStages>{stages}</SleepStages></CMPStudyConfig>"
    )


def p2018(folder):
    labels = ("F3-M2", "F4-M1", "C3-M2", "C4-M1", "E1-M2", "Chin1-Chin2", "SaO2")
    header = folder / "tr03-0005" / "tr03-0005.hea"
    write_record(header, {x: signal_of(STAGES, 200, i) for i, x in enumerate(labels)})
    changes = [i for i, s in enumerate(STAGES) if i == 0 or s != STAGES[i - 1]]
    texts = [(6000 * i, STAGES[i]) for i in changes]
    texts += [(7000, "(resp_hypopnea"), (9000, "resp_hypopnea)")]
    write_annotations(header.with_suffix(".arousal"), sorted(texts))


CASES = [
    (sleep_edfx, "sleep-edfx", "SC400", {"eeg": "EEG Fpz-Cz", "eog": "EOG horizontal"}),
    (hmc, "hmc", "SN001", {"eeg": "EEG F4-M1", "eog": "EOG E1-M2"}),
    (hmc_by_text, "hmc", "SN001", {"eeg": "EEG F4-M1", "eog": "EOG E1-M2"}),
    (isruc, "isruc", "group2/1", {"eeg": "F4-A1", "eog": "LOC-A2"}),
    (shhs, "shhs", "200001", {"eeg": "EEG", "eog": "EOG(L)"}),
    (shhs_profusion, "shhs", "200001", {"eeg": "EEG", "eog": "EOG(L)"}),
    (p2018, "p2018", "tr03-0005", {"eeg": "C3-M2", "eog": "E1-M2"}),
]


@pytest.mark.parametrize(("write", "name", "subject", "channels"), CASES)
def test_a_collection_is_known_by_its_files_and_read(tmp_path, write, name, subject, channels):
    write(tmp_path)
    collection = find_collection(tmp_path)
    assert collection is not None
    assert collection.layout.name == name
    ((lab,), left_out) = open_lab([tmp_path], SPEC)
    assert left_out == []
    assert lab.stream.subjects[0].channels == channels
    ((scored),) = read_subjects([lab], SPEC)
    assert scored.name == subject
    every_30_s = scored.stages.reshape(len(STAGES), -1)
    assert every_30_s[:, 7].tolist() == INDICES
    assert scored.usable[20:].all()


def test_one_recording_of_a_collection_is_read_as_one_of_it(tmp_path):
    isruc(tmp_path)
    ((lab,), _) = open_lab([tmp_path / "group2" / "1" / "2" / "2.rec"], SPEC)
    assert lab.stream.subjects[0].channels == {"eeg": "F4-A1", "eog": "LOC-A2"}
    assert set(next(iter(lab.hypnograms.values())).stages) == {*HUMAN}


def test_of_a_day_the_night_with_half_an_hour_around_it_is_kept(tmp_path):
    stages = ["W"] * 100 + ["2"] * 4 + ["W"] * 90
    rates = {"EEG Fpz-Cz": 100, "EOG horizontal": 100}
    data = write_psg(tmp_path / "ST7011J0-PSG.edf", rates, stages)
    bouts = [(0.0, 3000.0, "Sleep stage W"), (3000.0, 120.0, "Sleep stage 2")]
    bouts += [(3120.0, 2700.0, "Sleep stage W")]
    write_stages(tmp_path / "ST7011JP-Hypnogram.edf", bouts)
    ((lab,), _) = open_lab([tmp_path], SPEC)
    assert lab.duration_s == 1800 + 120 + 1800
    recording = lab.open()
    assert (recording.n_samples, recording.duration) == (372_000, 3720.0)
    got = recording.read(371_000, 372_000)[:, 0]
    np.testing.assert_allclose(got, data["EEG Fpz-Cz"][491_000:492_000], atol=0.02)
    np.testing.assert_allclose(recording.timestamps(0, 3), [0, 0.01, 0.02], atol=1e-9)
    assert recording.start.minute == 20
    ((scored),) = read_subjects([lab], SPEC)
    assert Counter(scored.stages.tolist()) == {0: 1800, 2: 60}
    assert scored.stages[900:960].tolist() == [2] * 60
    assert lab.left_out[-1] == "read from 1200 to 4920 s, 1800 s around sleep"


def test_two_nights_of_a_person_have_one_name(tmp_path):
    for night in (1, 2):
        rates = {"EEG Fpz-Cz": 100, "EOG horizontal": 100}
        write_psg(tmp_path / f"SC400{night}E0-PSG.edf", rates, ["2"] * 2, seed=night)
        write_stages(tmp_path / f"SC400{night}EC-Hypnogram.edf", epochs(["2"] * 2))
    labs, _ = open_lab([tmp_path], SPEC)
    assert [lab.subjects for lab in labs] == [{"p1": "SC400"}] * 2


def test_what_nobody_scored_is_told_in_the_words_of_the_collection(tmp_path):
    hmc(tmp_path)
    write_psg(tmp_path / "SN002.edf", {"EEG F4-M1": 256}, ["W"])
    with pytest.raises(RecordingError, match=r"SN002.edf: expected a hypnogram, as hmc has them"):
        open_lab([tmp_path], SPEC)
    assert open_lab([tmp_path], SPEC, LabOptions(skip_unscored=True))[1] == [tmp_path / "SN002.edf"]


def test_a_folder_of_two_collections_is_refused(tmp_path):
    hmc(tmp_path)
    p2018(tmp_path)
    with pytest.raises(RecordingError, match="expected one collection, found files of hmc and p20"):
        open_lab([tmp_path], SPEC)


def test_a_second_hypnogram_of_one_kind_is_refused(tmp_path):
    hmc(tmp_path)
    (tmp_path / "copy").mkdir()
    write_stages(tmp_path / "copy" / "SN001_sleepscoring.edf", epochs(STAGES))
    with pytest.raises(RecordingError, match="expected one hypnogram of SN001, found"):
        open_lab([tmp_path], SPEC)


@pytest.mark.parametrize(
    ("xml", "sentence"),
    [
        ("<CMPStudyConfig><EpochLength>30", "expected whole XML, found"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><x/>', "expected XML in UTF-8 without definitions"),
        ("<Other/>", r"expected PSGAnnotation \(NSRR\) or CMPStudyConfig"),
        ("<PSGAnnotation/>", "expected stages, found none in PSGAnnotation"),
        (
            "<CMPStudyConfig><EpochLength>nan</EpochLength></CMPStudyConfig>",
            "expected seconds in EpochLength, found 'nan'",
        ),
        (
            "<CMPStudyConfig><EpochLength>30</EpochLength><A><SleepStage>7</SleepStage>"  # noqa: ISC004
            "<SleepStage>2</SleepStage></A></CMPStudyConfig>",
            "epoch 1: expected the numbers of rk",
        ),
    ],
)
def test_a_damaged_xml_is_one_sentence(tmp_path, xml, sentence):
    path = tmp_path / "shhs1-200001-nsrr.xml"
    path.write_text(xml)
    with pytest.raises(RecordingError, match=rf"{path.name}: {sentence}"):
        read_scoring(path, HUMAN)


def test_movement_and_unscored_epochs_of_shhs_are_no_stage(tmp_path):
    path = tmp_path / "shhs1-200001-profusion.xml"
    stages = "".join(f"<SleepStage>{code}</SleepStage>" for code in "06952")
    path.write_text(f"<CMPStudyConfig><EpochLength>30</EpochLength>{stages}</CMPStudyConfig>")
    assert read_scoring(path, HUMAN).hypnogram.stages == ("W", "ART", "UNKNOWN", "REM", "N2")


def test_the_real_hypnogram_of_sleep_edfx_is_read(shared_data):
    path = shared_data / "human_raw" / "SC4001EC-Hypnogram.edf"
    found = read_scoring(path, HUMAN)
    assert found.hypnogram.end == 86_400
    assert found.account.seconds == {
        "W": 59_910.0,
        "N1": 1740.0,
        "N2": 7500.0,
        "N3": 6600.0,
        "REM": 3750.0,
    }


def test_a_real_recording_of_sleep_edfx_is_cut_to_its_night(tmp_path, shared_data):
    """Its first 300 s, all awake, under the names that they have in the collection."""
    raw = shared_data / "human_raw"
    psg = (raw / "short_psg.edf").read_bytes()
    (tmp_path / "SC4001E0-PSG.edf").write_bytes(psg)
    write_stages(tmp_path / "SC4001EC-Hypnogram.edf", epochs(["W"] * 10))
    ((lab,), _) = open_lab([tmp_path], SPEC, LabOptions(legend=Legend(same_start=True)))
    assert lab.stream.subjects[0].channels == {"eeg": "EEG Fpz-Cz", "eog": "EOG horizontal"}
    ((scored),) = read_subjects([lab], SPEC)
    assert (scored.stages == 0).all()
    assert scored.usable.mean() > 0.9
