"""What is counted of a night, by the rule that the user states."""

import csv
import json
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from daemon.config import DayConfig
from daemon.journal.reader import JournalReader
from daemon.messages import Features
from models.errors import ConfigError
from models.stages import MOUSE
from tests.support.nights import EVENING, iso, session, stage, write_journal
from tools.cli import app
from tools.night.counting import NOT_RECORDED, Course, Rule, count
from tools.night.figures import figures_of
from tools.night.record import Selection, read_records
from tools.shared.day import Day

LETTERS = {"W": "Wake", "N": "NREM", "R": "REM", "a": "ART", "u": "UNKNOWN", ".": NOT_RECORDED}
DAY = Day(DayConfig(lights_on="07:00", zone="UTC"))


def course(text, min_bout_s=0.0, epoch_s=1.0):
    stages = [LETTERS[letter] for letter in text]
    return Course(start=0.0, epoch_s=epoch_s, names=MOUSE, stages=stages, min_bout_s=min_bout_s)


def bouts(text, *options):
    return " ".join(f"{b.stage[0]}{b.duration:g}" for b in course(text, *options).bouts)


@pytest.mark.parametrize(
    ("text", "least", "found"),
    [
        ("WWWNNNRR", 0, "W3 N3 R2"),
        ("WWWNWWW", 2, "W7"),
        ("NNNNWRNNNN", 2, "N10"),
        ("NNNNWWRNNNN", 2, "N4 W3 N4"),  # the one second of REM is of the Wake before it
        ("WNNNN", 2, "W1 N4"),  # nothing is before it
        ("NNNaaaNNN", 0, "N9"),
        ("NNN" + "u" * 11 + "WNNN", 2, "N3 W1 N3"),  # nor after a gap
        ("NNN" + "." * 11 + "NNN", 0, "N3 N3"),
        ("N" * 30 + "u" * 11 + "W" * 30, 20, "N30 W30"),  # a gap is no bout that is too short
        ("NNNaaRRR", 0, "N5 R3"),
        ("aaNNN", 0, "N3"),
        ("uuu", 0, ""),
    ],
)
def test_bouts_by_the_rule(text, least, found):
    assert bouts(text, least) == found


@given(st.text("WNRau", min_size=1, max_size=60), st.sampled_from([0.0, 1.0, 2.0, 5.0]))
def test_no_bout_that_follows_another_is_too_short_and_none_is_doubled(text, least):
    found = course(text, least)
    for one, other in zip(found.bouts, found.bouts[1:], strict=False):
        if other.follows:
            assert other.duration >= least
            assert one.stage != other.stage
    assert sum(b.duration for b in found.bouts) >= sum(text.count(letter) for letter in "WNR")
    assert len(found.transitions) == sum(b.follows for b in found.bouts)


def test_transitions_do_not_go_over_gaps():
    assert course("WNR" + "u" * 11 + "WN").transitions == [
        ("Wake", "NREM"),
        ("NREM", "REM"),
        ("Wake", "NREM"),
    ]


def record(tmp_path, text, probabilities=None, start=EVENING, drift=None):
    messages = [
        stage(
            k,
            utc=iso(start + k),
            stage=LETTERS[letter],
            drift=drift,
            **({} if probabilities is None else {"probabilities": probabilities[k]}),
        )
        for k, letter in enumerate(text)
        if letter != "."
    ]
    path = write_journal(tmp_path / "j.sqlite", messages, session("s"))
    return read_records(JournalReader(path), Selection(), [])[0]


def test_longer_epochs_have_the_stage_of_their_mean_probabilities(tmp_path):
    """One sure second weighs more than three that hardly knew."""
    unsure = {"Wake": 0.34, "NREM": 0.33, "REM": 0.33}
    sure = {"Wake": 0.01, "NREM": 0.98, "REM": 0.01}
    found = record(tmp_path, "WWWNWWWWaauu..", [unsure] * 3 + [sure] + [unsure] * 4 + [{}] * 6)
    assert count(found, Rule(epoch_s=4.0)).stages[:2] == ["NREM", "Wake"]
    assert count(found, Rule()).stages == [LETTERS[x] for x in "WWWNWWWWaauu"]


@pytest.mark.parametrize(
    ("text", "found"),
    [("NNaa", "NREM"), ("Naaa", "ART"), ("Nuua", "UNKNOWN"), ("N...", ""), ("Nua.", "UNKNOWN")],
)
def test_a_longer_epoch_without_half_of_it_staged_has_no_stage(tmp_path, text, found):
    assert count(record(tmp_path, text + "NNNN"), Rule(epoch_s=4.0)).stages[0] == found


def test_the_rule_is_said():
    said = Rule(epoch_s=4.0, min_bout_s=8.0).in_words(1.0)
    assert "after the grammar, epochs of 4 s (mean probabilities of 1 s each)" in said
    assert "bouts of 8 s or more, shorter ones are of the one before" in said
    assert "epochs of 1 s, bouts of any length, up to 10 s without" in Rule().in_words(1.0)


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (Rule(epoch_s=0.5), "--epoch-s: expected at least the 1 s between two stages, found 0.5"),
        (Rule(min_bout_s=-1.0), "--min-bout: expected 0 or more seconds, found -1 s"),
        (Rule(min_bout_s=float("nan")), "--min-bout: expected 0 or more seconds, found nan s"),
    ],
)
def test_a_rule_that_cannot_be_kept_is_one_sentence(rule, sentence):
    with pytest.raises(ConfigError, match=sentence):
        rule.check(1.0)


def test_figures_of_a_night_over_lights_on(tmp_path):
    """Two minutes before and three after seven in the morning."""
    dawn = datetime(2026, 1, 31, 7, tzinfo=UTC).timestamp()
    text = "W" * 60 + "N" * 60 + "N" * 60 + "R" * 30 + "a" * 20 + "W" * 70
    found = figures_of(record(tmp_path, text, start=dawn - 120, drift=1.5), Rule(), DAY).figures
    assert found.dark_s == {"Wake": 60, "NREM": 60, "REM": 0, "ART": 0, "UNKNOWN": 0}
    assert found.light_s == {"Wake": 70, "NREM": 60, "REM": 30, "ART": 20, "UNKNOWN": 0}
    assert [(h.zeitgeber, h.light, h.length_s) for h in found.hours] == [(23, 0, 120), (0, 1, 180)]
    assert [h.bouts for h in found.hours] == [
        {"Wake": 1, "NREM": 1, "REM": 0},
        {"Wake": 1, "NREM": 0, "REM": 1},
    ]
    assert found.hours[1].start == "2026-01-31T07:00:00+00:00"
    nrem, rem = found.bouts["NREM"], found.bouts["REM"]
    assert (nrem.n, nrem.mean_s, nrem.longest_s, nrem.first_s) == (1, 120, 120, 60)
    assert dict(zip(found.lengths_s, rem.lengths, strict=True))[20.0] == 1
    assert found.rem_after_s == 120
    assert found.transitions["NREM"] == {"Wake": 0, "REM": 1}
    assert found.transitions_per_hour == pytest.approx(2 * 3600 / 280)
    assert (found.drift_most, found.drift_s) == (1.5, 300)
    assert found.probability["REM"] == pytest.approx(0.8)


def test_without_lights_nothing_is_light_or_dark(tmp_path):
    found = figures_of(record(tmp_path, "WNR"), Rule(), Day(DayConfig())).figures
    assert (found.light_s, found.dark_s, found.drift_most) == (None, None, None)
    assert found.hours[0].zeitgeber is None


def test_the_tidy_table_has_a_row_for_each_subject_hour_and_stage(tmp_path):
    hour = datetime(2026, 1, 31, 6, 59, tzinfo=UTC).timestamp()
    path = tmp_path / "j.sqlite"
    messages = [
        stage(k, name, utc=iso(hour + k), stage=LETTERS[letter])
        for name, text in (("m1", "W" * 90 + "N" * 30), ("m2", "R" * 100 + "a" * 20))
        for k, letter in enumerate(text)
    ]
    run = session("s", hour, json.dumps({"streams": [], "day": {"zone": "UTC"}}))
    write_journal(path, messages, run)
    files = {"csv": tmp_path / "n.csv", "tidy": tmp_path / "hours.csv"}
    options = [path, "--session", "s", "--min-bout", 4, "--lights-on", "07:00"]
    options += [part for name, file in files.items() for part in (f"--{name}", file)]
    found = CliRunner().invoke(app, ["night", *map(str, options)])
    assert found.exit_code == 0, found.output
    assert "bouts of 4 s or more" in found.output.replace("\n", " ")
    with files["tidy"].open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 5
    m1 = [row for row in rows if row["subject"] == "m1" and float(row["seconds"])]
    columns = ("start", "hour", "zeitgeber", "light", "stage", "seconds", "share", "bouts")
    assert [[row[c] for c in columns] for row in m1] == [
        ["2026-01-31T06:59:00+00:00", "6", "23", "dark", "Wake", "60.0", "1.0", "1"],
        ["2026-01-31T07:00:00+00:00", "7", "0", "light", "Wake", "30.0", "0.5", "0"],
        ["2026-01-31T07:00:00+00:00", "7", "0", "light", "NREM", "30.0", "0.5", "1"],
    ]
    (artefact,) = (r for r in rows if (r["stage"], r["seconds"]) == ("ART", "20.0"))
    assert (artefact["share"], artefact["bouts"], artefact["recorded_s"]) == ("", "", "60.0")
    assert {(row["epoch_s"], row["min_bout_s"]) for row in rows} == {("1.0", "4.0")}
    with files["csv"].open() as file:
        assert len(list(csv.DictReader(file))) == 240


def test_the_config_of_the_night_says_when_it_was_light_unless_told_otherwise(tmp_path):
    day = {"lights_on": "19:00", "lights_off": "05:00", "zone": "Europe/Berlin"}
    run = session("s", EVENING, json.dumps({"streams": [], "day": day}))  # 18:00 UTC is 19:00 there
    path = write_journal(tmp_path / "j.sqlite", [stage(k) for k in range(9)], run)

    def hour(*options):
        found = CliRunner().invoke(app, ["night", str(path), "--session", "s", "--json", *options])
        assert found.exit_code == 0, found.output
        (hour,) = json.loads(found.stdout)["subjects"]["m1"]["figures"]["hours"]
        return hour["zeitgeber"], hour["light"], hour["start"][-6:]

    assert hour() == (0, 1.0, "+01:00")
    assert hour("--lights-on", "07:00") == (12, 0.0, "+01:00")
    assert hour("--zone", "UTC") == (23, 0.0, "+00:00")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--lights-on", "7"], "expected times such as 07:00 for --lights-on"),
        (["--lights-off", "19:00"], "expected lights_on beside it"),
        (["--zone", "Mars"], "expected a time zone such as Europe/Berlin, found 'Mars'"),
    ],
)
def test_a_day_that_is_none_is_refused(tmp_path, options, sentence):
    path = write_journal(tmp_path / "j.sqlite", [stage(0)], session("s"))
    found = CliRunner().invoke(app, ["night", str(path), "--session", "s", *options])
    assert found.exit_code == 2
    assert sentence in " ".join(found.output.replace("│", " ").split())


def test_features_of_a_record_are_those_of_its_live_messages(tmp_path):
    told = [Features(eeg_db=(1.0, 2.0), emg_db=3.0), None, Features(eeg_db=(), emg_db=4.0)]
    messages = [stage(k, features=each) for k, each in enumerate(told)]
    messages += [stage(k, kind="final") for k in range(2)]
    path = write_journal(tmp_path / "j.sqlite", messages, session("s"))
    (found,) = read_records(JournalReader(path), Selection(), [])
    expected = [[1, 2, 3], [np.nan] * 3, [np.nan, np.nan, 4]]
    np.testing.assert_array_equal(found.features, np.array(expected, np.float32))
    assert [e.kind for e in found.epochs] == ["final", "final", "live"]
