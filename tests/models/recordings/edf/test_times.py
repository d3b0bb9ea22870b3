"""When an EDF began and when its records did, where the file says it twice."""

from datetime import datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.recordings.as_stream import epochs_of
from models.recordings.edf.reader import read_edf_annotations
from models.recordings.open import open_recording
from models.signal.montage import StreamChannels, SubjectChannels
from tests.support.recordings.edf import write_interrupted_edf
from tests.support.signals import SPEC

AT_TEN = b"22.00.00"
NUMBERS = (104, 112, 120, 128, 216)
"""Where the numbers of two signals are in a header, bytes a signal."""


def write(path, onsets=range(3), kind=b"EDF+C", **fields):
    """Write a recording whose header has these fields: its date, time, and EDF+'s start."""
    write_interrupted_edf(path, onsets, kind=kind)
    content = bytearray(path.read_bytes())
    places = {"said": slice(88, 168), "day": slice(168, 176), "clock": slice(176, 184)}
    for name, text in fields.items():
        place = places[name]
        content[place] = text.ljust(place.stop - place.start)
    path.write_bytes(content)
    return open_recording(path)


@pytest.mark.parametrize(
    ("said", "day", "expected"),
    [
        (b"Startdate X X X X", b"01.03.26", datetime(2026, 3, 1, 22)),
        (b"Startdate 02-MAR-2026 X X X", b"02.03.26", datetime(2026, 3, 2, 22)),
        (b"Startdate 02-MAR-2126 X X X", b"02.03.yy", datetime(2126, 3, 2, 22)),
        (b"Startdate 32-MAR-2026 X X X", b"01.03.26", datetime(2026, 3, 1, 22)),
        (b"Startdate 01-M\xc4R-2026 X X X", b"01.03.26", datetime(2026, 3, 1, 22)),
        (b"mouse 7", b"31.12.99", datetime(1999, 12, 31, 22)),
        (b"Startdate 02-DEC-2026 X X X", b"2026-12-", datetime(2026, 12, 2, 22)),
        (b"Startdate X X X X", b"01.01.85", datetime(1985, 1, 1, 22)),
        (b"Startdate X X X X", b"00.00.00", None),
        (b"", b"X", None),
    ],
)
def test_the_start_is_what_the_header_says_in_either_way(tmp_path, said, day, expected):
    found = write(tmp_path / "night.edf", said=said, day=day, clock=AT_TEN)
    assert found.start == expected
    assert found.flaws == ()


@pytest.mark.parametrize(
    ("said", "day", "clock", "unreal"),
    [
        (b"Startdate X X X X", b"01.03.26", b"25.61.00", "'25.61.00' by its header"),
        (b"Startdate 02-MAR-2026 X X X", b"02.03.26", b"24.00.00", "'24.00.00' by its header"),
        (b"Startdate X X X X", b"31.02.26", AT_TEN, "'31.02.26' by its header"),
        (b"", b"02/2026", b"10 PM", "'02/2026' '10 PM' by its header"),
    ],
)
def test_a_start_that_is_no_time_is_told_and_not_used(tmp_path, said, day, clock, unreal):
    found = write(tmp_path / "night.edf", said=said, day=day, clock=clock)
    assert found.start is None
    (remark,) = found.flaws
    assert f"it began at {unreal}, which is no time" in remark
    assert remark in read_edf_annotations(found.path)[2]


@pytest.mark.parametrize("day", [b"31.02.26", b"00.00.00"])
def test_a_date_that_is_none_is_told_beside_that_of_edf_plus(tmp_path, day):
    found = write(tmp_path / "night.edf", said=b"Startdate 02-MAR-2026 X", day=day, clock=AT_TEN)
    assert found.start == datetime(2026, 3, 2, 22)
    assert ["'31.02.26', as EDF does, is no date" in remark for remark in found.flaws] == [True] * (
        day == b"31.02.26"
    )


@pytest.mark.parametrize("clock", [b"22:00:00", b"22 00 00", AT_TEN])
def test_a_time_of_day_may_have_any_sign_between_its_numbers(tmp_path, clock):
    assert write(tmp_path / "night.edf", day=b"01.03.26", clock=clock).start.hour == 22


def test_two_dates_that_differ_are_told_and_that_of_edf_plus_is_believed(tmp_path):
    said = b"Startdate 02-MAR-2026 X X X"
    found = write(tmp_path / "night.edf", said=said, day=b"03.02.26", clock=AT_TEN)
    assert found.start == datetime(2026, 3, 2, 22)
    (remark,) = found.flaws
    assert "2026-03-02 as EDF+ says it, on 2026-02-03 as EDF does" in remark


@given(
    steps=st.lists(st.sampled_from([1, 1, 1, 1.25, 3, 60, 400]), min_size=2, max_size=12),
    first=st.sampled_from([0, 0.5, 120]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_record_times_that_jump_are_believed_whatever_the_file_calls_itself(tmp_path, steps, first):
    onsets = first + np.cumsum([0, *steps[:-1]])
    path = tmp_path / "night.edf"
    uninterrupted, interrupted = (
        write(path, onsets, kind, day=b"01.03.26", clock=AT_TEN) for kind in (b"EDF+C", b"EDF+D")
    )
    n = 100 * len(onsets)
    times = uninterrupted.timestamps(0, n)
    np.testing.assert_allclose(times, interrupted.timestamps(0, n), atol=1e-9)
    assert times[::100] == pytest.approx(onsets - first)
    jumps = sum(step != 1 for step in steps[:-1])
    assert [f"jump {jumps} ×" in remark for remark in uninterrupted.flaws] == [True] * (jumps > 0)
    assert interrupted.flaws == ()


def test_rounded_record_times_are_counted(tmp_path):
    found = write(tmp_path / "night.edf", [0, 0.99, 2.01, 3])
    assert found.timestamps(0, 400).tolist() == (np.arange(400) / 100).tolist()
    assert found.flaws == ()


def test_record_times_that_run_slow_are_believed(tmp_path):
    found = write(tmp_path / "night.edf", [1.01 * k for k in range(20)])
    assert found.timestamps(1900, 1901)[0] == pytest.approx(19.19)
    assert "part from counting by +0.19 s" in found.flaws[0]


def count_usable(recording):
    channels = (SubjectChannels(name="m1", channels={"eeg": "EEG"}),)
    stream = StreamChannels(name="night", subjects=channels)
    return sum(int(batch.usable[:, 0].sum()) for batch in epochs_of(recording, stream, SPEC))


@pytest.mark.parametrize("kind", [b"EDF+C", b"EDF+D"])
@pytest.mark.parametrize("step", [0.5, 0.8])
def test_records_that_overlap_follow_each_other_and_are_counted(tmp_path, kind, step):
    found = write(tmp_path / "night.edf", [step * k for k in range(20)], kind)
    assert found.timestamps(0, 2000) == pytest.approx(np.arange(2000) / 100)
    assert count_usable(found) == 20
    (flaw,) = found.flaws
    assert flaw.startswith("19 of its records begin, by their times, before the one before has end")


def test_after_an_overlap_times_are_believed_as_soon_as_they_can_be(tmp_path):
    found = write(tmp_path / "night.edf", [0, 1, 1.5, 3, 10], b"EDF+D")
    assert found.timestamps(0, 500)[::100].tolist() == [0, 1, 2, 3, 10]
    assert "1 of its records begin" in found.flaws[0]


@pytest.mark.parametrize("kind", [b"EDF+C", b"EDF+D"])
@pytest.mark.parametrize("far", [100_000, 1e8, 1e14])
def test_jumps_of_days_or_ages_cost_no_record_and_are_told(tmp_path, kind, far):
    onsets = [0, 1, 2, 5, far + 5, far + 6, far + 16, 17, 18]
    found = write(tmp_path / "night.edf", onsets, kind, day=b"01.03.26", clock=AT_TEN)
    assert found.timestamps(0, 900)[::100].tolist() == [0, 1, 2, 5, 6, 7, 17, 18, 19]
    assert count_usable(found) == 9
    assert "jump 2 × by more than a day, first by +" in found.flaws[-1]
    assert "before record 4: these jumps are not believed" in found.flaws[-1]


@pytest.mark.parametrize("kind", [b"EDF+C", b"EDF+D"])
@pytest.mark.parametrize("step", [0.97, 1.02, 1.06])
def test_of_records_that_come_at_another_rate_than_declared_it_is_measured(tmp_path, kind, step):
    path = tmp_path / "night.edf"
    write_interrupted_edf(path, [step * k for k in range(60)], kind=kind, sfreq=256)
    found = open_recording(path)
    assert found.sfreq == pytest.approx(256 / step)
    assert count_usable(found) == int(60 * step)
    assert f"lasts 1 s by its header, {step:g} s by the times of its records" in found.flaws[-1]


@pytest.mark.parametrize(("step", "rate"), [(10.5, 100), (9.5, 100 / 0.95), (10.05, 100 / 1.005)])
def test_pauses_between_long_records_are_pauses(tmp_path, step, rate):
    path = tmp_path / "night.edf"
    write_interrupted_edf(path, [step * k for k in range(60)])
    content = bytearray(path.read_bytes())
    content[244:252] = b"10      "
    path.write_bytes(content)  # a tenth of the rate, of records ten times as long
    found = open_recording(path)
    assert found.sfreq == pytest.approx(rate / 10)
    assert found.timestamps(5900, 5901)[0] == pytest.approx(59 * step)


@pytest.mark.parametrize("kind", [b"EDF+C", b"EDF+D"])
def test_coarsely_rounded_record_times_make_no_gaps(tmp_path, kind):
    onsets = [k + 0.02 * (-1) ** k for k in range(1, 60)]
    found = write(tmp_path / "night.edf", onsets, kind)
    assert count_usable(found) == 59
    assert found.flaws == ()


def test_a_first_record_at_no_time_has_no_start_and_says_so(tmp_path):
    found = write(tmp_path / "night.edf", [1e14, 1e14 + 1], day=b"01.03.26", clock=AT_TEN)
    assert found.start is None
    assert "its first record begins 1e+14 s after 2026-03-01 22:00:00" in found.flaws[0]
    assert found.timestamps(0, 200)[100] == 1.0


def test_record_times_that_go_back_are_told_and_not_believed(tmp_path):
    found = write(tmp_path / "night.edf", [0, 1, 1, 2])
    assert found.timestamps(0, 400).tolist() == (np.arange(400) / 100).tolist()
    assert "time of record 2, 1 s, is not after" in found.flaws[0]


@pytest.mark.parametrize("kind", [b"EDF+C", b"EDF+D"])
def test_a_record_whose_time_is_damaged_loses_no_night(tmp_path, kind):
    path = tmp_path / "night.edf"
    write(path, [0, 1, 2, 103, 104], kind)
    path.write_bytes(path.read_bytes().replace(b"+2\x14\x14", b"?2\x14\x14"))
    found = open_recording(path)
    assert found.timestamps(0, 500)[::100].tolist() == [0, 1, 2, 103, 104]
    assert "1 of its records have no time, record 2 first" in found.flaws[-1]


def test_numbers_of_a_header_that_end_with_nul_are_read(tmp_path):
    path = tmp_path / "night.edf"
    expected = write(path).read(0, 300)
    content = bytearray(path.read_bytes())
    for first, stop in [
        (184, 192),
        (236, 256),
        *((256 + 2 * at, 256 + 2 * at + 16) for at in NUMBERS),
    ]:
        content[first:stop] = content[first:stop].replace(b" ", b"\0")
    path.write_bytes(content)
    assert np.array_equal(open_recording(path).read(0, 300), expected)
