"""Finding a lab's recordings with their hypnograms, and reading them as the daemon would."""

import numpy as np
import pytest
from scipy import io

from models.errors import RecordingError
from models.recordings.as_stream import condition
from models.recordings.base import ArrayRecording
from models.recordings.find import find_recordings
from models.recordings.hypnogram import Hypnogram
from models.recordings.hypnograms.interpret import Legend
from models.recordings.lab import LabOptions, open_lab, read_subjects
from models.recordings.writers import write_csv, write_edf, write_events
from models.simulator.mouse.simulate import SimulatedMice
from models.stages import MOUSE, UNSCORED, to_indices
from tests.support.recordings.edf import write_channels, write_interrupted_edf
from tests.support.recordings.xdf import write_xdf
from tests.support.signals import SPEC, stream_config
from tools.simulate import write_edf as write_simulated

SECONDS = 30
SIMULATION = {"duration_s": SECONDS, "sfreq": 256.0, "time_scale": 20, "every_stage": True}


def simulate(path, seed=1, n_subjects=1):
    """Write simulated mice with their hypnograms inside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mice = SimulatedMice(seed=seed, n_subjects=n_subjects, **SIMULATION).subjects()
    write_simulated(path, mice, SIMULATION["sfreq"], n_subjects)
    return path


def hypnogram(epoch_s=1.0, n=SECONDS):
    stages = [MOUSE[i % 3] for i in range(int(n / epoch_s))]
    return Hypnogram.from_epochs(stages, epoch_s)


@pytest.mark.parametrize(
    ("recording", "beside", "subject"),
    [
        ("night.edf", "night.csv", "night"),
        ("mouse7/night.edf", "mouse7/night_events.tsv", "mouse7"),
        ("mouse7/day 2/night.BDF", "mouse7/day 2/night_Hypnogram.edf", "mouse7"),
        ("sub-a1/ses-1/eeg/sub-a1_ses-1_eeg.edf", "sub-a1_ses-1_events.tsv", "sub-a1"),
        ("night.xdf", "night_hypnogram.mat", "night"),
        ("night.xdf", None, "night"),
        ("night.mat", "night.mat", "night"),
        ("night.edf", "night.edf", "night"),
    ],
)
def test_a_recording_is_paired_and_named(tmp_path, recording, beside, subject):
    path = tmp_path / recording
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    expected = None if beside is None else path.parent / beside.rpartition("/")[2]
    if expected is not None:
        expected.touch()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "other.edf").touch()
    (path.parent / "notes.txt").touch()
    assert find_recordings([tmp_path]) == [(subject, path, expected, (), None)]
    assert find_recordings([path, tmp_path])[0].recording == path


def test_two_hypnograms_beside_a_recording_are_named(tmp_path):
    for name in ("night.edf", "night.csv", "night_events.tsv"):
        (tmp_path / name).touch()
    with pytest.raises(RecordingError, match=r"expected one .* found night.csv and night_events"):
        find_recordings([tmp_path])


def test_what_holds_no_recording_is_named(tmp_path):
    with pytest.raises(RecordingError, match=r"found a folder without any$"):
        find_recordings([tmp_path])
    with pytest.raises(RecordingError, match=r"nowhere: expected recordings .* found no file or"):
        find_recordings([tmp_path / "nowhere"])


def test_a_stream_cannot_be_chosen_where_no_recording_has_any(tmp_path):
    simulate(tmp_path / "night.edf")
    options = LabOptions(match={"name": "rack"})
    with pytest.raises(RecordingError, match=r"--match name=rack: expected an XDF .*night\.edf"):
        open_lab([tmp_path], SPEC, options)


def test_a_recording_without_a_hypnogram_is_named_or_left_out_when_told(tmp_path):
    simulate(tmp_path / "scored.edf")
    write_interrupted_edf(tmp_path / "plain.edf", range(5))  # its annotations are no stages
    with pytest.raises(RecordingError, match=r"plain\.edf: expected a hypnogram, .*plain\.csv"):
        open_lab([tmp_path], SPEC)
    scored, unscored = open_lab([tmp_path], SPEC, LabOptions(skip_unscored=True))
    assert [lab.name for lab in scored] == [str(tmp_path / "scored.edf")]
    assert unscored == [tmp_path / "plain.edf"]
    with pytest.raises(RecordingError, match="expected a hypnogram"):
        open_lab([tmp_path / "plain.edf"], SPEC, LabOptions(skip_unscored=True))


def test_a_channel_that_is_not_there_is_told_before_anything_is_read(tmp_path):
    simulate(tmp_path / "night.edf")
    with pytest.raises(RecordingError, match=r"night\.edf.*channel 'EEG7', found EEG1, EMG1"):
        open_lab([tmp_path], SPEC, LabOptions(eeg=("EEG7",), emg=("EMG1",)))


def test_subjects_are_what_training_on_the_same_samples_would_see(tmp_path):
    simulate(tmp_path / "mouse7" / "night.edf")
    (subject,) = read_subjects(open_lab([tmp_path], SPEC)[0], SPEC)
    truth = SimulatedMice(seed=1, **SIMULATION).record()
    assert subject.name == "mouse7"
    assert np.array_equal(subject.stages, to_indices(truth.hypnograms[0], MOUSE))
    assert subject.usable.all()
    exact = ArrayRecording.of_microvolts("m", truth.ch_names, truth.sfreq, truth.data)
    (expected,), *_ = condition(exact, stream_config(), SPEC)
    assert subject.epochs.shape == expected.shape == (SECONDS, 2, 512)
    assert np.median(np.abs(subject.epochs - expected)) < 2e-3  # the EDF has 16 bits


def test_a_recording_that_is_there_under_two_names_is_told(tmp_path):
    for name in ("mouse1", "mouse2", "mouse3"):
        simulate(tmp_path / f"{name}.edf", seed=2 if name == "mouse2" else 1)
    one, two, three = open_lab([tmp_path], SPEC)[0]
    assert (one.left_out, two.left_out) == ((), ())
    assert three.left_out == (f"the very same file as {one.path}, counted once more",)


TWO = LabOptions(eeg=("EEG1", "EEG2"), emg=("EMG1", "EMG2"))


def test_each_of_several_subjects_has_its_own_name_and_hypnogram(tmp_path):
    simulate(tmp_path / "cage" / "night.edf", n_subjects=2)
    subjects = list(read_subjects(open_lab([tmp_path], SPEC, TWO)[0], SPEC))
    assert [subject.name for subject in subjects] == ["cage/m1", "cage/m2"]
    truth = SimulatedMice(seed=1, n_subjects=2, **SIMULATION).record()
    for subject, stages in zip(subjects, truth.hypnograms, strict=True):
        assert np.array_equal(subject.stages, to_indices(stages, MOUSE))


def test_several_subjects_do_not_share_the_stages_of_nobody(tmp_path):
    simulate(tmp_path / "night.edf", n_subjects=2)
    write_events(tmp_path / "night.tsv", {"m1": hypnogram(), "m2": hypnogram(4.0, 28)})
    first, second = read_subjects(open_lab([tmp_path], SPEC, TWO)[0], SPEC)
    assert (first.stages[1], second.stages[1]) == (1, 0)
    (tmp_path / "night.tsv").unlink()
    write_csv(tmp_path / "night.csv", hypnogram())
    with pytest.raises(RecordingError, match=r"night\.csv: .* m1, m2, found stages of nobody"):
        open_lab([tmp_path], SPEC, TWO)


def test_of_a_table_of_several_animals_the_one_of_the_path_is_read(tmp_path):
    simulate(tmp_path / "mouse2" / "night.edf")
    whose = {"m1": hypnogram(), "mouse2": hypnogram(4.0, 28)}
    write_events(tmp_path / "mouse2" / "night.tsv", whose)
    (subject,) = read_subjects(open_lab([tmp_path], SPEC)[0], SPEC)
    assert (
        subject.stages.tolist() == to_indices(whose["mouse2"].to_epochs(1, SECONDS), MOUSE).tolist()
    )
    (tmp_path / "mouse2").rename(tmp_path / "mouse3")
    with pytest.raises(RecordingError, match="of mouse3, found those of m1, mouse2"):
        open_lab([tmp_path], SPEC)


@pytest.mark.parametrize("epoch_s", [4.0, 10.0])
def test_an_experts_longer_epochs_are_spread_and_artefacts_unscored(tmp_path, epoch_s):
    simulate(tmp_path / "night.edf")
    stages = ["Wake", "ART", "REM", "?", *["NREM"] * 4]
    scored = Hypnogram.from_epochs(stages[: int(SECONDS / epoch_s)], epoch_s)
    write_csv(tmp_path / "night.csv", scored)
    (subject,) = read_subjects(open_lab([tmp_path], SPEC)[0], SPEC)
    assert subject.scored_in == epoch_s
    expected = [0, UNSCORED, 2, UNSCORED, *[1] * 4]
    for k, stage in enumerate(subject.stages.tolist()):
        epoch = int(k // epoch_s)
        assert stage == (expected[epoch] if epoch < len(scored.stages) else UNSCORED)


def test_every_kind_of_hypnogram_says_the_same(tmp_path):
    simulate(tmp_path / "0" / "night.edf")
    for i in range(1, 5):
        (tmp_path / str(i)).mkdir()
        (tmp_path / str(i) / "night.edf").write_bytes((tmp_path / "0" / "night.edf").read_bytes())
    write_csv(tmp_path / "0" / "night.csv", hypnogram())
    write_events(tmp_path / "1" / "night_events.tsv", {"m1": hypnogram()})
    write_edf(tmp_path / "2" / "night_hypnogram.edf", {"m1": hypnogram()})
    (tmp_path / "3" / "night.txt").write_text("\n".join(hypnogram().stages))
    numbers = to_indices(hypnogram().stages, MOUSE)
    io.savemat(tmp_path / "4" / "night_hypnogram.mat", {"sleep_scores": numbers})
    recordings, _ = open_lab([tmp_path], SPEC, LabOptions(legend=Legend(epoch_s=1.0)))
    for subject in read_subjects(recordings, SPEC):
        assert np.array_equal(subject.stages, numbers), subject.name


def test_a_mat_holds_its_own_scores_and_needs_a_unit(tmp_path):
    data = SimulatedMice(seed=1, **SIMULATION).record().data
    signals = {"eeg": data[:, 0], "emg": data[:, 1], "eeg_frequency": SIMULATION["sfreq"]}
    io.savemat(tmp_path / "a.mat", signals)
    with pytest.raises(RecordingError, match=r"a\.mat: expected a hypnogram"):
        open_lab([tmp_path], SPEC)
    io.savemat(tmp_path / "a.mat", signals | {"sleep_scores": np.full(SECONDS, 2.0)})
    with pytest.raises(RecordingError, match=r"found 2 and no 0: .* --codes sdreamer"):
        open_lab([tmp_path], SPEC, LabOptions(unit="µV"))
    options = LabOptions(unit="µV", legend=Legend(codes="sdreamer"))
    (subject,) = read_subjects(open_lab([tmp_path], SPEC, options)[0], SPEC)
    assert subject.stages.tolist() == [2] * SECONDS


def test_a_night_is_the_same_whatever_file_it_is_in(tmp_path):
    mouse = SimulatedMice(seed=1, **SIMULATION).record()
    numbers, sfreq = to_indices(mouse.hypnograms[0], MOUSE), SIMULATION["sfreq"]
    simulate(tmp_path / "edf" / "night.edf")
    for kind in ("mat", "xdf"):
        (tmp_path / kind).mkdir()
    signals = {"eeg": mouse.data[:, 0], "emg": mouse.data[:, 1], "eeg_frequency": sfreq}
    io.savemat(tmp_path / "mat" / "night.mat", signals | {"sleep_scores": numbers})
    write_xdf(tmp_path / "xdf" / "night.xdf", mouse.data, mouse.ch_names, sfreq)
    write_csv(tmp_path / "xdf" / "night.csv", Hypnogram.from_epochs(mouse.hypnograms[0], 1.0))
    recordings, _ = open_lab([tmp_path], SPEC, LabOptions(unit="µV"))
    edf, mat, xdf = read_subjects(recordings, SPEC)
    assert [s.name for s in (edf, mat, xdf)] == ["edf", "mat", "xdf"]
    assert np.array_equal(mat.epochs, xdf.epochs)
    assert np.median(np.abs(mat.epochs - edf.epochs)) < 2e-3  # the EDF has 16 bits
    for subject in (edf, mat, xdf):
        assert np.array_equal(subject.stages, numbers)
        assert subject.usable.all()


def test_epochs_in_a_gap_are_not_usable_and_hold_no_nan(tmp_path):
    write_interrupted_edf(tmp_path / "gap.edf", [*range(12), *range(15, 30)])
    write_csv(tmp_path / "gap.csv", hypnogram())
    (subject,) = read_subjects(open_lab([tmp_path], SPEC)[0], SPEC)
    assert np.flatnonzero(~subject.usable[:, 0]).tolist() == [12, 13, 14]
    assert not subject.usable[:, 1].any()  # it has no EMG
    assert np.isfinite(subject.epochs).all()


def test_a_recording_without_a_whole_epoch_is_refused(tmp_path):
    wave = np.sin(np.arange(100.0))
    write_channels(tmp_path / "short.edf", [wave, wave], ("EEG", "EMG"), 200, record_s=0.5)
    write_csv(tmp_path / "short.csv", hypnogram(n=1))
    recordings, _ = open_lab([tmp_path], SPEC, LabOptions(unit="uV"))
    with pytest.raises(RecordingError, match=r"at least one epoch of 1 s, found 0\.5 s"):
        list(read_subjects(recordings, SPEC))


def test_a_hypnogram_of_another_recording_is_refused(tmp_path):
    simulate(tmp_path / "night.edf")
    write_csv(tmp_path / "night.csv", hypnogram(n=20))
    how = r"\.edf: expected .* 30 s, found one of 20 s \(20 × 1 s\): write .*--hypnogram-epoch"
    with pytest.raises(RecordingError, match=how):
        open_lab([tmp_path], SPEC)


def test_what_hypnod_wrote_beside_a_recording_is_passed_over_and_named(tmp_path):
    simulate(tmp_path / "night.edf")
    own = Hypnogram.from_epochs(["REM"] * SECONDS, 1.0)
    write_events(tmp_path / "night_events.tsv", {"m1": own}, "hypnod: a bundle")
    write_edf(tmp_path / "night_hypnogram.edf", {"m1": own}, by="hypnod: a bundle")
    write_csv(tmp_path / "night.csv", own, {"staged_by": ["hypnod: a bundle"] * SECONDS})
    ((lab,), _) = open_lab([tmp_path], SPEC)
    truth = SimulatedMice(seed=1, **SIMULATION).record().hypnograms[0]
    assert lab.hypnograms["m1"].to_epochs(1.0, SECONDS) == [*truth]
    assert lab.accounts["m1"].file == str(tmp_path / "night.edf")
    names = ("night.csv", "night_events.tsv", "night_hypnogram.edf")
    assert lab.own == tuple(tmp_path / name for name in names)


def test_what_hypnod_wrote_alone_is_no_hypnogram(tmp_path):
    write_interrupted_edf(tmp_path / "night.edf", range(SECONDS))
    write_events(tmp_path / "night.tsv", {"m1": hypnogram()}, "hypnod run")
    with pytest.raises(RecordingError, match=r"found what hypnod wrote alone: .*night\.tsv"):
        open_lab([tmp_path], SPEC)


@pytest.mark.parametrize("content", ["stage\n" + "?\n" * SECONDS, "stage\n" + "n/a\n" * SECONDS])
def test_a_hypnogram_of_nothing_scored_counts_as_none(tmp_path, content):
    simulate(tmp_path / "scored.edf")
    write_interrupted_edf(tmp_path / "night.edf", range(SECONDS))
    (tmp_path / "night.csv").write_text(content)
    with pytest.raises(RecordingError, match=r"night\.edf: expected a hypnogram"):
        open_lab([tmp_path], SPEC, LabOptions(legend=Legend(epoch_s=1.0)))
    options = LabOptions(legend=Legend(epoch_s=1.0), skip_unscored=True)
    assert open_lab([tmp_path], SPEC, options)[1] == [tmp_path / "night.edf"]


@pytest.mark.parametrize("given", ["files", "folder", "folders"])
def test_one_file_name_in_two_folders_is_two_subjects(tmp_path, given):
    paths = [tmp_path / name / "night.edf" for name in ("m1", "m2")]
    for path in paths:
        path.parent.mkdir()
        path.touch()
    asked = {"files": paths, "folder": [tmp_path], "folders": [p.parent for p in paths]}[given]
    assert [found.subject for found in find_recordings(asked)] == ["m1", "m2"]


def test_days_of_one_subject_stay_together(tmp_path):
    for day in ("day1", "day2"):
        (tmp_path / "m1" / day).mkdir(parents=True)
        (tmp_path / "m1" / day / "night.edf").touch()
    assert {found.subject for found in find_recordings([tmp_path])} == {"m1"}
