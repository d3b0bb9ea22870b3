"""A person's night in a sleep lab's words, and as all the night's outputs tell it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from models.stages import ART, HUMAN, MOUSE, UNKNOWN
from tests.support.nights import human_stage, session, write_journal
from tests.support.pages import Page
from tools.cli import app
from tools.night.counting import NOT_RECORDED, Course
from tools.night.figures import lengths_of
from tools.night.sleep import SleepFigures, sleep_figures_of, sleep_lines

LETTERS = dict(zip("W123R", HUMAN, strict=True)) | {"a": ART, "u": UNKNOWN, ".": NOT_RECORDED}
EVENING_TO_MORNING = "WWWW" + "1" + "22" + "W" + "3333" + "a" + "22" + "RRR" + "WW" + "2" + "WWW"


def course(text: str, names: tuple[str, ...] = HUMAN) -> Course:
    stages = [LETTERS[letter] for letter in text]
    return Course(start=0.0, epoch_s=30.0, names=names, stages=stages, min_bout_s=0.0)


def figures(text: str) -> SleepFigures:
    found = sleep_figures_of(course(text))
    assert found is not None
    return found


def test_the_manuals_figures():
    assert figures(EVENING_TO_MORNING) == SleepFigures(
        recording_s=24 * 30,
        sleep_s=13 * 30,
        efficiency=round(13 / 24, 4),
        latency_s=4 * 30,
        rem_latency_s=11 * 30,
        wake_after_onset_s=6 * 30,
        sleep_shares={"N1": 0.0769, "N2": 0.3846, "N3": 0.3077, "REM": 0.2308},
    )


def test_who_does_not_sleep_has_no_latency():
    found = figures("WWaW")
    assert (found.latency_s, found.rem_latency_s, found.sleep_shares) == (None, None, {})
    assert (found.sleep_s, found.efficiency, found.wake_after_onset_s) == (0, 0, 0)
    said = dict(sleep_lines(found))
    assert said["sleep latency"] == said["REM latency"] == "none"
    assert said["share of total sleep time"] == "no sleep"


def test_sleep_without_rem_has_no_rem_latency():
    assert figures("W1223").rem_latency_s is None


def test_mice_have_no_sleep_efficiency():
    assert sleep_figures_of(course("", MOUSE)) is None


@given(st.text("W123R", min_size=1, max_size=60))
def test_where_every_epoch_has_a_stage_latency_sleep_and_wake_after_it_are_the_recording(text):
    found = figures(text)
    if found.latency_s is None:
        assert set(text) == {"W"}
        return
    assert found.latency_s + found.sleep_s + found.wake_after_onset_s == found.recording_s
    assert sum(found.sleep_shares.values()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("epoch_s", "first"), [(1.0, 5.0), (4.0, 5.0), (30.0, 60.0)])
def test_bouts_are_counted_together_in_lengths_that_fit_the_epochs(epoch_s, first):
    edges = lengths_of(epoch_s)
    assert edges[:3] == (0.0, first, 2 * first)
    assert len(edges) == 9


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> tuple[dict, str, str]:
    """Return what the night says as JSON, on the terminal, and as a page."""
    folder = tmp_path_factory.mktemp("night")
    said = [human_stage(k, stage=LETTERS[x]) for k, x in enumerate(EVENING_TO_MORNING)]
    path = str(write_journal(folder / "j.sqlite", said, session()))
    page = folder / "night.html"
    runs = [
        CliRunner().invoke(app, ["night", path, "--session", "s", *options])
        for options in (["--json"], ["--html", str(page), "--png", str(folder / "night.png")])
    ]
    assert [run.exit_code for run in runs] == [0, 0], runs
    return json.loads(runs[0].output), runs[1].output, page.read_text("utf-8")


def test_the_night_says_them_to_machines_and_people(told):
    as_json, terminal, page = told
    assert as_json["subjects"]["p1"]["figures"]["sleep"]["sleep_s"] == 390
    assert "sleep efficiency 54.2%" in terminal
    text = Page(page).text
    assert "REM latency 5.5 min" in text
    assert "N1 8%, N2 38%, N3 31%, REM 23%" in text


def test_one_artefact_of_30_s_is_of_the_bout_before(told):
    bouts = told[0]["subjects"]["p1"]["figures"]["bouts"]
    assert bouts["N3"]["longest_s"] == 150
    assert bouts["W"]["n"] == 4
