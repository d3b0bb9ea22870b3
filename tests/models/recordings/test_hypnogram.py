"""Hypnograms: read, write, bring to epochs, and hold against their recording."""

import math
from datetime import datetime

import edfio
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from models.errors import RecordingError
from models.recordings.hypnogram import Hypnogram, check_length
from models.recordings.hypnograms.read import read_hypnogram
from models.recordings.open import open_recording
from models.recordings.writers import replacing, write_csv, write_edf, write_events
from models.stages import ART, HUMAN, MOUSE, UNKNOWN

NIGHT = Hypnogram.from_epochs(["Wake", "Wake", "NREM", ART, "REM", "REM", UNKNOWN, "Wake"], 4.0)


def write_recording(path, seconds):
    edfio.Edf([edfio.EdfSignal(np.sin(np.arange(seconds * 100.0)), 100, label="EEG")]).write(path)
    return open_recording(path)


def same(a, b):
    return (
        np.allclose(a.onsets, b.onsets)
        and np.allclose(a.durations, b.durations)
        and a.stages == b.stages
    )


def test_an_expert_hypnogram_of_a_real_night(shared_data):
    night = read_hypnogram(shared_data / "human_raw" / "SC4001EC-Hypnogram.edf", HUMAN)
    assert (night.end, night.scored_end) == (86_400.0, 79_500.0)
    assert night.epoch_s == 30.0
    epochs = night.to_epochs(30, 2650)
    assert epochs[:1021] == ["W"] * 1021
    assert epochs[1021:1025] == ["N1"] * 4
    assert sorted(set(epochs)) == ["N1", "N2", "N3", "REM", "W"]


@pytest.mark.parametrize("epoch_s", [1.0, 2.0, 4.0])
def test_epochs_within_the_scored_ones_take_their_stage(epoch_s):
    n = round(4 / epoch_s)
    expected = [stage for stage in NIGHT.stages for _ in range(n)]
    assert NIGHT.to_epochs(epoch_s, 8 * n + 3) == [*expected, UNKNOWN, UNKNOWN, UNKNOWN]


def test_an_epoch_takes_the_stage_that_fills_most_of_it():
    night = Hypnogram(np.array([0, 7.0, 12.0]), np.array([7, 5, 4.0]), ("Wake", "NREM", "REM"))
    assert night.to_epochs(10, 2) == ["Wake", "REM"]
    assert night.to_epochs(10, 3, hop_s=5) == ["Wake", "NREM", "REM"]
    assert Hypnogram.from_epochs(["NREM"], 4).to_epochs(10, 1) == [UNKNOWN]
    assert Hypnogram.from_epochs(["NREM"], 5).to_epochs(10, 2) == ["NREM", UNKNOWN]
    assert Hypnogram.from_epochs([], 5).to_epochs(10, 2) == [UNKNOWN, UNKNOWN]


@given(st.lists(st.sampled_from([*MOUSE, ART, UNKNOWN]), max_size=60))
def test_merging_into_bouts_loses_nothing(stages):
    night = Hypnogram.from_epochs(stages, 2.5)
    assert night.merged().to_epochs(2.5, len(stages)) == stages
    assert night.merged().end == night.end


def test_a_gap_between_equal_stages_parts_them():
    night = Hypnogram(np.array([0.0, 4, 12]), np.array([4.0, 4, 4]), ("Wake",) * 3).merged()
    assert (night.onsets.tolist(), night.durations.tolist()) == ([0, 12], [8, 4])


@given(st.lists(st.sampled_from([*MOUSE, ART, UNKNOWN]), min_size=1, max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
def test_what_is_written_is_read(tmp_path, stages):
    assume({*stages} != {UNKNOWN})
    night = Hypnogram.from_epochs(stages, 0.1)
    write_csv(tmp_path / "h.csv", night)
    write_events(tmp_path / "h.tsv", {"m1": night})
    write_edf(tmp_path / "h.edf", {"m1": night})
    assert same(read_hypnogram(tmp_path / "h.csv", MOUSE), night)
    assert same(read_hypnogram(tmp_path / "h.tsv", MOUSE), night.merged())
    assert same(read_hypnogram(tmp_path / "h.edf", MOUSE), night.merged())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["h.csv", "h.edf", "h.tsv"]


START = datetime(2025, 6, 1, 20, 0, 0, 500_000)


@pytest.mark.parametrize("start", [None, START])
def test_the_edf_lasts_as_long_as_its_annotations(tmp_path, start):
    write_edf(tmp_path / "h.edf", {"m1": NIGHT, "m2": NIGHT}, start, "hypnod run")
    edf = edfio.read_edf(tmp_path / "h.edf")
    assert edf.duration == math.ceil(NIGHT.end)
    assert len(edf.annotations) == 1 + 2 * len(NIGHT.merged().stages)


@pytest.mark.parametrize("start", [None, START])
def test_mne_opens_the_edf_with_all_annotations(tmp_path, start):
    mne = pytest.importorskip("mne", reason="needs MNE, which reads EDF+ for many")
    write_edf(tmp_path / "h.edf", {"m1": NIGHT}, start, "hypnod run")
    read = mne.io.read_raw_edf(tmp_path / "h.edf").annotations
    assert read.description.tolist() == ["staged by hypnod run", *NIGHT.merged().stages]
    assert read.onset.tolist() == [0, *NIGHT.merged().onsets]
    assert read.duration.tolist() == [0, *NIGHT.merged().durations]


@pytest.mark.parametrize("extension", ["edf", "tsv"])
def test_a_subject_is_picked_out_of_several(tmp_path, extension):
    path = tmp_path / f"h.{extension}"
    other = Hypnogram.from_epochs(["REM"] * 8, 4.0)
    nights = {"m1": NIGHT, "m10": other}
    if extension == "edf":
        write_edf(path, nights, START)
        assert edfio.read_edf(path).startdatetime == START
    else:
        write_events(path, nights)
    assert same(read_hypnogram(path, MOUSE, subject="m1"), NIGHT.merged())
    assert same(read_hypnogram(path, MOUSE, subject="m10"), other.merged())
    with pytest.raises(RecordingError, match=f"{path}: expected"):
        read_hypnogram(path, MOUSE)
    with pytest.raises(RecordingError, match=f"{path}: expected"):
        read_hypnogram(path, MOUSE, subject="m2")


def test_a_csv_carries_probabilities(tmp_path):
    path = tmp_path / "h.csv"
    write_csv(path, NIGHT, {"Wake": np.linspace(0, 1, 8).tolist(), "note": [None] * 8})
    lines = path.read_text().splitlines()
    assert lines[0] == "onset,duration,stage,Wake,note"
    assert lines[8] == "28.0,4.0,Wake,1.0,"
    assert same(read_hypnogram(path, MOUSE), NIGHT)


def test_foreign_events_are_left_out(tmp_path):
    path = tmp_path / "sub-1_events.tsv"
    path.write_text("onset\tduration\ttrial_type\n0\t30\tN1\n10\t0\tstim\n30\t30\tsleep stage R\n")
    assert read_hypnogram(path, HUMAN).to_epochs(30, 2) == ["N1", "REM"]


def test_what_is_no_hypnogram_is_refused(tmp_path):
    (tmp_path / "h.csv").write_bytes(b"\xff\xfe\x00stage")
    (tmp_path / "h.edf").write_bytes(b"not an EDF")
    for name in ("h.csv", "h.edf", "h.npz", "missing.csv"):
        with pytest.raises(RecordingError, match=f"{tmp_path / name}: expected"):
            read_hypnogram(tmp_path / name, MOUSE)


@pytest.mark.parametrize("seconds", [32, 33, 35, 29])
def test_less_than_an_epoch_may_be_missing(tmp_path, seconds):
    check_length(NIGHT, write_recording(tmp_path / "r.edf", seconds))


@pytest.mark.parametrize("seconds", [20, 24, 36, 60])
def test_another_length_is_an_error_with_both(tmp_path, seconds):
    with pytest.raises(RecordingError, match=f"recording's {seconds} s, found one of 32 s"):
        check_length(NIGHT, write_recording(tmp_path / "r.edf", seconds))


def test_what_follows_as_unknown_does_not_count(tmp_path):
    night = Hypnogram.from_epochs(["Wake"] * 8 + [UNKNOWN] * 100, 4.0)
    check_length(night, write_recording(tmp_path / "r.edf", 32))


def test_an_expert_hypnogram_does_not_fit_an_excerpt(shared_data):
    folder = shared_data / "human_raw"
    night = read_hypnogram(folder / "SC4001EC-Hypnogram.edf", HUMAN)
    with pytest.raises(RecordingError, match=r"300 s, found one of 79500 s.*onset \(ms\)"):
        check_length(night, open_recording(folder / "short_psg.edf"))


def test_who_reads_the_old_file_goes_on_reading_it(tmp_path):
    path = tmp_path / "h.csv"
    path.write_text("old")
    with path.open() as reader:
        write_csv(path, NIGHT)
        assert reader.read() == "old"
    assert path.read_text().startswith("onset,duration,stage\n0.0,4.0,Wake\n")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "h.csv"
    path.write_text("old")

    def be_interrupted():
        with replacing(path) as draft:
            draft.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        be_interrupted()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("h.csv", "old")]
    with pytest.raises(RecordingError, match="expected a place to write to"):
        write_csv(tmp_path / "none" / "h.csv", NIGHT)
    with pytest.raises(RecordingError, match="expected stages to write, found none"):
        write_edf(tmp_path / "h.edf", {"m1": Hypnogram.from_epochs([], 1)})


def test_the_epochs_that_mice_were_scored_in_are_told_by_their_bouts(shared_data):
    with np.load(shared_data / "mouse_hypnograms" / "mssv_stages.npz") as nights:
        codes = nights["sub-001_task-sleep_run-1"][:900]
    names = [{1: "Wake", 2: "NREM", 3: "REM"}.get(code, UNKNOWN) for code in codes.tolist()]
    scored = Hypnogram.from_epochs(names, 4.0)
    assert (scored.epoch_s, scored.merged().epoch_s) == (4.0, 4.0)


@pytest.mark.parametrize(
    ("durations", "expected"),
    [
        ([], None),
        ([4.0], None),  # a single bout may be of any epochs
        ([4.0, 4.0], 4.0),
        ([2.5, 2.5, 2.5, 1.0], 2.5),  # the recording ended
        ([8.0, 12.0, 20.0], None),  # too few to be sure
        ([8.0, 12.0, 20.0] * 4, 4.0),
        ([600.0, 600.0, 600.0], None),  # bouts, no epochs
        ([1.001, 2.37, 5.903] * 4, None),  # of no epochs at all
    ],
)
def test_the_length_of_its_epochs_is_told_where_it_can_be(durations, expected):
    onsets = np.cumsum([0.0, *durations[:-1]]) if durations else np.zeros(0)
    hypnogram = Hypnogram(onsets, np.array(durations), ("Wake",) * len(durations))
    assert hypnogram.epoch_s == expected
