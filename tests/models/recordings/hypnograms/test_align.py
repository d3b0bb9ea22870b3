"""The start of a hypnogram against that of its recording."""

import struct
from datetime import date, datetime, time, timedelta

import edfio
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from models.errors import RecordingError
from models.recordings.hypnograms.interpret import Legend
from models.recordings.hypnograms.read import read_hypnograms
from models.recordings.open import open_recording
from models.stages import HUMAN, MOUSE, UNKNOWN
from tests.support.recordings.xdf import XdfStream, write_streams

BEGAN = datetime(2026, 3, 1, 22, 0, 0)
LENGTH = 240
NIGHT = [MOUSE[k // 20 % 3] for k in range(LENGTH)]
ONE_PATH = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)


def write(path, start, stages=None, hidden=False):
    """Write a recording, or the stages of one second each, with a start."""
    signals = [] if stages else [edfio.EdfSignal(np.zeros(LENGTH * 100), 100, label="EEG")]
    marks = [edfio.EdfAnnotation(k, 1, stage) for k, stage in enumerate(stages or [])]
    about = edfio.Recording(startdate=None if hidden else start.date())
    edf = edfio.Edf(signals, annotations=marks, recording=about, starttime=start.time())
    edf.write(path)
    return path


@pytest.fixture
def recording(tmp_path):
    return open_recording(write(tmp_path / "night.edf", BEGAN))


def read(path, recording, **legend):
    (scoring,) = read_hypnograms(path, ["m1"], MOUSE, recording, Legend(**legend)).values()
    return scoring.hypnogram.to_epochs(1.0, LENGTH), scoring.account.flaws


@given(by=st.integers(-LENGTH + 1, LENGTH - 1).filter(lambda by: abs(by) > 1))
@ONE_PATH
def test_a_hypnogram_is_laid_where_its_start_says(recording, by):
    scored = [NIGHT[max(0, min(LENGTH - 1, k))] for k in range(by, max(by, 0) + LENGTH)]
    path = write(recording.path.with_name("expert.edf"), BEGAN + timedelta(seconds=by), scored)
    stages, (remark,) = read(path, recording)
    assert stages == [UNKNOWN] * max(by, 0) + NIGHT[max(by, 0) :]
    assert f"begins {abs(by)} s {'after' if by > 0 else 'before'} its recording" in remark
    assert f"; {abs(by)} s of it lie outside" in remark


def test_a_hypnogram_of_the_end_alone_begins_later(recording):
    later = BEGAN + timedelta(seconds=30)
    stages, (remark,) = read(write(recording.path.with_name("h.edf"), later, NIGHT[30:]), recording)
    assert stages == [UNKNOWN] * 30 + NIGHT[30:]
    assert "outside" not in remark


def test_one_that_ends_early_is_refused_as_ever(recording):
    later = BEGAN + timedelta(seconds=30)
    path = write(recording.path.with_name("h.edf"), later, NIGHT[30:200])
    with pytest.raises(RecordingError, match="recording's 240 s, found one of 200 s"):
        read(path, recording)


@pytest.mark.parametrize(
    "by", [timedelta(hours=-1), timedelta(hours=5.5), timedelta(days=1), timedelta(seconds=777)]
)
def test_another_zone_date_or_night_is_refused_unless_told(recording, by):
    path = write(recording.path.with_name("h.edf"), BEGAN + by, NIGHT)
    with pytest.raises(RecordingError, match=r"at 2026-03-01 22:00:00, found .* --same-start"):
        read(path, recording)
    assert read(path, recording, same_start=True) == (NIGHT, ())


def test_an_hour_off_a_night_of_the_same_length_is_another_zone(tmp_path):
    length = 5400
    signal = edfio.EdfSignal(np.zeros(length), 1, label="EEG")
    about = edfio.Recording(startdate=BEGAN.date())
    edf = edfio.Edf([signal], recording=about, starttime=BEGAN.time())
    edf.write(tmp_path / "night.edf")
    path = write(tmp_path / "h.edf", BEGAN - timedelta(hours=1), ["Wake", "NREM"] * (length // 2))
    with pytest.raises(RecordingError, match="another time zone"):
        read(path, open_recording(tmp_path / "night.edf"))


def test_where_a_date_is_hidden_the_time_of_day_counts(recording):
    path = write(recording.path.with_name("h.edf"), BEGAN + timedelta(seconds=20), NIGHT, True)
    stages, _ = read(path, recording)
    assert stages == [UNKNOWN] * 20 + NIGHT[:-20]


def test_one_that_hides_all_or_begins_within_a_second_is_left_where_it_is(recording):
    at_zero = datetime.combine(date(2000, 1, 1), time())
    for start, hidden in ((at_zero, True), (BEGAN + timedelta(seconds=0.7), False)):
        path = write(recording.path.with_name("h.edf"), start, NIGHT, hidden)
        assert read(path, recording) == (NIGHT, ())


@pytest.mark.parametrize(
    ("first", "by"),
    [
        ("22:00:00", 0),
        ("22:00:01", 0),  # stamped at its end
        ("22:00:40", 40),
        ("10:00:40 PM", 40),
        ("2026-03-01 22:00:40", 40),
        ("3/1/2026 22:00:40.000", 40),
        ("00:00:00", 0),  # counted from the begin
        ("0:00:01", 0),
        ("2026-03-01T22:00:40", 40),
        ("2026/3/1 22:00:40", 40),
        ("2026-03-01 22:00:01", 0),  # stamped at its end
        ("01.03.2026 22:00:40", 40),
        ("22:00", 0),
        ("22:01", 0),  # rounded
        ("0:00", 0),
    ],
)
def test_times_of_day_in_a_table_are_held_against_the_start_too(recording, first, by):
    path = recording.path.with_name("h.tsv")
    rows = [f"{k}\t{first if k == 0 else 'later'}\t{stage}" for k, stage in enumerate(NIGHT)]
    path.write_text("\n".join(["Epoch\tTime\tStage", *rows]))
    stages, remarks = read(path, recording, epoch_s=1.0)
    assert stages == [UNKNOWN] * by + NIGHT[: LENGTH - by]
    assert len(remarks) == (by > 0)


@pytest.mark.parametrize("title", ["Time", "Clock", "Uhr", "Zeit am Recorder"])
def test_times_are_found_under_any_title(recording, title):
    path = recording.path.with_name("h.tsv")
    rows = [f"{(BEGAN + timedelta(seconds=40 + k)).time()}\t{s}" for k, s in enumerate(NIGHT)]
    path.write_text("\n".join([f"{title}\tStage", *rows]))
    stages, (remark,) = read(path, recording, epoch_s=1.0)
    assert stages == [UNKNOWN] * 40 + NIGHT[:-40]
    assert "begins 40 s after" in remark


@pytest.mark.parametrize(
    ("titles", "first", "sentence"),
    [
        ("Time\tStage", "22:03", r"from 22:03:00 on, to 60 s: give times with seconds"),
        ("Time\tStage", "2026/3/2 22:00:00", r"found one from 2026-03-02 22:00:00"),
        ("Time\tStage", "02.03.2026 22:00:00", r"found one from 2026-03-02 22:00:00"),
        ("Date\tTime\tStage", "2026-03-02\t22:00:00", r"found one from 2026-03-02 22:00:00"),
        ("Zeit\tDatum\tStadium", "22:00:00\t2.3.2026", r"found one from 2026-03-02 22:00:00"),
    ],
)
def test_another_date_or_minute_is_refused_unless_told(recording, titles, first, sentence):
    path = recording.path.with_name("h.tsv")
    empty = "\t" * titles.count("\t")
    rows = [f"{first if k == 0 else empty[1:]}\t{s}" for k, s in enumerate(NIGHT)]
    path.write_text("\n".join([titles, *rows]))
    with pytest.raises(RecordingError, match=sentence):
        read(path, recording, epoch_s=1.0)
    assert read(path, recording, epoch_s=1.0, same_start=True)[0] == NIGHT


@pytest.mark.parametrize("by", [0, 40, 3600, 86400])
def test_a_start_by_another_clock_is_told_where_it_is_far_off(tmp_path, by):
    samples = np.zeros((LENGTH * 128, 1), np.float32)
    night = write_streams(tmp_path / "night.xdf", [XdfStream(samples, ["EEG"])])
    header = b"<version>1.0</version>"
    content = night.read_bytes().replace(
        header + b"</info>", b"<datetime>2026-03-01T22:00:00+0100</datetime></info>", 1
    )
    size = struct.unpack_from("<I", content, 5)[0]
    begins = b"<datetime>2026-03-01T22:00:00+0100</datetime>"
    night.write_bytes(
        content[:5] + struct.pack("<I", size + len(begins) - len(header)) + content[9:]
    )
    first = BEGAN + timedelta(seconds=by)
    path = write(tmp_path / "h.edf", first, NIGHT)
    stages, remarks = read(path, open_recording(night))
    assert stages == NIGHT
    assert [f"it begins at {first}, its recording at" in remark for remark in remarks] == [True] * (
        by > 60
    )


@pytest.mark.parametrize("kind", ["csv", "edf"])
def test_a_name_that_was_made_up_chooses_none_of_several_animals(recording, kind):
    path = recording.path.with_name(f"h.{kind}")
    both = {"m1": NIGHT, "m2": NIGHT[::-1]}
    if kind == "csv":
        rows = [f"{who},{k},1,{s}" for who, stages in both.items() for k, s in enumerate(stages)]
        path.write_text("\n".join(["Mouse ID,onset,duration,stage", *rows]))
    else:
        marks = [
            edfio.EdfAnnotation(k, 1, f"{who} {stage}")
            for who, stages in both.items()
            for k, stage in enumerate(stages)
        ]
        edfio.Edf([], annotations=marks).write(path)
    for who, stages in both.items():
        (scoring,) = read_hypnograms(path, [who], MOUSE, recording, Legend()).values()
        assert scoring.hypnogram.to_epochs(1.0, LENGTH) == stages
        assert scoring.account.subject == who
    with pytest.raises(RecordingError, match=r"of m1, found those of m1, m2: .* --subject m1"):
        read_hypnograms(path, ["m1"], MOUSE, recording, Legend(), made_up=True)
    with pytest.raises(RecordingError, match=r"of night, found those of m1, m2: .*alone in the"):
        read_hypnograms(path, ["night"], MOUSE, recording, Legend())


def test_an_animal_that_is_awake_all_night_is_one_of_several(recording):
    path = recording.path.with_name("h.edf")
    marks = [edfio.EdfAnnotation(0, LENGTH, "m1 Wake"), edfio.EdfAnnotation(0, 40, "m2 NREM")]
    marks += [edfio.EdfAnnotation(40, LENGTH - 40, "m2 REM"), edfio.EdfAnnotation(9, None, "LED R")]
    edfio.Edf([], annotations=marks).write(path)
    with pytest.raises(RecordingError, match="of m1, found those of m1, m2"):
        read_hypnograms(path, ["m1"], MOUSE, recording, Legend(), made_up=True)


def test_stages_of_one_animal_are_those_of_the_only_one_and_whose_is_said(recording):
    path = recording.path.with_name("h.edf")
    marks = [edfio.EdfAnnotation(k, 1, f"cage7 {stage}") for k, stage in enumerate(NIGHT)]
    edfio.Edf([], annotations=marks).write(path)
    (scoring,) = read_hypnograms(path, ["m1"], MOUSE, recording, Legend(), made_up=True).values()
    assert scoring.hypnogram.to_epochs(1.0, LENGTH) == NIGHT
    assert scoring.account.subject == "cage7"


def test_a_note_that_begins_like_a_name_names_nobody(recording):
    path = recording.path.with_name("h.edf")
    marks = [edfio.EdfAnnotation(k, 1, stage) for k, stage in enumerate(NIGHT)]
    edfio.Edf([], annotations=[*marks, edfio.EdfAnnotation(3, None, "m1 injected")]).write(path)
    assert read(path, recording)[0] == NIGHT


@given(
    began=st.datetimes(datetime(2026, 3, 1), datetime(2026, 3, 2)).map(
        lambda at: at.replace(microsecond=0)
    ),
    after=st.integers(0, 60),
    events=st.sets(st.integers(61, LENGTH - 5)),
)
@ONE_PATH
def test_bouts_at_times_of_day_lie_where_these_say_over_midnight_too(
    tmp_path, began, after, events
):
    """As RemLogic writes them: arousals stand between the stages, each with that of its epoch."""
    assume((began + timedelta(seconds=after)).time() >= time(0, 2))  # below it counts from begin
    recording = open_recording(write(tmp_path / "night.edf", began))
    night = [HUMAN[k // 20 % 5] for k in range(LENGTH)]
    rows = ["Sleep Stage\tPosition\tTime [hh:mm:ss]\tEvent\tDuration[s]"]
    for k in range(after, LENGTH):
        place = f"Supine\t{began + timedelta(seconds=k):%H:%M:%S}"
        rows.append(f"{night[k]}\t{place}\tSLEEP-{'S0' if night[k] == 'W' else night[k]}\t1")
        if k in events:
            rows.append(f"{night[k]}\t{place}\tAROUSAL\t5")
    path = tmp_path / "night.txt"
    path.write_text("\n".join(rows), encoding="utf-8")
    (scoring,) = read_hypnograms(path, ["p1"], HUMAN, recording, Legend()).values()
    stages = scoring.hypnogram.to_epochs(1.0, LENGTH)
    assert stages == [UNKNOWN] * after + night[after:]
