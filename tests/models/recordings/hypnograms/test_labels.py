"""Which label becomes which stage, and what becomes of the others."""

import json

import edfio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import io

from models.errors import ConfigError, RecordingError
from models.recordings.hypnograms.account import in_words
from models.recordings.hypnograms.codes import BOOKS, as_code, open_book
from models.recordings.hypnograms.interpret import Legend
from models.recordings.hypnograms.read import is_own, is_scored, read_scoring
from models.stages import ART, HUMAN, MOUSE, UNKNOWN, find_stage


def annotate(path, *marks):
    """Write an EDF+ of annotations (onset, duration or None, text)."""
    edfio.Edf([], annotations=[edfio.EdfAnnotation(*mark) for mark in marks]).write(path)
    return path


def write(path, text):
    path.write_text(text)
    return path


def became(scoring):
    """Return (label, stage, seconds) of an account, and what was not read."""
    labels = scoring.account.labels
    read = {(x.label, x.stage, x.seconds) for x in labels if x.stage is not None}
    return read, {(x.label, x.why) for x in labels if x.stage is None}


@given(
    st.sampled_from(
        [
            *[("Wake", x) for x in ("wake", "quiet wake", "active wake", "awake", "stage w", "ma")],
            *[("NREM", x) for x in ("nrem", "non rem", "sws", "nrem sleep", "slow wave sleep")],
            *[("REM", x) for x in ("rem", "rem sleep", "paradoxical sleep", "sleep stage r")],
            *[(ART, x) for x in ("artefact", "artifact", "wake artifact", "nrem artefacts")],
            *[(UNKNOWN, x) for x in ("unscored", "not scored", "?", "n/a", "")],
        ]
    ),
    st.sampled_from([" ", "_", "-", "  ", "."]),
    st.sampled_from([str, str.upper, str.title, str.capitalize]),
    st.sampled_from(["", " ", "\t"]),
)
def test_a_spelling_is_read_however_it_is_written(spelling, space, case, around):
    stage, text = spelling
    assert find_stage(around + case(text.replace(" ", space)) + around, MOUSE) == stage


@pytest.mark.parametrize(
    ("stage", "spellings"),
    [
        ("W", "W, Wake, Stage W, S0, SLEEP-S0, Sleep stage 0, Stage Wake"),
        ("N1", "N1, S1, Stage 1, Stage1, Stage 1 sleep, NREM1, Non-REM 1, NonREM1, NREM stage 1"),
        ("N2", "Sleep stage 2, SLEEP-S2, Stage N2, stage_2, NREM-2, Non-REM stage 2"),
        ("N3", "Stage 3, S4, Stage 4, Sleep stage 3/4, Stage 3-4, S3/S4, SWS, slow wave sleep"),
        ("REM", "R, Stage R, REM sleep, Sleep stage REM, SLEEP-REM"),
        (ART, "MT, SLEEP-MT, Movement time, Artefact"),
        (None, "Stage 5, Stage 6, Stage 12, N4N, S5, Stage, NREM, Movement, L, Stage 1 shift"),
    ],
)
def test_a_stage_of_a_person_is_read_in_the_spellings_of_sleep_labs(stage, spellings):
    found = {text: find_stage(text, HUMAN) for text in spellings.split(", ")}
    assert found == dict.fromkeys(found, stage)


@pytest.mark.parametrize(
    "text",
    ["REM onset", "LED R", "lights off", "rem density", "wake up", "sleep", "stage", "0", "2"],
)
def test_what_only_sounds_like_a_stage_is_none(text):
    assert find_stage(text, MOUSE) is None
    assert find_stage(text, HUMAN) is None


@given(st.integers(-99, 99), st.sampled_from(["{}", "{}.0", "{},0", " {} ", "{}.", "{}.00"]))
def test_a_number_is_no_stage_however_it_is_written(number, form):
    text = form.format(number)
    assert as_code(text) == str(number)
    if number not in (-1,):
        assert find_stage(text, MOUSE) is None


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_an_unknown_label_beside_stages_is_named_with_its_row(tmp_path, suffix):
    d = "," if suffix == "csv" else "\t"
    rows = [("onset", "duration", "stage"), (0, 4, "Wake"), (4, 8, "IS"), (12, 4, "REM")]
    path = write(tmp_path / f"h.{suffix}", "\n".join(d.join(map(str, row)) for row in rows))
    with pytest.raises(RecordingError, match=r"row 3: .*'IS'; --ignore 'IS' .*--codes 'IS=STAGE'"):
        read_scoring(path, MOUSE)
    scoring = read_scoring(path, MOUSE, legend=Legend(ignore=["is"]))
    assert scoring.hypnogram.to_epochs(4, 4) == ["Wake", UNKNOWN, UNKNOWN, "REM"]
    assert became(scoring) == ({("Wake", "Wake", 4), ("REM", "REM", 4)}, {("IS", "ignored")})
    assert in_words(scoring.account)[1] == f"{path}: not read: 'IS' 1 × 8 s (ignored)"
    scoring = read_scoring(path, MOUSE, legend=Legend(codes="IS=NREM"))
    assert scoring.hypnogram.to_epochs(4, 4) == ["Wake", "NREM", "NREM", "REM"]


@given(
    st.lists(
        st.tuples(st.sampled_from(["Wake", "NREM", "REM", "IS", "?"]), st.integers(1, 30)),
        min_size=2,
        max_size=20,
    )
)
def test_a_point_never_lasts_beyond_the_next_one(tmp_path_factory, bouts):
    labels = [label for label, _ in bouts]
    if not {*labels[:-1]} & {*MOUSE} or labels[-1] == "IS":
        return
    path = tmp_path_factory.mktemp("points") / "h.edf"
    onsets = np.cumsum([0, *(length for _, length in bouts)])
    annotate(path, *((float(t), None, label) for t, label in zip(onsets, labels, strict=False)))
    night = read_scoring(path, MOUSE, legend=Legend(ignore=["IS"])).hypnogram
    expected = [
        {"IS": UNKNOWN, "?": UNKNOWN}.get(label, label)
        for label, length in bouts[:-1]
        for _ in range(length)
    ]
    assert night.to_epochs(1.0, int(onsets[-2])) == expected


def test_points_with_an_unknown_label_among_them_are_refused(tmp_path):
    marks = [(0.0, None, "W"), (30.0, None, "Lights off"), (60.0, None, "N2"), (90.0, 30.0, "N3")]
    path = annotate(tmp_path / "h.edf", *marks)
    with pytest.raises(RecordingError, match=r"at 30 s: .*'Lights off'"):
        read_scoring(path, HUMAN)
    scoring = read_scoring(path, HUMAN, legend=Legend(ignore=["Lights off"]))
    assert scoring.hypnogram.to_epochs(30, 4) == ["W", UNKNOWN, "N2", "N3"]


def test_evenly_spaced_points_end_with_the_last_one_as_long(tmp_path):
    path = annotate(tmp_path / "h.edf", *((4.0 * i, None, MOUSE[i % 3]) for i in range(6)))
    assert read_scoring(path, MOUSE).hypnogram.end == 24


def test_an_event_without_a_duration_is_not_stretched_among_bouts(tmp_path):
    marks = [(0.0, 30.0, "Wake"), (10.0, None, "R"), (20.0, None, "LED R"), (30.0, 10.0, "NREM")]
    scoring = read_scoring(annotate(tmp_path / "h.edf", *marks), MOUSE)
    assert scoring.hypnogram.to_epochs(10, 4) == ["Wake", "Wake", "Wake", "NREM"]
    why = "an event, it has no duration"
    assert became(scoring)[1] == {("R", why), ("LED R", why)}


def test_an_event_with_a_duration_refuses_where_no_stage_is(tmp_path):
    bouts = [(0.0, 30.0, "Wake"), (40.0, 10.0, "NREM")]
    inside = annotate(tmp_path / "in.edf", *bouts, (5.0, 8.0, "seizure"))
    assert became(read_scoring(inside, MOUSE))[1] == {
        ("seizure", "an event, at the time of stages")
    }
    outside = annotate(tmp_path / "out.edf", *bouts, (30.0, 10.0, "drowsy"))
    with pytest.raises(RecordingError, match=r"at 30 s: .*'drowsy'"):
        read_scoring(outside, MOUSE)


@pytest.mark.parametrize(
    ("other", "advice"), [("artifact", "--ignore 'artifact'"), ("REM", "are its durations ends")]
)
def test_of_two_stages_at_one_time_the_sentence_says_which(tmp_path, other, advice):
    marks = [(0.0, 10.0, "Wake"), (10.0, 10.0, "NREM"), (12.0, 3.0, other), (20.0, 5.0, "Wake")]
    path = annotate(tmp_path / "h.edf", *marks)
    with pytest.raises(RecordingError, match=f"found two at 12 s: 'NREM' and '{other}'; {advice}"):
        read_scoring(path, MOUSE)
    night = read_scoring(path, MOUSE, legend=Legend(ignore=[other])).hypnogram
    assert night.stages == ("Wake", "NREM", "Wake")


@pytest.mark.parametrize(
    ("labels", "questioned"),
    [
        (["Wake", "NREM", "REM", "R"], "R"),
        (["Wake", "NREM", "REM", "A"], "A"),
        (["Wake", "NREM", "R"], "R"),
        (["Wake", "REM", "N"], "N"),
        (["Wake", "W", "NREM"], "W"),
        (["W", "NREM", "REM"], None),
        (["W", "NR", "R", "A"], None),
        (["w", "n", "r"], None),
    ],
)
def test_a_letter_among_stages_spelt_out_is_questioned(tmp_path, labels, questioned):
    path = annotate(
        tmp_path / "h.edf", *((10.0 * i, 10.0, label) for i, label in enumerate(labels))
    )
    if questioned is None:
        assert not became(read_scoring(path, MOUSE))[1]
        return
    with pytest.raises(RecordingError, match=rf"found '{questioned}' .*--ignore {questioned} "):
        read_scoring(path, MOUSE)
    ignoring = read_scoring(path, MOUSE, legend=Legend(ignore=[questioned]))
    assert became(ignoring)[1] == {(questioned, "ignored")}
    told = read_scoring(path, MOUSE, legend=Legend(codes=f"{questioned}=REM"))
    assert (questioned, "REM", 10) in became(told)[0]


@pytest.mark.parametrize("name", BOOKS)
def test_every_code_book_is_read(tmp_path, name):
    book = open_book(name, MOUSE)
    codes = list(book.stages)
    path = write(tmp_path / "h.txt", "\n".join(codes))
    with pytest.raises(RecordingError, match=r"what the numbers .* --codes sdreamer"):
        read_scoring(path, MOUSE, legend=Legend(epoch_s=4))
    scoring = read_scoring(path, MOUSE, legend=Legend(epoch_s=4, codes=name))
    assert scoring.hypnogram.stages == tuple(book.stages.values())
    assert scoring.account.codes == name


def test_the_books_differ_where_it_matters():
    two = [open_book(name, MOUSE).read("2") for name in ("sdreamer", "accusleep", "yasa", "rk")]
    assert two == ["REM", "Wake", "NREM", "NREM"]
    assert open_book("sdreamer, 255=unscored", MOUSE).read("255") == UNKNOWN
    assert open_book("yasa", HUMAN).read("4") == "REM"
    assert open_book("rk", HUMAN).read("4") == "N3"


def test_a_number_that_a_book_lacks_is_told(tmp_path):
    path = write(tmp_path / "h.txt", "1\n7\n3\n")
    with pytest.raises(RecordingError, match=r"numbers of accusleep .*found '7'; .*accusleep,7=ST"):
        read_scoring(path, MOUSE, legend=Legend(epoch_s=4, codes="accusleep"))
    scoring = read_scoring(path, MOUSE, legend=Legend(epoch_s=4, codes="accusleep,7=unscored"))
    assert scoring.hypnogram.stages == ("REM", UNKNOWN, "NREM")


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("accusleeep", "expected one of sdreamer, accusleep, .*found 'accusleeep'"),
        ("1=Wake,2", "expected one of sdreamer, .*found '2'"),
        ("1=awful", "expected LABEL=STAGE .*found '1=awful'"),
        ("=Wake", "expected LABEL=STAGE"),
    ],
)
def test_an_unknown_book_is_told(asked, sentence):
    with pytest.raises(ConfigError, match=sentence):
        open_book(asked, MOUSE)
    with pytest.raises(ConfigError, match=r"expected a book with W, N1, .* found 'accusleep'"):
        open_book("accusleep", HUMAN)


def test_a_sidecar_says_what_numbers_mean(tmp_path):
    path = write(tmp_path / "s_events.tsv", "onset\tduration\tvalue\n0\t4\t1\n4\t4\t2\n")
    levels = {"value": {"Levels": {"1": "NREM sleep", "2": "REM sleep"}}}
    write(tmp_path / "s_events.json", json.dumps(levels))
    assert read_scoring(path, MOUSE).hypnogram.stages == ("NREM", "REM")
    assert read_scoring(path, MOUSE, legend=Legend(codes="1=Wake,2=NREM")).hypnogram.stages == (
        "Wake",
        "NREM",
    )
    write(tmp_path / "s_events.json", "[]")
    with pytest.raises(RecordingError, match="--codes"):
        read_scoring(path, MOUSE)


@pytest.mark.parametrize(
    ("scores", "sentence"),
    [
        ([0, 1, 2, 0.5], "expected whole numbers in 'sleep_scores', found 0.5 at 4"),
        ([1, 1, 2, 3], "found 1, 2, 3 and no 0: .*--codes accusleep"),
        ([0, 1, *[3] * 16], "found 16 s of 3 at a stretch"),
        ([0, 7], "numbers of sdreamer .*found '7'; --codes sdreamer,7=STAGE"),
        ([np.nan, -1, np.nan], "nobody scored it"),
    ],
)
def test_sleep_scores_that_are_hardly_the_labs_are_refused(tmp_path, scores, sentence):
    path = tmp_path / "m.mat"
    io.savemat(path, {"sleep_scores": np.array([scores], float)})
    with pytest.raises(RecordingError, match=sentence):
        read_scoring(path, MOUSE)


def test_sleep_scores_of_the_lab_and_of_others(tmp_path):
    path = tmp_path / "m.mat"
    io.savemat(path, {"sleep_scores": np.array([[0, 1, 2, np.nan, -1, 3]])})
    expected = ["Wake", "NREM", "REM", UNKNOWN, UNKNOWN, "Wake"]
    assert read_scoring(path, MOUSE).hypnogram.to_epochs(1, 6) == expected
    io.savemat(path, {"labels": np.array([[1], [2], [3]])})  # as AccuSleep has them
    with pytest.raises(RecordingError, match=r"length of an epoch .*--hypnogram-epoch"):
        read_scoring(path, MOUSE, legend=Legend(codes="accusleep"))
    with pytest.raises(RecordingError, match="--codes"):
        read_scoring(path, MOUSE, legend=Legend(epoch_s=2.5))
    scoring = read_scoring(path, MOUSE, legend=Legend(epoch_s=2.5, codes="accusleep"))
    assert scoring.hypnogram.stages == ("REM", "Wake", "NREM")


@pytest.mark.parametrize(
    ("seconds", "question"),
    [
        ({"NREM": 9000, "REM": 100}, "no Wake in 2.5 h"),
        ({"Wake": 9000, "REM": 100}, "no NREM in 2.5 h"),
        ({"Wake": 50, "NREM": 90, "REM": 100}, "100 s of REM beside 90 s of NREM"),
        ({"Wake": 50, "NREM": 1000, "REM": 100}, None),
        ({"NREM": 600}, None),
        ({"N2": 9000, "REM": 100}, "no W in 2.5 h"),
        ({"W": 9000, "REM": 100}, "no NREM in 2.5 h"),
        ({"W": 50, "N1": 30, "N2": 60, "REM": 100}, "100 s of REM beside 90 s of NREM"),
        ({"W": 600, "N1": 9000, "N2": 600}, "9000 s of N1 beside 600 s of N2"),
        ({"W": 600, "N1": 600, "N2": 9000, "N3": 600, "REM": 3000}, None),
    ],
)
def test_what_nobody_does_is_questioned(tmp_path, seconds, question):
    stages = HUMAN if seconds.keys() & {"W", "N2"} else MOUSE
    ends = np.cumsum([0, *seconds.values()])
    bouts = zip(ends, seconds.values(), seconds, strict=False)
    rows = [f"{onset},{duration},{stage}" for onset, duration, stage in bouts]
    path = write(tmp_path / "h.csv", "\n".join(["onset,duration,stage", *rows]))
    found = read_scoring(path, stages).account.questions
    assert found == (() if question is None else (question,))


def test_a_file_that_nobody_scored_does_not_count(tmp_path):
    legend = Legend(epoch_s=4.0)
    assert not is_scored(write(tmp_path / "h.csv", "stage\nunscored\n?\n"), MOUSE, legend)
    assert is_scored(write(tmp_path / "h.csv", "stage\nunscored\nwake\n"), MOUSE, legend)
    assert not is_scored(annotate(tmp_path / "h.edf", (0.0, 4.0, "LED R")), MOUSE, legend)
    named = annotate(tmp_path / "h.edf", (0.0, 4.0, "m1 Wake"), (4.0, 4.0, "m1 NREM"))
    assert is_scored(named, MOUSE, legend)
    assert not is_own(named)
