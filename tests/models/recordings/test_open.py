"""Real recordings where they are, and files written here: every reader, and every broken file."""

import re
import resource
import struct
from dataclasses import replace
from datetime import date, datetime, time
from itertools import pairwise
from pathlib import Path

import edfio
import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import io

from models.errors import RecordingError
from models.recordings.as_stream import epochs_of
from models.recordings.channels import choose
from models.recordings.hypnograms.interpret import Legend
from models.recordings.hypnograms.read import read_scoring
from models.recordings.open import Annotation, open_recording
from models.signal.quality import MISSING
from models.stages import MOUSE
from tests.support.recordings.edf import write_interrupted_edf
from tests.support.recordings.xdf import CHUNK_HEAD, XdfStream, write_streams
from tests.support.signals import SPEC


def edf_signal(data, sfreq, label, unit="uV"):
    return edfio.EdfSignal(data, sfreq, label=label, physical_dimension=unit)


def noise(n, seed=0):
    return np.random.default_rng(seed).normal(0, 50, n)


def write_edf(path, seconds=10, sfreq=100, annotations=(), **kwargs):
    signals = [edf_signal(noise(seconds * sfreq, i), sfreq, name) for i, name in enumerate("AB")]
    edfio.Edf(signals, annotations=annotations or None, **kwargs).write(path)
    return path


def set_header(path, first, text):
    content = bytearray(path.read_bytes())
    content[first : first + len(text)] = text
    path.write_bytes(content)


def test_a_real_mouse_is_read_with_its_annotated_gap(shared_data):
    path = shared_data / "mouse_raw" / "mouse_eeg_emg_29min.edf"
    mouse = open_recording(path)
    assert (mouse.ch_names, mouse.units) == (("EEG", "EMG"), ("uV", "uV"))
    assert (mouse.sfreq, mouse.n_samples, mouse.duration) == (1000.0, 1_742_000, 1742.0)
    gap = mouse.annotations[0]
    assert (gap.onset, gap.duration) == (1740.8, 0.256)
    held = mouse.read(1_740_800, 1_741_056)
    assert np.array_equal(held, np.broadcast_to(held[0], held.shape))
    expected = np.stack([signal.data for signal in edfio.read_edf(path).signals], axis=1)
    assert np.array_equal(mouse.read(0, mouse.n_samples), expected.astype(np.float32))


def test_the_channels_at_the_highest_rate_are_taken_and_the_others_named(shared_data):
    path = shared_data / "human_raw" / "short_psg.edf"
    psg = open_recording(path)
    assert psg.ch_names == ("EEG Fpz-Cz", "EEG Pz-Oz", "EOG horizontal")
    slow = ("Resp oro-nasal", "EMG submental", "Temp rectal", "Event marker")
    assert psg.skipped == dict.fromkeys(slow, "1 Hz, too slow to be staged")
    assert psg.readable == psg.ch_names
    assert psg.start == datetime(1989, 4, 24, 16, 13)
    slow = open_recording(path, ["Temp rectal", "EMG submental"])
    assert (slow.sfreq, slow.n_samples, slow.units) == (1.0, 300, ("DegC", "uV"))
    assert 36 < slow.read(0, 300)[:, 0].mean() < 38
    with pytest.raises(RecordingError, match="at least 100 Hz, found 'Temp rectal' at 1 Hz"):
        open_recording(path, ["Temp rectal", "EEG Pz-Oz"])
    with pytest.raises(RecordingError, match="expected a channel 'EEG', found EEG Fpz-Cz"):
        open_recording(path, ["EEG"])


@given(cuts=st.lists(st.integers(0, 3000), max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_pieces_are_the_whole_however_it_is_cut(tmp_path, cuts):
    path = tmp_path / "night.edf"
    if not path.exists():
        write_edf(path, seconds=30)
    recording = open_recording(path)
    edges = [0, *sorted(cuts), recording.n_samples]
    pieces = [recording.read(a, b) for a, b in pairwise(edges)]
    assert np.array_equal(np.concatenate(pieces), open_recording(path).read(0, 3000))


@pytest.mark.parametrize("n", [1, 7, 999, 100_000])
def test_chunks_go_through_everything_once(tmp_path, n):
    recording = open_recording(write_edf(tmp_path / "night.edf"))
    data, times = zip(*recording.chunks(n), strict=True)
    assert max(map(len, data)) <= n
    assert np.array_equal(np.concatenate(data), recording.read(0, 1000))
    assert np.array_equal(np.concatenate(times), np.arange(1000) / 100)


def test_annotations_and_start_of_an_edf_plus(tmp_path):
    marks = [edfio.EdfAnnotation(1.5, 2, "light on"), edfio.EdfAnnotation(0.25, None, "Ärger")]
    start = time(23, 59, 58, 250_000)
    about = edfio.Recording(startdate=date(2024, 2, 28))
    path = write_edf(tmp_path / "a.edf", annotations=marks, recording=about, starttime=start)
    recording = open_recording(path)
    assert recording.start == datetime(2024, 2, 28, 23, 59, 58, 250_000)
    assert recording.annotations == (
        Annotation(0.25, 0.0, "Ärger"),
        Annotation(1.5, 2.0, "light on"),
    )


def test_the_gaps_of_an_interrupted_edf_are_in_its_timestamps(tmp_path):
    path = tmp_path / "d.edf"
    data = write_interrupted_edf(path, [0, 1, 5, 6.5], offset=0.125)
    recording = open_recording(path)
    assert np.array_equal(recording.read(0, 400)[:, 0], data.astype(np.float32))
    times = recording.timestamps(0, 400)
    assert times[[0, 99, 100, 199, 200, 300]].tolist() == [0, 0.99, 1, 1.99, 5, 6.5]
    assert recording.timestamps(150, 250).tolist() == times[150:250].tolist()
    assert recording.duration == 7.5
    assert [(a.onset, a.text) for a in recording.annotations] == [
        (0.25, "mark 0"),
        (1.25, "mark 1"),
        (5.25, "mark 5"),
        (6.75, "mark 6.5"),
    ]


def test_records_that_go_back_in_time_are_refused(tmp_path):
    path = tmp_path / "d.edf"
    write_interrupted_edf(path, [0, 5, 1])
    with pytest.raises(RecordingError, match="found record 2 at 1 s after one at 5 s"):
        open_recording(path)


def test_bdf_is_read_with_24_bits_and_annotations(tmp_path):
    path = tmp_path / "a.bdf"
    digital = np.random.default_rng(1).integers(-(2**23), 2**23, 20 * 256).astype(np.int32)
    signal = edfio.BdfSignal.from_digital(digital, 256, label="EEG", physical_dimension="uV")
    edfio.Bdf([signal], annotations=[edfio.EdfAnnotation(3, 1, "NREM")]).write(path)
    recording = open_recording(path)
    assert np.array_equal(recording.read(0, 5120)[:, 0], digital.astype(np.float32))
    assert np.array_equal(recording.read(300, 900)[:, 0], digital[300:900].astype(np.float32))
    assert recording.annotations == (Annotation(3.0, 1.0, "NREM"),)


@pytest.mark.parametrize("unit", [b"\xb5V      ", "µV     ".encode()])
def test_a_micro_sign_is_read_in_either_encoding(tmp_path, unit):
    path = write_edf(tmp_path / "a.edf")
    set_header(path, 256 + 2 * (16 + 80), unit)
    assert open_recording(path).units[0] == "µV"


def test_a_channel_without_a_scale_is_skipped(tmp_path):
    path = write_edf(tmp_path / "a.edf")
    low = 256 + 2 * (16 + 80 + 8)
    set_header(path, low + 16, path.read_bytes()[low : low + 8])  # physical maximum of A
    recording = open_recording(path)
    assert (recording.ch_names, recording.readable) == (("B",), ("B",))
    assert recording.skipped["A"].startswith("no usable calibration: digital -32768 to 32767 are")


@pytest.mark.parametrize("text", ["-3'276.8", "-3,276.8", "", "abc", "1e999", "nan"])
@pytest.mark.parametrize("field", [104, 112, 120, 128])
def test_a_channel_whose_scale_is_no_number_loses_no_other(tmp_path, field, text):
    path = write_edf(tmp_path / "a.edf")
    expected = open_recording(path, ["B"]).read(0, 1000)
    set_header(path, 256 + 2 * field, f"{text:<8}".encode())
    recording = open_recording(path)
    assert (recording.ch_names, recording.readable) == (("B",), ("B",))
    assert recording.skipped["A"].startswith("no usable calibration: digital ")
    assert f" {text.replace(',', '.') or 'nothing'} " in recording.skipped["A"]
    assert np.array_equal(recording.read(0, 1000), expected)
    set_header(path, 256 + 2 * field + 8, f"{text:<8}".encode())
    with pytest.raises(RecordingError, match=r"expected numeric signals, found A .*; B"):
        open_recording(path)


@pytest.mark.parametrize("extension", ["edf", "bdf"])
def test_a_day_is_read_in_little_memory(tmp_path, extension):
    kind, signal = (
        (edfio.Bdf, edfio.BdfSignal) if extension == "bdf" else (edfio.Edf, edfio.EdfSignal)
    )
    path, n_records = tmp_path / f"day.{extension}", 24 * 3600
    channels = [signal(noise(512), 512, label=f"EEG{i}") for i in range(4)]
    kind(channels).write(path)
    set_header(path, 236, f"{n_records:<8}".encode())
    header = 256 * 5
    with path.open("r+b") as stream:
        stream.truncate(header + (path.stat().st_size - header) * n_records)  # sparse
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    recording = open_recording(path)
    assert recording.n_samples == n_records * 512
    for start in range(0, recording.n_samples, recording.n_samples // 50):
        recording.read(start, start + 512)
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mib < 100, "the file has 340 MiB or more"


def test_a_file_cut_off_while_recording_counts_its_whole_records(tmp_path):
    path = write_edf(tmp_path / "a.edf")
    set_header(path, 236, b"-1      ")
    path.write_bytes(path.read_bytes()[:-30])
    assert open_recording(path).n_samples == 900


def broken_files(tmp_path):
    whole = write_edf(tmp_path / "whole.edf").read_bytes()
    yield "a.edf", b"", "found an empty file"
    yield "b.edf", whole[:100], "found a file of 100 bytes"
    yield "c.edf", whole[:300], "expected a header of 768 bytes for 2 signals"
    yield "d.edf", whole[: 768 + 399], "expected data records, found none"
    yield "f.edf", np.random.default_rng(0).bytes(5000), "expected an EDF or BDF header"
    yield "g.bdf", np.random.default_rng(0).bytes(5000), "expected an EDF or BDF header"
    yield "h.mat", np.random.default_rng(0).bytes(5000), "expected a MATLAB file"
    yield "i.mat", b"", "expected a MATLAB file"
    yield "j.xdf", np.random.default_rng(0).bytes(5000), "expected a"
    yield "k.xdf", b"", "expected a"
    yield "l.npz", whole, r"expected a file ending in \.edf, .*, found \.npz"
    yield "m", whole, "found no extension"


def test_a_broken_file_is_one_sentence_with_its_path(tmp_path):
    for name, content, sentence in broken_files(tmp_path):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(RecordingError, match=sentence) as caught:
            open_recording(path)
        assert str(caught.value).startswith(str(path))
        assert "found" in str(caught.value)


def test_a_directory_or_nothing_is_not_a_recording(tmp_path):
    with pytest.raises(RecordingError, match="expected a file, found nothing"):
        open_recording(tmp_path / "none.edf")
    (tmp_path / "folder.edf").mkdir()
    with pytest.raises(RecordingError, match="expected a file, found a directory"):
        open_recording(tmp_path / "folder.edf")


def test_data_records_that_last_no_time_are_named(tmp_path):
    path = tmp_path / "night.edf"
    edfio.Edf([edf_signal(noise(512), 256, "EEG")]).write(path)
    content = bytearray(path.read_bytes())
    content[244:252] = b"0       "
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=r"records that last some time, .* gives them 0 s"):
        open_recording(path)


def test_annotations_alone_are_not_a_recording(tmp_path):
    edfio.Edf([], annotations=[edfio.EdfAnnotation(0, 1, "W")]).write(tmp_path / "h.edf")
    with pytest.raises(RecordingError, match=r"annotations alone: .* --hypnogram"):
        open_recording(tmp_path / "h.edf")


def test_a_first_record_without_its_time_is_told_of(tmp_path):
    path = tmp_path / "night.edf"
    write_edf(path, seconds=2, annotations=[edfio.EdfAnnotation(1, 2, "W")])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"+0\x14\x14\0", b"\0\0\0\0\0"))
    recording = open_recording(path)
    assert recording.annotations == (Annotation(1.0, 2.0, "W"),)
    assert recording.flaws == (
        "its first record has no time, from which those of its annotations count",
    )


def counted(count, content):
    return content[:236] + f"{count:<8}".encode() + content[244:]


@pytest.mark.parametrize(
    ("change", "n_whole", "flaws"),
    [
        (
            lambda whole: whole[:-1],
            9,
            (
                "its header counts 10 data records, 9 whole ones are there",
                "its last 399 bytes are no whole data record of 400 bytes",
            ),
        ),
        (
            lambda whole: whole + b"end",
            10,
            ("its last 3 bytes are no whole data record of 400 bytes",),
        ),
        (
            lambda whole: counted(12, whole),
            10,
            ("its header counts 12 data records, 10 whole ones are there",),
        ),
        (
            lambda whole: counted(0, whole),
            10,
            ("its header counts 0 data records, 10 whole ones are there",),
        ),
        (lambda whole: counted(-1, whole), 10, ()),
    ],
)
def test_whole_records_are_read_whatever_the_header_counts(tmp_path, change, n_whole, flaws):
    path = write_edf(tmp_path / "night.edf")
    expected = open_recording(path).read(0, n_whole * 100)
    path.write_bytes(change(path.read_bytes()))
    recording = open_recording(path)
    assert recording.flaws == flaws
    assert np.array_equal(recording.read(0, recording.n_samples), expected)


def test_decimal_commas_in_a_header_are_points(tmp_path):
    path = write_edf(tmp_path / "night.edf")
    expected = open_recording(path).read(0, 1000)
    content = bytearray(path.read_bytes())
    limits = slice(256 + 2 * (16 + 80 + 8), 256 + 2 * (16 + 80 + 8 + 8 + 8))
    assert content[limits].count(b".") == 4
    content[limits] = content[limits].replace(b".", b",")
    content[244:252] = b"1,0     "
    path.write_bytes(content)
    assert np.array_equal(open_recording(path).read(0, 1000), expected)


def test_a_note_that_is_not_utf8_or_no_note_at_all_loses_no_other(tmp_path):
    notes = [edfio.EdfAnnotation(1, 2, "k_fig"), edfio.EdfAnnotation(3, 1, "broken")]
    notes += [edfio.EdfAnnotation(5, 4, "NREM")]
    path = write_edf(tmp_path / "night.edf", annotations=notes)
    content = path.read_bytes().replace(b"k_fig", b"k\xe4fig")
    path.write_bytes(content.replace(b"+3\x151\x14broken", b"?3\x151\x14broken"))
    recording = open_recording(path)
    assert recording.annotations == (Annotation(1.0, 2.0, "käfig"), Annotation(5.0, 4.0, "NREM"))
    assert recording.flaws == ("1 of its annotations cannot be read",)
    assert read_scoring(path, MOUSE, legend=Legend(ignore=("käfig",))).account.flaws == (
        "1 of its annotations cannot be read",
    )


def test_channels_of_one_label_are_told_apart_by_their_place(tmp_path):
    path = tmp_path / "night.edf"
    labels = ["EEG", "EMG", " EEG"]
    edfio.Edf([edf_signal(noise(1000, i), 100, label) for i, label in enumerate(labels)]).write(
        path
    )
    set_header(path, 256 + 16, b" " * 16)
    recording = open_recording(path)
    assert recording.ch_names == ("EEG#1", "2", "EEG#2")
    assert np.array_equal(open_recording(path, ["EEG#2"]).read(0, 9), recording.read(0, 9)[:, 2:])


def mixed_edf(path, seconds=30, rates=(250, 100), **kwargs):
    """Write the sum of two sines, below 0.44 of the lowest rate, at each rate."""
    signals = []
    for rate in rates:
        t = np.arange(seconds * rate) / rate
        wave = 100 * np.sin(2 * np.pi * 7 * t) + 50 * np.sin(2 * np.pi * 41 * t)
        signals.append(edf_signal(wave, rate, f"EEG at {rate}"))
    edfio.Edf(signals, **kwargs).write(path)
    return path


def test_a_slower_channel_comes_at_the_rate_of_the_fastest(tmp_path):
    path = mixed_edf(tmp_path / "night.edf")
    assert open_recording(path).skipped == {"EEG at 100": "100 Hz"}
    recording = open_recording(path, ["EEG at 100", "EEG at 250"])
    assert (recording.sfreq, recording.n_samples) == (250.0, 7500)
    slow, fast = recording.read(0, 7500).T
    inner = slice(100, -100)
    error = (slow - fast)[inner]
    assert error.std() < 0.3
    assert np.abs(error).max() < 3.0, "a peak between samples is cut off, as clipping has to show"
    alone = open_recording(path, ["EEG at 100"])
    assert np.array_equal(slow[::5], alone.read(0, 3000)[::2, 0])


@given(cuts=st.lists(st.integers(0, 200_000), max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
def test_pieces_of_mixed_rates_are_the_whole_however_they_are_cut(tmp_path, cuts):
    path = tmp_path / "night.edf"
    if not path.exists():
        mixed_edf(path, seconds=400, rates=(500, 120), data_record_duration=0.1)
    recording = open_recording(path, ["EEG at 500", "EEG at 120"])
    places = [0, *sorted(cuts), recording.n_samples]
    pieces = [recording.read(*ends) for ends in pairwise(places)]
    assert np.array_equal(np.concatenate(pieces), recording.read(0, recording.n_samples))


def test_what_is_clipped_in_a_slower_channel_stays_clipped(tmp_path):
    path = tmp_path / "night.edf"
    clipped = np.clip(noise(3000) * 3, -100, 100)
    edfio.Edf([edf_signal(noise(6000), 200, "A"), edf_signal(clipped, 100, "B")]).write(path)
    slow = open_recording(path, ["A", "B"]).read(0, 6000)[:, 1]
    top = open_recording(path, ["B"]).read(0, 3000).max()
    assert slow.max() == top
    assert np.mean(slow == top) > 0.15


@pytest.fixture(scope="module", params=["edf", "bdf", "interrupted"])
def seed_file(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("seed") / ("a.bdf" if request.param == "bdf" else "a.edf")
    if request.param == "edf":
        write_edf(path, seconds=4, annotations=[edfio.EdfAnnotation(1, 2, "W")])
    elif request.param == "bdf":
        signal = edfio.BdfSignal(noise(400), 100, label="EEG", physical_range=(-500, 500))
        edfio.Bdf([signal], annotations=[edfio.EdfAnnotation(1, 2, "W")]).write(path)
    else:
        write_interrupted_edf(path, [0, 1, 5])
    return path


def read_all(path):
    """What is said of a file."""
    try:
        recording = open_recording(path)
    except RecordingError as error:
        return str(error)
    n = sum(len(piece) for piece, _ in recording.chunks(97))
    return "whole" if n == recording.n_samples else "in part"


@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_edf_is_read_or_refused_and_nothing_else(seed_file, data):
    content = bytearray(seed_file.read_bytes())
    at = st.one_of(st.integers(0, 1023), st.integers(0, len(content) - 1))
    byte = st.one_of(st.integers(0, 255), st.sampled_from(b"0123456789-.+eEnainf \0\x14\x15"))
    for position, value in data.draw(st.lists(st.tuples(at, byte), max_size=6)):
        content[position] = value
    content = content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))]
    path = seed_file.with_name(f"damaged{seed_file.suffix}")
    path.write_bytes(content)
    assert read_all(path).startswith((str(path), "whole"))


def write_mat(path, **changes):
    content = {
        "eeg": noise(5120)[None],
        "emg": noise(5120, 1)[:, None],
        "eeg_frequency": 512.0,
        "sleep_scores": np.array([[0, 1, 2, 0, 1, 1, 1, 2, 2, 0]]),
    } | changes
    io.savemat(path, {name: value for name, value in content.items() if value is not None})
    return path


def test_a_mat_of_the_sdreamer_lab(tmp_path):
    path = write_mat(tmp_path / "m.mat", eeg_frequency=511.96)
    recording = open_recording(path)
    assert (recording.ch_names, recording.units) == (("eeg", "emg"), ("", ""))
    assert (recording.sfreq, recording.n_samples) == (511.96, 5120)
    expected = np.stack([noise(5120), noise(5120, 1)], axis=1).astype(np.float32)
    assert np.array_equal(recording.read(100, 300), expected[100:300])
    assert open_recording(path, ["emg"]).read(0, 5).shape == (5, 1)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"emg": None}, "expected a variable 'emg', found 'eeg', .*'sleep_scores'; save it"),
        (
            {"emg": noise(7)[None]},
            "of one length above 0, found 5120 and 7 samples, .* emg_frequency",
        ),
        ({"emg_frequency": 128.0}, "found 5120 and 5120 samples, at 512 and 128 Hz"),
        ({"emg_frequency": -1.0}, "expected one emg_frequency above 0 Hz"),
        ({"eeg": noise(10).reshape(2, 5)}, r"one row or column in 'eeg', found the shape \(2, 5\)"),
        ({"eeg": "text"}, "expected numbers in 'eeg'"),
        ({"eeg_frequency": 0.0}, "expected one eeg_frequency above 0 Hz"),
    ],
)
def test_a_mat_that_is_not_of_that_lab(tmp_path, changes, sentence):
    with pytest.raises(RecordingError, match=sentence):
        open_recording(write_mat(tmp_path / "m.mat", **changes))


@pytest.mark.parametrize(
    ("eeg_rate", "emg_rate"), [(512.0, 128.0), (128.0, 512.0), (511.96, 200.0), (256, 255.99)]
)
def test_an_emg_of_a_rate_of_its_own_comes_at_the_higher_one(tmp_path, eeg_rate, emg_rate):
    def wave(rate):
        return 100 * np.sin(2 * np.pi * 7 * np.arange(int(300 * rate)) / rate)

    path = tmp_path / "m.mat"
    changes = {"eeg": wave(eeg_rate), "emg": wave(emg_rate), "eeg_frequency": eeg_rate}
    write_mat(path, **changes, emg_frequency=emg_rate)
    recording = open_recording(path)
    fastest = max(eeg_rate, emg_rate)
    assert (recording.ch_names, recording.sfreq) == (("eeg", "emg"), fastest)
    assert recording.duration == pytest.approx(300, abs=0.02)
    eeg, emg = recording.read(0, recording.n_samples).T
    assert np.abs(eeg - emg)[100:-100].max() < 2
    assert open_recording(path, ["emg"]).sfreq == emg_rate
    assert recording.flaws == ()


def test_an_emg_that_is_too_slow_is_left_out_and_named(tmp_path):
    path = write_mat(tmp_path / "m.mat", emg=noise(500), emg_frequency=50.0)
    recording = open_recording(path)
    assert (recording.ch_names, recording.readable) == (("eeg",), ("eeg",))
    assert recording.skipped == {"emg": "50 Hz, too slow to be staged"}


def test_variables_that_are_not_read_are_named(tmp_path):
    labels = np.array([[1, 2, 3] * 3 + [1]])
    path = write_mat(tmp_path / "m.mat", ne=noise(50), labels=labels)
    assert open_recording(path).flaws == ("not read of its variables: ne",)
    scoring = read_scoring(path, MOUSE)
    assert scoring.account.flaws == ("its variable sleep_scores was read, labels was not",)
    assert scoring.hypnogram.stages[:3] == MOUSE


@pytest.mark.parametrize("kind", [0, 8, 14, 33, 0x2056])
def test_a_mat_of_unknown_numbers_is_refused(tmp_path, kind):
    path = tmp_path / "night.mat"
    write_mat(path)
    content = path.read_bytes()
    at = content.index(b"\1\0\3\0eeg\0") + 8
    path.write_bytes(content[:at] + struct.pack("<I", kind) + content[at + 4 :])
    with pytest.raises(RecordingError, match=f"in 'eeg', found an unknown type {kind}"):
        open_recording(path)


def test_a_mat_of_version_7_3_says_how_to_save_it(tmp_path):
    path = tmp_path / "m.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(RecordingError, match=r"found version 7\.3 \(HDF5\); save it again with"):
        open_recording(path)


def test_clock_resets_of_an_xdf_are_gaps_between_even_samples(shared_data):
    recording = open_recording(shared_data / "xdf" / "clock_resets.xdf")
    assert (len(recording.ch_names), recording.n_samples) == (8, 27_815)
    assert recording.sfreq == pytest.approx(92.9, abs=0.1)
    (rate,) = recording.flaws
    assert rate.startswith("its stream declares 100 Hz; 92.8")
    times = recording.timestamps(0, recording.n_samples)
    steps = np.diff(times)
    assert times[0] == 0
    assert np.flatnonzero(steps > 0.1).tolist() == [12_875]
    assert 270 < steps[12_875] < 280
    assert steps.min() > 0
    assert len(recording.annotations) == 175
    assert recording.duration == pytest.approx(573, abs=1)


def test_labels_strings_and_empty_streams_of_an_xdf(shared_data, capfd):
    recording = open_recording(shared_data / "xdf" / "empty_streams.xdf")
    assert recording.ch_names == ("ch:00",)
    assert recording.skipped == {"Empty data stream: test stream 0 counter": "another stream"}
    minimal = open_recording(shared_data / "xdf" / "minimal.xdf", match={"name": "SendDataC"})
    assert minimal.read(0, 2).tolist() == [[192, 255, 238], [12, 22, 32]]
    assert [a.text for a in minimal.annotations[1:3]] == ["Hello", "World"]
    assert minimal.annotations[1].onset == pytest.approx(0.1 + 0.1)
    with pytest.raises(RecordingError, match=r"one numeric stream .* and name=EEG, found 0"):
        open_recording(shared_data / "xdf" / "minimal.xdf", match={"name": "EEG"})
    assert capfd.readouterr().err == ""


def test_an_xdf_cut_short_is_read_as_far_as_it_is_whole(shared_data, tmp_path):
    path = shared_data / "xdf" / "clock_resets.xdf"
    whole = open_recording(path)
    cut = tmp_path / "cut.xdf"
    cut.write_bytes(path.read_bytes()[:500_000])
    recording = open_recording(cut)
    assert 5_000 < recording.n_samples < whole.n_samples
    assert len(recording.flaws) == 2
    assert recording.flaws[0].endswith("bytes of it, in 1 places, are damaged or cut off")
    assert np.array_equal(
        recording.read(0, recording.n_samples), whole.read(0, recording.n_samples)
    )


def rack(**changes):
    about = {"name": "rack", "source_id": "src", "labels": ("EEG", "EMG")} | changes
    return XdfStream(noise(2048).reshape(1024, 2).astype(np.float32), **about)


STAMPS = 100 + np.arange(1024) / 128
FOOTER = b'<?xml version="1.0"?><info><sample_count>'


@pytest.mark.parametrize(
    ("change", "n_samples"),
    [
        (lambda whole: whole[:-10], 1024),
        (lambda whole: whole.replace(FOOTER, b"<" + FOOTER[:-1]), 1024),
        (lambda whole: whole[: whole.index(FOOTER) - 300], 960),
        (lambda whole: whole.replace(b"<version>1.0<", b"<version>1.0>"), 1024),
    ],
)
def test_of_a_damaged_xdf_is_read_what_is_whole(tmp_path, change, n_samples):
    path = write_streams(tmp_path / "night.xdf", [rack()])
    expected = open_recording(path).read(0, n_samples)
    path.write_bytes(change(path.read_bytes()))
    recording = open_recording(path)
    assert recording.n_samples == n_samples
    assert np.array_equal(recording.read(0, n_samples), expected)
    (flaws,) = recording.flaws
    assert re.fullmatch(r"\d+ bytes of it, in 1 places, are damaged or cut off", flaws)


def test_after_a_damaged_chunk_reading_goes_on_at_the_next_boundary(tmp_path):
    path = write_streams(tmp_path / "night.xdf", [rack()])
    content = bytearray(path.read_bytes())
    second = [at for at in range(len(content)) if content[at : at + 7] == CHUNK_HEAD][1]
    content[second] = 7
    path.write_bytes(content)
    recording = open_recording(path)
    assert recording.n_samples == 960
    assert recording.flaws[-1] == "its footer counts 1024 samples, 960 are there"


def test_one_of_several_streams_is_chosen_by_its_properties(tmp_path):
    streams = [rack(name="rack-1", source_id="a"), rack(name="rack-2", source_id="b")]
    path = write_streams(tmp_path / "night.xdf", streams)
    with pytest.raises(RecordingError, match=r"found 2 .*: choose one, as in --match name=rack-1"):
        open_recording(path)
    for match, found in (({"name": "rack-2"}, 1), ({"source_id": "a", "type": "eeg"}, 0)):
        recording = open_recording(path, match=match)
        assert np.array_equal(recording.read(0, 1024), streams[found].data)
        assert recording.skipped == {f"rack-{2 - found}": "another stream"}


def test_streams_that_nothing_tells_apart_are_chosen_by_their_number(tmp_path):
    streams = [rack(), rack(labels=("EMG", "EEG"), start=200.0)]
    path = write_streams(tmp_path / "night.xdf", streams)
    with pytest.raises(RecordingError, match=r"; stream_id 2: 'rack' .* --match stream_id=1"):
        open_recording(path)
    recording = open_recording(path, match={"stream_id": "2"})
    assert np.array_equal(recording.read(0, 1024), streams[1].data)


def test_a_name_with_a_space_is_shown_as_it_is_typed(tmp_path):
    streams = [rack(name="rack 1"), rack(name="rack 2")]
    with pytest.raises(RecordingError, match="as in --match 'name=rack 1'"):
        open_recording(write_streams(tmp_path / "night.xdf", streams))


def test_a_type_in_small_letters_is_that_of_signals_too(tmp_path):
    path = write_streams(tmp_path / "night.xdf", [rack(name="rack"), rack(name="tilt")])
    content = path.read_bytes().replace(b"<type>EEG<", b"<type>eeg<", 1)
    path.write_bytes(content.replace(b"<type>EEG<", b"<type>Acc<", 1))
    assert open_recording(path).skipped == {"tilt": "another stream"}


def test_a_stream_that_came_back_under_its_name_is_one_with_a_gap(tmp_path):
    path = write_streams(tmp_path / "night.xdf", [rack(start=200.0), rack(start=100.0)])
    recording = open_recording(path)
    assert recording.n_samples == 2048
    times = recording.timestamps(0, 2048)
    assert times[1024] == pytest.approx(100.0)
    assert np.diff(times).max() == pytest.approx(100.0 - 1023 / 128)
    path = write_streams(tmp_path / "two.xdf", [rack(start=100.0), rack(start=101.0)])
    with pytest.raises(RecordingError, match=r"found 2 .*'rack' \(type 'EEG', source_id 'src'\)"):
        open_recording(path)


@pytest.mark.parametrize(("declared", "said"), [(256, "256 Hz"), (0, "no rate")])
def test_of_a_rate_that_its_timestamps_contradict_the_measured_one_is_taken(
    tmp_path, declared, said
):
    path = write_streams(tmp_path / "night.xdf", [rack(declared=declared)])
    recording = open_recording(path)
    assert recording.sfreq == pytest.approx(128)
    assert recording.flaws == (f"its stream declares {said}; 128 Hz is measured and taken",)


@pytest.mark.parametrize("bunch", [1, 12])
def test_of_bunched_timestamps_is_said_which_jitter_would_do(tmp_path, bunch):
    data = noise(128 * 80).reshape(-1, 2).astype(np.float32)
    path = write_streams(tmp_path / "night.xdf", [XdfStream(data, ("EEG", "EMG"), bunch=bunch)])
    found = choose(path, None, {}, [], SPEC)
    told = [line for line in found.left_out if "come in bunches" in line]
    assert len(told) == (bunch > 1)
    needed = found.needed_jitter
    if needed is not None:
        assert f"jitter_s = {needed:g} for the stream in a config would do" in told[0]
        stream = msgspec.structs.replace(found.stream, jitter_s=needed)
        assert choose(path, stream, {}, [], SPEC).left_out == []
        for epoch in epochs_of(found.recording, stream, SPEC):
            assert MISSING not in epoch.reasons


@pytest.mark.parametrize("of_s", [1e6, 0.0])
def test_timestamps_that_are_no_seconds_or_stand_still_are_refused(tmp_path, of_s):
    stream = rack()
    path = write_streams(tmp_path / "night.xdf", [replace(stream, stamps=STAMPS * of_s)])
    with pytest.raises(RecordingError, match="timestamps that advance, 1/128 s apart"):
        open_recording(path)


def test_a_timestamp_that_is_no_time_costs_its_sample_alone(tmp_path):
    stamps = STAMPS.copy()
    stamps[[0, 500]] = np.nan
    path = write_streams(tmp_path / "night.xdf", [replace(rack(), stamps=stamps)])
    times = open_recording(path).timestamps(0, 1024)
    assert np.isnan(times).nonzero()[0].tolist() == [0, 500]
    assert times[1] == 0.0


def test_channels_without_a_label_have_the_numbers_they_have_live(tmp_path):
    path = write_streams(tmp_path / "night.xdf", [rack(labels=("EEG",))])
    recording = open_recording(path)
    assert (recording.ch_names, recording.units) == (("EEG", "2"), ("microvolts", ""))


OLD = {"eeg": np.arange(400.0), "emg": np.ones(400, np.int16), "eeg_frequency": 100}


def test_a_mat_of_version_4_is_read(tmp_path):
    io.savemat(tmp_path / "night.mat", OLD, format="4")
    recording = open_recording(tmp_path / "night.mat")
    assert recording.sfreq == 100
    assert recording.ch_names == ("eeg", "emg")


@pytest.mark.parametrize("at", [4, 8, 16])
@pytest.mark.parametrize("size", [-1, -(2**31)])
def test_a_mat_of_version_4_that_leads_backwards_is_refused_not_read_for_ever(tmp_path, at, size):
    io.savemat(tmp_path / "night.mat", OLD, format="4")
    content = bytearray((tmp_path / "night.mat").read_bytes())
    content[at : at + 4] = struct.pack("<i", size)
    (tmp_path / "night.mat").write_bytes(content)
    with pytest.raises(RecordingError, match="expected matrices of at least 0 x 0, found"):
        open_recording(tmp_path / "night.mat")


def test_what_was_read_of_an_edf_is_no_longer_in_memory(tmp_path):
    """A day of eight animals is more than a worker may have."""
    path, minutes = tmp_path / "long.edf", 60
    samples = np.tile(np.linspace(-100, 100, 1024), minutes * 60)
    edfio.Edf(
        [edfio.EdfSignal(samples, 1024, label=f"EEG{k}") for k in range(4)],
        data_record_duration=1,
    ).write(path)
    recording = open_recording(path)

    def mapped() -> int:
        status = Path("/proc/self/status").read_text("utf-8")
        return 1024 * int(re.search(r"RssFile:\s+(\d+) kB", status)[1])

    before = mapped()
    for start in range(0, recording.n_samples, 60 * 1024):
        assert len(recording.read(start, start + 60 * 1024)) == 60 * 1024
    assert path.stat().st_size > 28e6
    assert mapped() - before < 8e6
