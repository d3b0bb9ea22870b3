"""WFDB records and annotations, whole and damaged."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.errors import RecordingError
from models.recordings.find import files_of, hash_file
from models.recordings.open import open_recording
from models.recordings.wfdb import read_wfdb_annotations
from tests.support.recordings.wfdb import write_annotations, write_record

LABELS = ("C3-M2", "E1-M2", "ECG")


@pytest.fixture
def record(tmp_path):
    rng = np.random.default_rng(0)
    data = {label: np.round(rng.normal(0, 30, 6000), 1) for label in LABELS}
    data["ECG"][5] = np.nan
    write_record(tmp_path / "tr03-0005.hea", data)
    return tmp_path / "tr03-0005.hea", data


def test_a_record_is_read_as_it_was_written(record):
    path, data = record
    recording = open_recording(path)
    assert (recording.ch_names, recording.units) == (LABELS, ("uV",) * 3)
    assert (recording.sfreq, recording.n_samples, recording.flaws) == (200.0, 6000, ())
    written = np.stack(list(data.values()), axis=1)
    np.testing.assert_allclose(recording.read(0, 6000), written, atol=1e-4)
    one = open_recording(path, ["E1-M2"])
    np.testing.assert_allclose(one.read(100, 200)[:, 0], data["E1-M2"][100:200], atol=1e-4)


def test_the_same_header_over_other_samples_is_another_recording(record):
    path, _ = record
    samples = path.with_suffix(".mat")
    assert files_of(path) == (path, samples)
    before = hash_file(path)
    assert hash_file(path) == before
    samples.write_bytes(samples.read_bytes()[:-1] + b"x")
    assert hash_file(path) != before
    samples.unlink()
    assert files_of(path) == (path,)
    path.write_text("no header")
    assert files_of(path) == (path,)


TEXTS = [(0, "W"), (900, "(arousal"), (100_000, "N1"), (100_000, "arousal)"), (9_000_000, "R")]


@given(st.lists(st.tuples(st.integers(0, 2**31 - 1), st.text(max_size=20)), max_size=10))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_annotations_are_read_as_they_were_written(record, texts):
    texts = [(at, text.strip(" \0")) for at, text in texts]  # they may also go back in time
    path = record[0].with_suffix(".arousal")
    write_annotations(path, texts)
    found, length = read_wfdb_annotations(path)
    assert [(round(a.onset * 200), a.text) for a in found] == texts
    assert length == 30.0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda h: h.replace("16+24", "212"), "in format 16, found"),
        (lambda h: h.replace("tr03-0005.mat", "../x.mat"), "a file beside it in format 16"),
        (lambda h: h.replace("tr03-0005.mat", "x.mat"), "expected its samples in x.mat"),
        (lambda h: h.replace(" 3 200", " 9999 200"), "with a line for each signal"),
        (lambda h: h.replace(" 3 200", " 0 200"), "with a line for each signal"),
        (lambda h: h.replace(" 200 6000", " 0 6000"), "found 0 Hz"),
        (lambda h: h.replace(" 200 6000", " 1..2 6000"), "found 0 Hz"),
        (lambda h: h.replace(" 6000", " -1"), "expected the number of samples"),
        (lambda h: h.replace("10(0)", "1e999(0)"), "expected a finite gain"),
        (lambda h: h.replace("10(0)", "1-e(0)"), "expected a gain"),
        (lambda h: h.replace("16+24", "16+999999"), "from byte 999999 on, found"),
        (lambda h: "", "expected a WFDB header"),
        (lambda h: h.replace("tr03-0005.mat", "y.mat", 1), "all signals in one file"),
    ],
)
def test_a_damaged_header_is_one_sentence(record, change, sentence):
    path, _ = record
    path.write_text(change(path.read_text()))
    with pytest.raises(RecordingError, match=sentence):
        open_recording(path)


def test_what_is_whole_of_a_cut_record_is_read_and_the_rest_told(record):
    path, _ = record
    samples = path.with_suffix(".mat")
    samples.write_bytes(samples.read_bytes()[:-7])
    recording = open_recording(path)
    assert recording.n_samples == 5998
    assert recording.flaws == ("its header counts 6000 samples, 5998 whole ones are there",)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
def test_any_bytes_are_read_or_refused_and_nothing_else(record, data):
    path, _ = record
    part = data.draw(st.sampled_from([".hea", ".arousal"]))
    write_annotations(path.with_suffix(".arousal"), TEXTS)
    write_record(path, record[1])
    victim = path.with_suffix(part)
    content = bytearray(victim.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    victim.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    with suppress(RecordingError):
        read_wfdb_annotations(path.with_suffix(".arousal"))
        open_recording(path).read(0, 10)
