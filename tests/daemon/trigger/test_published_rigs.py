"""What the rules in docs/triggers/ do in made-up nights, an epoch a second."""

import msgspec
import pytest

from daemon.config import load_config
from daemon.trigger.rules import Rule, check_model
from models.stages import ART
from tests.support.bundles import mouse_spec
from tests.support.paths import ROOT
from tests.support.sights import play, runs, sight, stays

FILES = sorted((ROOT / "docs" / "triggers").glob("*.toml"))


def rule_of(name: str) -> Rule:
    (rule,) = load_config(ROOT / "docs" / "triggers" / f"{name}.toml").triggers
    return rule


def night(*parts: tuple[str, int], first: int = 0):
    return [sight(stage, hop) for hop, stage in enumerate(stays(*parts), first)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_example_is_for_the_shipped_model_and_acts_only_when_armed(file):
    config = load_config(file)
    check_model(config.triggers, mouse_spec())
    (rule,) = config.triggers
    asleep = [
        msgspec.structs.replace(s, armed=False)
        for s in night(("NREM", 700), ("REM", 200), ("Wake", 200))
    ]
    assert runs(play(rule, asleep)) == []


def test_rem_is_restricted_by_pulses_of_2_s_after_2_s_of_it_again_and_again():
    seen = night(("NREM", 30), ("REM", 11), ("Wake", 9))
    assert runs(play(rule_of("rem-restriction"), seen)) == [
        (31, 2, "on"),
        (35, 2, "on"),
        (39, 2, "on"),
    ]


def test_a_pulse_of_rem_restriction_ends_with_rem():
    seen = night(("NREM", 30), ("REM", 2), ("Wake", 9))
    assert runs(play(rule_of("rem-restriction"), seen)) == [(31, 1, "on")]


def test_after_long_rem_with_short_gaps_a_pulse_of_20_minutes_comes_and_40_without():
    rule = rule_of("after-long-rem")
    seen = night(("REM", 60), ("Wake", 5), ("REM", 60), ("NREM", 2000), ("REM", 130), ("NREM", 900))
    ((first, n, action),) = runs(play(rule, seen))
    assert 125 + 50 - 1 <= first <= 125 + 100
    assert (n, action) == (1200, "on")


def test_after_the_lock_out_long_rem_counts_again():
    rule = rule_of("after-long-rem")
    seen = night(("REM", 120), ("NREM", 3900), ("REM", 120), ("NREM", 1500))
    assert len(runs(play(rule, seen))) == 2


@pytest.mark.parametrize(
    "parts",
    [
        [("REM", 118), ("NREM", 300)],
        [("REM", 60), ("Wake", 7), ("REM", 60), ("NREM", 300)],
        [("REM", 120), ("Wake", 30), (ART, 8), ("NREM", 300)],
        [("REM", 120), ("Wake", 45), ("REM", 20), ("NREM", 45)],
    ],
    ids=["short", "gap", "unseen", "REM again"],
)
def test_what_is_no_long_rem_or_no_time_without_it_starts_nothing(parts):
    assert runs(play(rule_of("after-long-rem"), night(*parts))) == []


def test_the_20_minutes_pause_while_the_animal_cannot_be_staged():
    seen = night(("REM", 120), ("NREM", 300), (ART, 4), ("NREM", 1000))
    (before, after) = runs(play(rule_of("after-long-rem"), seen))
    assert before[0] + before[1] == 420
    assert after[0] == 424
    assert after[0] + after[1] == before[0] + 1200


def test_nrem_is_lit_from_its_10th_second_until_it_is_over_for_3():
    seen = night(("Wake", 30), ("NREM", 40), ("Wake", 2), ("NREM", 10), ("Wake", 20))
    assert runs(play(rule_of("nrem-opto"), seen)) == [(39, 45, "on")]


def test_nrem_is_lit_in_the_first_20_minutes_of_the_hour_only():
    seen = night(("NREM", 3700))
    lit = runs(play(rule_of("nrem-opto"), seen))
    assert [(first, n) for first, n, _ in lit] == [(9, 1190), (3599, 101)]


def test_sounds_in_deep_nrem_are_3_hops_apart_and_about_half_are_sham():
    rule = rule_of("nrem-sound")
    seen = night(("NREM", 1600), ("Wake", 20))
    assert runs(play(rule, seen)) == []  # asleep, but not sure enough
    sure = {"Wake": 0.01, "NREM": 0.98, "REM": 0.01}
    deep = [msgspec.structs.replace(s, probabilities=sure) for s in seen]
    played = runs(play(rule, deep))
    assert [first for first, n, _ in played if n == 1] == list(range(600, 1600, 3))
    assert 0.4 < sum(action == "sham" for _, _, action in played) / len(played) < 0.6
