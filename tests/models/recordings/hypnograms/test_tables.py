"""Tables of stages in any delimiter, decimal sign and encoding, and as programs export them."""

import csv
import io
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from models.errors import RecordingError
from models.recordings.hypnogram import Hypnogram
from models.recordings.hypnograms.interpret import Legend
from models.recordings.hypnograms.read import is_own, read_hypnogram, read_scoring
from models.stages import ART, HUMAN, MOUSE, UNKNOWN

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252")


def read(path, **legend):
    return read_scoring(path, MOUSE, legend=Legend(**legend)).hypnogram


@given(
    bouts=st.lists(
        st.tuples(st.sampled_from([*MOUSE, ART]), st.integers(1, 400)), min_size=1, max_size=12
    ),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    comma=st.booleans(),
    encoding=st.sampled_from(ENCODINGS),
    suffix=st.sampled_from(["csv", "tsv", "txt"]),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    titles=st.sampled_from(
        [
            ("onset", "duration", "stage"),
            ("Onset (s)", "Duration [s]", "Sleep Stage"),
            ("start", "dur", "STATE"),
            ("onset_s", "duration_s", "Score"),
        ]
    ),
    preamble=st.booleans(),
)
@settings(max_examples=150)
def test_any_table_says_the_same(
    tmp_path_factory, bouts, delimiter, comma, encoding, suffix, newline, titles, preamble
):
    """Decimal commas between comma delimiters are in quotes, as csv.writer has them."""
    path = tmp_path_factory.mktemp("tables") / f"h.{suffix}"
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=newline)
    if preamble:
        text.write(f"Käfig 7{newline}{newline}")
    writer.writerow((*titles, "note"))
    onset = 0.0
    for stage, quarters in bouts:
        times = [f"{x:.2f}" for x in (onset, quarters / 4)]
        writer.writerow([*(t.replace(".", ",") if comma else t for t in times), stage, "ä, b"])
        onset += quarters / 4
    path.write_bytes(text.getvalue().encode(encoding))
    night = read(path)
    assert night.stages == tuple(stage for stage, _ in bouts)
    assert night.durations.tolist() == [quarters / 4 for _, quarters in bouts]


def test_two_columns_of_one_title_are_read_where_they_agree(tmp_path):
    path = tmp_path / "h.csv"
    path.write_text("onset,duration,stage,Stage\n0,4,Wake,Wake\n4,4,NREM,NREM\n")
    assert read(path).stages == ("Wake", "NREM")
    path.write_text("onset,duration,stage,Stage\n0,4,Wake,NREM\n4,4,NREM,NREM\n")
    with pytest.raises(RecordingError, match="one column 'stage', found 2 that differ"):
        read(path)


EXPORTS = {
    "AccuSleep": ("brain_state\n2\n3\n1\n", {"codes": "accusleep"}),
    "AccuSleep, sure": (
        "brain_state,confidence_score\n2,0.9\n3,0.8\n1,1\n",
        {"codes": "accusleep"},
    ),
    "SleepSign": (
        "Epoch No\tStage\tTime\n1\tW\t2026/3/1 22:00:00\n2\tNR\t22:00:04\n3\tR\t22:00:08\n",
        {},
    ),
    "Sirenia": (
        "Epoch #\tStart Time\tScore\n1\t3/1/26 22:00\tWake\n2\t22:00\tNon REM\n3\t22:01\tREM\n",
        {},
    ),
    "NeuroScore": (
        "Animal,m1\n\nEpoch,Time,Sleep Score\n1,22:00,Active Wake\n2,22:00,SWS\n3,,Paradoxical\n",
        {},
    ),
    "Spike2": ('"Time","State"\n0,"Wake"\n4,"NREM"\n8,"REM"\n12,"unscored"\n', {}),
    "with ends": (
        "Epoch #,Start Time,End Time,Score\n1,22:00,22:00,W\n2,,,NR\n3,,,R\n",
        {},
    ),
    "pandas": (",stage\n0,Wake\n1,NREM\n2,REM\n", {}),
    "titled": ("Sleep state\nWake\nNREM\nREM\n", {}),
    "a column": ("Wake\nNREM\nREM\n", {}),
    "numbers": ("0\n2\n4\n", {"codes": "yasa"}),
    "numbered": ("1;W\n2;NR\n3;R\n", {}),
}


@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize("epoch_s", [4.0, 4.0006, 2.5])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_stage_a_line_as_programs_export_it(tmp_path, name, epoch_s, encoding):
    text, legend = EXPORTS[name]
    for k in (1, 2):
        text = text.replace(f"22:00:0{4 * k}", f"22:00:{int(k * epoch_s):02}")
    path = tmp_path / "h.txt"
    path.write_bytes(text.encode(encoding))
    if name == "Spike2":
        assert read(path).to_epochs(4, 4) == ["Wake", "NREM", "REM", UNKNOWN]
        return
    night = read(path, epoch_s=epoch_s, **legend)
    assert night.stages == ("Wake", "NREM", "REM")
    assert night.epoch_s == pytest.approx(epoch_s)
    with pytest.raises(RecordingError, match=r"length of an epoch .*--hypnogram-epoch 4"):
        read(path, **legend)


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
@pytest.mark.parametrize(
    "titles",
    [
        "Epoche;Uhrzeit;Schlafstadium",
        "Epochen-Nr.;Zeit;Stadium",
        "Nr.;Beginn;Schlafphase",
        "Époque;Heure;Stade de sommeil",
        "N°;Début;État de vigilance",
        "EpochNo;StartTime;SleepStage",
        "Epoch index;Time of day;brain-state",
    ],
)
def test_titles_in_german_french_and_one_word_are_found(tmp_path, titles, encoding):
    path = tmp_path / "h.csv"
    rows = [f"{k + 1};22:00:{4 * k:02};{stage}" for k, stage in enumerate(MOUSE)]
    path.write_bytes("\n".join([titles, *rows]).encode(encoding))
    assert read(path, epoch_s=4.0).stages == MOUSE
    path.write_bytes("\n".join([titles, rows[0], rows[2]]).encode(encoding))
    with pytest.raises(RecordingError, match="row 3: expected"):  # by number, or by time
        read(path, epoch_s=4.0)


@pytest.mark.parametrize(
    "titles", ["Beginn (s);Dauer (Sek.);Stadium", "début;durée;stade", "Start;Länge;Zustand"]
)
def test_german_and_french_bouts_are_read(tmp_path, titles):
    path = tmp_path / "h.csv"
    path.write_text(f"{titles}\n0,0;2,5;W\n2,5;1,5;NREM\n", "cp1252")
    assert read(path).durations.tolist() == [2.5, 1.5]


def test_a_file_from_a_mac_is_read_by_what_was_typed(tmp_path):
    path = tmp_path / "h.csv"
    path.write_text("stage\nE\u0301veil\nNREM\n", "utf-8")
    assert read(path, epoch_s=4.0, codes="\u00c9veil=Wake").stages == ("Wake", "NREM")


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("stage\nWake\n\nREM\nREM\n", 3),
        ("stage\tnote\nWake\ta\n\t\nREM\tb\nREM\tc\n", 3),
        ("Wake\nWake\n \nREM\n", 3),
        ("1;W\n2;W\n\n3;R\n", 3),
    ],
)
def test_an_empty_line_between_stages_moves_none_of_them(tmp_path, text, row):
    path = tmp_path / "h.txt"
    path.write_text(text, "utf-8")
    with pytest.raises(RecordingError, match=f"row {row}: .* found an empty line; write UNKNOWN"):
        read(path, epoch_s=4.0)


def test_times_of_subjects_that_take_turns_are_each_s_own(tmp_path):
    path = tmp_path / "h.csv"
    rows = [f"22:00:{4 * k:02},{who},Wake" for k in range(5) for who in ("m1", "m2")]
    path.write_text("\n".join(["time,subject,stage", *rows]), "utf-8")
    for who in ("m1", "m2"):
        scoring = read_scoring(path, MOUSE, subject=who, legend=Legend(epoch_s=4.0))
        assert scoring.hypnogram.durations.sum() == 20.0
    path.write_text("\n".join(["time,subject,stage", *rows[:4], *rows[5:]]), "utf-8")
    with pytest.raises(RecordingError, match="row 7: expected 4 s after 22:00:04, found 22:00:12"):
        read_scoring(path, MOUSE, subject="m1", legend=Legend(epoch_s=4.0))


def test_lines_that_are_all_spaced_alike_are_stages(tmp_path):
    path = tmp_path / "h.txt"
    path.write_bytes(b"stage\r\r\nWake\r\r\nNREM\r\r\nREM\r\r\n\r\n")
    assert read(path, epoch_s=4.0).stages == ("Wake", "NREM", "REM")


CLOCKS = {
    "%H:%M:%S": lambda t: t.strftime("%H:%M:%S"),
    "dated": lambda t: t.isoformat(" ", "seconds"),
    "AM": lambda t: t.strftime("%I:%M:%S %p"),
    "with ms": lambda t: t.isoformat(" ", "milliseconds"),
    "ISO 8601": lambda t: t.isoformat("T", "seconds"),
    "twelve hours": lambda t: t.strftime("%I:%M:%S"),
}


@given(
    st.sampled_from(sorted(CLOCKS)),
    st.sampled_from([1.0, 2.5, 4.0, 4.0006, 10.0]),
    st.integers(0, 86399),
    st.integers(2, 60),
    st.data(),
)
def test_times_of_day_beside_stages_are_all_held_against_each_other(how, epoch_s, first, n, data):
    """A row that is missing is named, at whatever time of the day."""
    assume(epoch_s == int(epoch_s) or how == "with ms" or epoch_s > 2)
    begin = datetime(2026, 3, 1) + timedelta(seconds=first)
    times = [CLOCKS[how](begin + timedelta(seconds=k * epoch_s)) for k in range(n + 2)]
    rows = [f"{t}\tWake" for t in times]
    missing = data.draw(st.integers(1, n))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "h.txt"
        path.write_text("\n".join(["time\tstage", *rows]), "utf-8")
        assert read(path, epoch_s=epoch_s).durations.sum() == pytest.approx((n + 2) * epoch_s)
        path.write_text("\n".join(["time\tstage", *rows[:missing], *rows[missing + 1 :]]), "utf-8")
        with pytest.raises(
            RecordingError, match=f"row {missing + 2}: expected {epoch_s:g} s after"
        ):
            read(path, epoch_s=epoch_s)


@given(
    how=st.sampled_from(["%H:%M", "%d.%m.%Y %H:%M", "%I:%M %p", "%M:%S"]),
    epoch_s=st.sampled_from([1.0, 2.0, 4.0, 5.0, 10.0]),
    first=st.integers(0, 86399),
    wrong=st.sampled_from([0.5, 2.0, 3.0]),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_times_to_the_minute_are_held_against_the_epochs(tmp_path, how, epoch_s, first, wrong):
    """Or those that count minutes and seconds from the begin on."""
    begin = datetime(2026, 3, 1) + timedelta(seconds=first)
    times = [(begin + timedelta(seconds=k * epoch_s)).strftime(how) for k in range(200)]
    path = tmp_path / "h.txt"
    path.write_text("\n".join(["time\tstage", *(f"{t}\tWake" for t in times)]), "utf-8")
    assert read(path, epoch_s=epoch_s).durations.sum() == pytest.approx(200 * epoch_s)
    with pytest.raises(RecordingError, match=r"row \d+: expected .* correct --hypnogram"):
        read(path, epoch_s=epoch_s * wrong)


@given(
    how=st.sampled_from(["%H:%M", "%d.%m.%Y %H:%M", "%I:%M %p"]),
    epoch_s=st.sampled_from([1.0, 2.5, 4.0, 5.0, 10.0, 20.0, 30.0, 60.0]),
    first=st.integers(0, 86399),
    data=st.data(),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_minute_with_a_row_too_few_is_named(tmp_path, how, epoch_s, first, data):
    begin = datetime(2026, 3, 1) + timedelta(seconds=first)
    n = round(300 / epoch_s) + 1
    times = [(begin + timedelta(seconds=k * epoch_s)).strftime(how) for k in range(n)]
    rows = [f"{t}\tWake" for t in times]
    missing = data.draw(st.integers(round(60 / epoch_s), n - round(60 / epoch_s) - 1))
    path = tmp_path / "h.txt"
    path.write_text("\n".join(["time\tstage", *rows]), "utf-8")
    assert read(path, epoch_s=epoch_s).durations.sum() == pytest.approx(n * epoch_s)
    path.write_text("\n".join(["time\tstage", *rows[:missing], *rows[missing + 1 :]]), "utf-8")
    per_minute = round(60 / epoch_s)
    with pytest.raises(RecordingError, match=r"expected \d+ rows from .* UNKNOWN") as error:
        read(path, epoch_s=epoch_s)
    named = int(str(error.value).split("row ")[1].split(":")[0])
    assert missing + 1 <= named <= missing + 2 + per_minute


def test_epochs_at_a_change_of_minutes_may_be_told_with_either(tmp_path):
    early = [k % 2 == 0 for k in range(6)]
    minutes = [k // 6 - (k % 6 == 0 and early[k // 6]) for k in range(36)]
    path = tmp_path / "h.txt"
    path.write_text("\n".join(["time\tstage", *(f"22:{10 + m}\tWake" for m in minutes)]), "utf-8")
    assert read(path, epoch_s=10.0).durations.sum() == 360


@given(
    st.lists(st.sampled_from(MOUSE), min_size=12, max_size=200),
    st.sampled_from([1.0, 2.5, 4.0, 4.0006, 5.0, 10.0, 3.9997]),
    st.sampled_from([3, 4, 6]),
)
def test_odd_epochs_are_told_by_times_that_were_rounded(stages, epoch_s, digits):
    whole = Hypnogram.from_epochs(stages, epoch_s).merged()
    assume(len(whole.stages) > 11)
    shortest = whole.durations[:-1].min()
    assume(shortest < 1.5 * epoch_s)
    night = Hypnogram(whole.onsets.round(digits), whole.durations.round(digits), whole.stages)
    assert night.epoch_s == pytest.approx(epoch_s, abs=1e-3)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "expected stages, found an empty file"),
        ("onset,duration\n0,1\n", "row 1: expected a column stage .* found onset, duration"),
        ("onset,duration,stage\n0,4,Wake\n4,4,deep\n", "row 3: .* found the stage 'deep'"),
        ("onset,duration,stage\n0,x,Wake\n", "row 2: expected seconds in .*'duration', found 'x'"),
        (
            "onset,duration,stage\n22:00:00,4,Wake\n",
            "row 2: expected seconds in .* '22:00:00'; count",
        ),
        ("onset,duration,stage\nnan,4,Wake\n", "row 2: expected an onset in seconds of 'Wake'"),
        ("onset,duration,stage\n0,inf,Wake\n", "row 2: expected seconds"),
        ("onset,duration,stage\n0,-4,Wake\n", "row 2: expected no duration below 0 s, found -4"),
        ("onset,duration,stage\n0,4,Wake\n3,4,REM\n", "found two at 3 s"),
        ("onset,duration,stage\n0\n", "row 2: expected seconds .* found no such cell"),
        ("onset,duration,stage\n0,0,4,0,Wake\n", "row 2: expected 3 cells .* found 5; a decimal"),
        ("stage,onset,duration\nWake,0,0,4,0\n", "row 2: expected 3 cells .* found 5; a decimal"),
        ("onset (samples),duration,stage\n0,4,Wake\n", "row 1: expected seconds, ms .*'samples'"),
        ("onset,duration,stage\n", "found none"),
        ("0,4,Wake\n4,4,REM\n", "row 1: expected a header such as onset,duration,stage"),
        ("0.0\tWake\n8.5\tREM\n", r"row 1: expected a header such as onset,stage .* 0.0 \| Wake"),
        ("Wake;0.0\nREM;8.5\n", "such as stage,onset above 2 columns.* is in seconds from the fir"),
        ("sleepiness\nWake\nREM\n", "row 1: expected a stage, or a title .*'sleepiness'"),
        ("start,end,stage\n22:00,22:05,Wake\n", "row 2: expected seconds in .*'start'"),
        ("onset,duration,trial_type,value\n0,4,ev,0\n4,4,ev,1\n", "what the numbers '0', '1' st"),
        ("n,scorer1,scorer2\n1,W,W\n2,NR,W\n", "row 1: .* stages in 'scorer1' and 'scorer2': give"),
        ("onset,duration,AB,CD\n0,4,W,W\n", "row 1: .* stages in 'AB' and 'CD': give the one"),
        ("night 7\nn,hypno\n1,W\n2,NR\n", "row 2: .* stages in 'hypno': give .* the title stage"),
        ("n,AB\n1,1\n2,2\n", "row 1: expected a column stage .* found n, AB: give the one"),
        ("Stage,Score\nW,W\nNR,W\n", "row 3: .* found Stage 'NR' and Score 'W'; give the one"),
        ("epoch stage\n1 W\n2 NR\n", "row 1: expected tabs, .* found spaces alone: 'epoch stage'"),
        ("stage\nÉveil\nSP\n", "found 'Éveil', 'SP'; --codes 'Éveil=STAGE' says which"),
        ("Epoch,Stage\n1,W\n2,NR\nTotal,2\n", "row 4: expected names of stages, .* '2' stand"),
        ("stage,duration\nWake,4\nNREM,6\n", "row 3: .* 4 s of --hypnogram-epoch .* found 6 s; b"),
        ("stage,animal\nWake,m1\nNREM,\n", "row 3: .* found nobody in the column 'animal'"),
        ("PK\x03\x04", "found a spreadsheet or archive: save it as CSV"),
        ("Epoch,Stage\n1,W\n2,NR\n4,R\n", "row 4: expected epoch 3 after epoch 2, found 4; of"),
        (
            "Epoch,Stage\n5,W\n6,NR\n",
            "row 2: expected epochs that are numbered .* 1 on, found 5; o",
        ),
        ("Epoch,Stage\n,W\n4,NR\n5,R\n", "row 3: expected epochs that are numbered .* found 4; o"),
        ("Epoch,Stage\n1,W\n,NR\n2,R\n", "row 4: expected epoch 3 after epoch 1, found 2; of"),
    ],
)
def test_a_broken_table_is_one_sentence_with_path_and_row(tmp_path, content, sentence):
    path = tmp_path / "h.csv"
    path.write_text(content, "utf-8")
    with pytest.raises(RecordingError, match=sentence) as caught:
        read(path, epoch_s=4.0)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "text",
    [
        "Epoch,Stage\n1,Wake\n,NREM\n3,REM\n",
        "Epoch,Stage\n,Wake\n1,NREM\n2,REM\n",
        ",animal,stage\n0,m0,Wake\n1,m1,Wake\n2,m1,NREM\n3,m1,REM\n",
    ],
)
def test_epochs_that_are_numbered_in_part_or_on_over_animals_are_read(tmp_path, text):
    path = tmp_path / "h.csv"
    path.write_text(text)
    scoring = read_scoring(path, MOUSE, subject="m1", legend=Legend(epoch_s=4.0))
    assert scoring.hypnogram.stages == MOUSE


def test_units_and_ends_in_the_titles_count(tmp_path):
    path = tmp_path / "h.csv"
    path.write_text("start (ms),stop (ms),stage\n0,4000,Wake\n4000,6000,REM\n")
    assert read(path).durations.tolist() == [4, 2]
    path.write_text("onset,duration,trial_type,value\n0,4,n/a,Wake\n4,2,n/a,REM\n")
    assert read(path).stages == ("Wake", "REM")
    path.write_text("onset,duration,trial_type,value\n0,4,sleep_stage,Wake\n4,2,sleep_stage,REM\n")
    assert read(path).stages == ("Wake", "REM")


def test_columns_that_are_not_read_are_named(tmp_path):
    path = tmp_path / "h.csv"
    path.write_text("epoch,time,stage,score,artifact,empty\n1,22:00:00,W,Wake,0,\n2,,NR,NREM,1,\n")
    scoring = read_scoring(path, MOUSE, legend=Legend(epoch_s=4.0))
    assert scoring.account.flaws == ("not read of its columns: 'score', 'artifact'",)
    path.write_text("onset,duration,stage\n0,4,Wake\n")
    assert read_scoring(path, MOUSE).account.flaws == ()


@pytest.mark.parametrize("title", ["Time (hh:mm:ss)", "Start Time [24h]", "Zeit (Uhr)"])
def test_a_form_in_a_title_is_no_unit(tmp_path, title):
    path = tmp_path / "h.csv"
    path.write_text(f"{title},stage\n22:00:00,Wake\n22:00:04,NREM\n")
    assert read(path, epoch_s=4.0).stages == ("Wake", "NREM")


@pytest.mark.parametrize(
    ("titles", "rows"),
    [
        ("from,to,stage", ["0,4,Wake", "4,6,REM"]),
        ("von;bis;Stadium", ["0;4;Wake", "4;6;REM"]),
        ("Sekunde;Dauer;Stadium", ["0;4;Wake", "4;2;REM"]),
        ("Seconds\tDuration\tStage", ["0\t4\tWake", "4\t2\tREM"]),
        ("onset,duration,stage,kind", ["0,4,Wake,live", "4,2,REM,final"]),
        ("onset,duration,stage", ["0,4,Wake", "4,2,REM", "\x1a"]),
    ],
)
def test_no_bout_of_another_form_is_lost(tmp_path, titles, rows):
    path = tmp_path / "h.csv"
    path.write_text("\n".join([titles, *rows]))
    assert read(path).durations.tolist() == [4, 2]


def test_onsets_alone_are_points(tmp_path):
    path = tmp_path / "h.csv"
    path.write_text("onset,stage\n0,Wake\n4,NREM\n10,unscored\n12,REM\n20,unscored\n")
    assert read(path).durations.tolist() == [4, 6, 2, 8, 0]


@pytest.mark.parametrize(
    "text",
    [
        "onset,duration,stage,staged_by\n0,4,Wake,hypnod: a bundle\n",
        "subject,kind,hop,onset,duration,stage,pathway\nm1,final,0,0,4,Wake,mixed\n",  # before
    ],
)
def test_what_hypnod_wrote_is_known(tmp_path, text):
    path = tmp_path / "h.csv"
    path.write_text(text)
    assert is_own(path)
    path.write_text("onset,duration,stage\n0,4,Wake\n")
    assert not is_own(path)


@pytest.mark.parametrize(
    ("first", "legend", "became"),
    [
        ("Unscored", {}, UNKNOWN),
        ("?", {}, UNKNOWN),
        ("Artifact", {}, ART),
        ("IS", {"codes": "IS=ART"}, ART),
        ("IS", {"codes": "IS=NREM"}, "NREM"),
        ("IS", {"ignore": ["is"]}, UNKNOWN),
    ],
)
def test_a_night_may_begin_with_what_is_no_stage(tmp_path, first, legend, became):
    path = tmp_path / "night.txt"
    path.write_text(f"{first}\nWake\nNREM\nREM\n")
    assert read(path, epoch_s=4, **legend).to_epochs(4.0, 4) == [became, *MOUSE]


def test_a_first_line_that_may_be_a_title_is_refused_with_what_to_type(tmp_path):
    path = tmp_path / "night.txt"
    path.write_text("Lights on\nWake\nNREM\nREM\n")
    advice = r"row 1: expected a stage, or a title .*--ignore 'Lights on' .*'Lights on=STAGE'"
    with pytest.raises(RecordingError, match=advice):
        read(path, epoch_s=4)


def test_of_rows_with_a_stage_and_now_and_then_an_event_the_stages_are_read(tmp_path):
    """REM stands for eyes there, and no row says that it is no stage."""
    path = tmp_path / "h.tsv"
    rows = ["N2\t", "N2\tArousal", "REM\tREM", "REM\t"]
    path.write_text("\n".join(["Stage\tEvent", *rows]), "utf-8")
    found = read_hypnogram(path, HUMAN, epoch_s=30.0)
    assert found.to_epochs(30.0, 4) == ["N2", "N2", "REM", "REM"]


def test_a_clock_of_twelve_hours_goes_on_after_one(tmp_path):
    path = tmp_path / "h.tsv"
    times = ("12:59:00", "12:59:30", "1:00:00", "1:00:30")
    rows = [f"{at}\t30\t{stage}" for at, stage in zip(times, HUMAN[:4], strict=True)]
    path.write_text("\n".join(["Time\tDuration\tStage", *rows]), "utf-8")
    assert read_hypnogram(path, HUMAN).to_epochs(30.0, 4) == [*HUMAN[:4]]
