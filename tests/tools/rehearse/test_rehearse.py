"""`hypnod rehearse`, from decisions and files made here to its figures."""

import json
import subprocess

import msgspec
import numpy as np
import pytest

from daemon.stager import Estimate
from daemon.trigger.rulebook import Rulebook
from daemon.trigger.rules import Leader, Rule
from models.errors import ConfigError
from models.recordings.hypnogram import Hypnogram
from models.simulator.mouse.simulate import SimulatedMice
from tests.rigs import forked
from tests.support.bundles import TINY, make_bundle
from tests.support.recordings.xdf import XdfStream, write_streams, write_xdf
from tests.support.sights import sight, stays
from tests.support.signals import SPEC
from tools.rehearse.command import rehearse
from tools.rehearse.judge import judge
from tools.rehearse.rehearsal import Timing, as_if, pulses, see
from tools.rehearse.report import report_rule, without_numbers

RULE = Rule(name="rem", stages=("REM",), on_s=2.0, dwell_s=2.0, sham=0.0)
AGE_S = 0.5


def found(rule: Rule, *parts: tuple[str, int]):
    book = Rulebook([rule], ["m1"])
    told = [
        each
        for hop, stage in enumerate(stays(*parts))
        for each in book.look({"m1": sight(stage, hop, age_s=AGE_S)}, lambda rule, subject: True)
    ]
    return told, pulses(told)


def test_a_pulse_begins_with_the_age_of_its_estimate_and_ends_with_its_reason():
    _, (first, second) = found(RULE, ("NREM", 10), ("REM", 6), ("Wake", 3))
    assert (first.start, first.end) == (12.5, 14.5)
    assert (second.start, second.end) == (16.5, 17.5)


def test_a_lead_that_comes_off_is_seen_as_live_and_not_in_the_true_stages():
    sure = np.array([0, 0, 1], np.float32)
    estimate = Estimate(
        subject="m1",
        stream="cage",
        kind="live",
        hop=0,
        onset=0.0,
        stage="REM",
        probabilities=sure,
        evidence=sure,
        pathway="mixed",
        validity={},
        reason=None,
        slots_filled=16,
        arrived=None,
        drift=0.9,
        lead_off=2.0,
        unseen_s=12.0,
    )
    timing = Timing(start=None, age_s=AGE_S, hop_s=1.0)
    fine = msgspec.structs.replace(estimate, hop=1, onset=1.0, lead_off=None, unseen_s=0.0)
    bad, good = see([estimate, fine], SPEC, timing)
    assert (bad.drift, bad.lead_off, bad.age_s, good.age_s) == (0.9, 2.0, AGE_S + 12.0, AGE_S)
    truth = {"m1": Hypnogram.from_epochs(["REM"] * 2, 1.0)}
    for true in as_if([bad, good], truth, SPEC.stages):
        assert (true.drift, true.lead_off, true.age_s) == (None, None, AGE_S)


def test_pulses_are_held_against_the_truth():
    truth = stays(("NREM", 20), ("REM", 30), ("NREM", 50), ("REM", 30), ("Wake", 70))
    seen = [("NREM", 24), ("REM", 20), ("NREM", 106), ("REM", 6), ("Wake", 44)]
    rule = Rule(name="rem", stages=("REM",), on_s=2.0, dwell_s=2.0, refractory_s=20.0)
    _, real = found(rule, *seen)
    _, ideal = found(rule, *[(stage, 1) for stage in truth])
    verdict = judge(rule, real, ideal, Hypnogram.from_epochs(truth, 1.0))
    assert (verdict.wanted, verdict.hit, verdict.right, verdict.false) == (2, 1, 1, 1)
    assert verdict.sensitivity == verdict.precision == 0.5
    assert verdict.delays_s == (4 + 2 + AGE_S,)
    assert verdict.false_per_hour == pytest.approx(3600 / 200)


def test_unscored_time_and_stays_too_short_for_the_rule_do_not_count():
    truth = stays(("UNKNOWN", 30), ("NREM", 20), ("REM", 1), ("Wake", 20))
    _, real = found(RULE, ("NREM", 10), ("REM", 10), ("NREM", 51))
    _, ideal = found(RULE, *[(stage, 1) for stage in truth])
    assert len(real) == 3
    verdict = judge(RULE, real, ideal, Hypnogram.from_epochs(truth, 1.0))
    assert (verdict.wanted, verdict.right, verdict.false) == (0, 0, 0)
    assert verdict.sensitivity is verdict.precision is verdict.median_delay_s is None


def test_a_stay_whose_onset_nobody_scored_is_not_asked_for():
    truth = stays(
        ("REM", 20), ("NREM", 20), ("UNKNOWN", 20), ("REM", 20), ("Wake", 20), ("REM", 20)
    )
    _, real = found(RULE, *[(stage, 1) for stage in truth])
    verdict = judge(RULE, real, real, Hypnogram.from_epochs(truth, 1.0))
    assert (verdict.wanted, verdict.hit, verdict.false) == (1, 1, 0)


def test_a_rule_that_waits_is_held_against_when_the_truth_would_have_had_it():
    rule = Rule(name="w", stages=("REM",), on_s=5.0, dwell_s=3.0, wait_s=4.0, hold="time")
    truth = stays(("REM", 10), ("NREM", 30))
    _, real = found(rule, ("REM", 11), ("NREM", 29))
    _, ideal = found(rule, *[(stage, 1) for stage in truth])
    verdict = judge(rule, real, ideal, Hypnogram.from_epochs(truth, 1.0))
    assert (verdict.wanted, verdict.hit, verdict.false) == (1, 1, 0)
    assert verdict.delays_s == (1.0,)


def test_why_there_was_no_pulse_is_added_up_whatever_the_numbers():
    told, real = found(RULE, ("NREM", 10), ("REM", 7), ("Wake", 3))
    report = report_rule(told, real, None)
    assert report.idle_s["off: NREM, … %"] == 10
    assert sum(report.idle_s.values()) == 20 - 2 * 2  # two pulses of 2 s


def test_reasons_of_different_stages_are_not_added_up():
    reasons = ["off: N2, 62 %", "off: N3, 71.5 %", "off: REM for 10.5 of 60 s", "off: hop 7 of m1"]
    assert [*map(without_numbers, reasons)] == [
        "off: N2, … %",
        "off: N3, … %",
        "off: REM for … of … s",
        "off: hop … of m1",
    ]


def test_a_yoked_subject_gets_the_pulses_of_the_other():
    follows = Rule(
        name="yoke", on_s=2.0, subjects=("m2",), yoked_to=Leader(rule="rem", subject="m1")
    )
    leads = Rule(name="rem", stages=("REM",), on_s=2.0, dwell_s=2.0, subjects=("m1",))
    book = Rulebook([follows, leads], ["m1", "m2"])
    said = {"rem": [], "yoke": []}
    for hop, stage in enumerate(stays(("NREM", 3), ("REM", 9), ("Wake", 3))):
        sights = {"m1": sight(stage, hop), "m2": sight("Wake", hop, subject="m2")}
        for each in book.look(sights, lambda rule, subject: True):
            said[each.rule.name].append(each.decision.action)
    assert said["yoke"] == said["rem"]
    assert "on" in said["yoke"]


CONFIG = """
[[streams]]
name = "cage"
match = { name = "cage" }
subjects = [{ name = "m1", channels = { eeg = "EEG1", emg = "EMG1" } }]
[engine]
bundle = "BUNDLE"
[[triggers]]
name = "any"
stages = ["Wake", "NREM", "REM"]
usable = 0
on_s = 3
refractory_s = 2
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "hypnod.toml"
    bundle = make_bundle(tmp_path / "bundle", **TINY)
    path.write_text(CONFIG.replace("BUNDLE", str(bundle)))
    return path


def hypnod(*arguments: object) -> str:
    return forked.run(*arguments, check=True).stdout


def test_the_command_says_what_would_have_fired_in_a_simulated_animal(tmp_path, config):
    night, png = tmp_path / "night.edf", tmp_path / "night.png"
    hypnod("simulate", night, "--minutes", "1", "--seed", "3")
    (found,) = json.loads(hypnod("rehearse", "--config", config, night, "--png", png, "--json"))
    (rule,) = found["rules"]
    starts = np.array([pulse["start"] for pulse in rule["pulses"]])
    assert found["truth"] == str(night)
    assert starts[0] == 1.05
    assert set(np.diff(starts).round(6)) == {5.0}
    assert {pulse["duration"] for pulse in rule["pulses"]} == {3.0}
    assert rule["verdict"]["false"] == 0
    assert rule["precision"] == 1
    assert png.read_bytes().startswith(b"\x89PNG")


def test_a_person_reads_when_each_would_have_fired(tmp_path, config):
    night = tmp_path / "night.edf"
    hypnod("simulate", night, "--minutes", "3", "--seed", "3")
    lines = hypnod("rehearse", "--config", config, night).splitlines()
    (rule,) = json.loads(hypnod("rehearse", "--config", config, night, "--json"))[0]["rules"]
    listed = [line for line in lines if line.startswith("    on ")]
    assert len(rule["pulses"]) == 36
    assert len(listed) == 20
    assert listed[0].split()[:4] == ["on", "0:00:01", "3.00", "s,"]
    assert listed[0].endswith(rule["pulses"][0]["reason"])
    assert "    … 16 more, all of them with --json" in lines


def test_one_of_several_streams_of_an_xdf_is_chosen_here_too(tmp_path, config):
    samples = SimulatedMice(seed=3, duration_s=20, sfreq=128.0).record().data
    racks = [XdfStream(samples, ("EEG1", "EMG1"), name=name, source_id=name) for name in ("a", "b")]
    night = write_streams(tmp_path / "night.xdf", racks)
    with pytest.raises(subprocess.CalledProcessError) as caught:
        hypnod("rehearse", "--config", config, night)
    sentence = " ".join(caught.value.stderr.split())
    assert "and name=cage, found 0 (in: 'a'" in sentence  # by the config's match
    assert "choose one, as in --match name=a" in sentence
    found = json.loads(hypnod("rehearse", "--config", config, night, "--match", "name=b", "--json"))
    assert found[0]["remarks"] == ["not used: a (another stream)"]
    config.write_text(
        config.read_text().replace('match = { name = "cage" }', 'match = { name = "a" }')
    )
    found = json.loads(hypnod("rehearse", "--config", config, night, "--json"))
    assert found[0]["remarks"] == ["not used: b (another stream)"]


def test_what_was_read_of_the_hypnogram_is_said(tmp_path, config):
    night = tmp_path / "night.edf"
    hypnod("simulate", night, "--minutes", "1", "--seed", "3")
    expert = tmp_path / "expert.csv"
    expert.write_text("onset,duration,stage\n0,30,Wake\n30,20,IS\n50,10,NREM\n")
    options = ("--hypnogram", expert, "--ignore", "IS", "--same-start")
    said = hypnod("rehearse", "--config", config, night, *options)
    assert "expert.csv: Wake 30 s = 'Wake', NREM 10 s = 'NREM'" in said
    assert "expert.csv: not read: 'IS' 1 × 20 s (ignored)" in said


def test_the_unit_that_a_recording_lacks_can_be_given(tmp_path, config):
    samples = SimulatedMice(seed=3, duration_s=20, sfreq=128.0).record().data
    night = write_xdf(tmp_path / "cage.xdf", samples, ("EEG1", "EMG1"), 128.0)
    night.write_bytes(night.read_bytes().replace(b"microvolts", b"          "))
    config.write_text(config.read_text().replace('{ name = "cage" }', '{ name = "rack" }'))
    with pytest.raises(subprocess.CalledProcessError) as caught:
        hypnod("rehearse", "--config", config, night)
    assert "give --unit µV" in caught.value.stderr
    hypnod("rehearse", "--config", config, night, "--unit", "µV")


def test_a_config_without_triggers_has_nothing_to_rehearse(tmp_path, config):
    config.write_text(config.read_text().partition("[[triggers]]")[0])
    with pytest.raises(ConfigError, match=r"expected \[\[triggers\]\] to rehearse, found none"):
        rehearse([tmp_path / "night.edf"], config)
