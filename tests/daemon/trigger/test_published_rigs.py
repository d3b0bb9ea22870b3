"""What the rules in docs/triggers/ do in made-up nights, to the second, at hops of 1 and 0.25 s.

A decision falls at the end of its hop, and a pulse lasts until a decision ends it.
"""

from itertools import pairwise

import pytest

from daemon.config import load_config
from daemon.stager import hops_per_epoch
from daemon.trigger.rules import Rule, check_model
from models.stages import ART
from tests.support.bundles import human_spec, mouse_spec
from tests.support.paths import ROOT
from tests.support.sights import play, runs, sight, stays

FILES = sorted((ROOT / "docs" / "triggers").glob("*.toml"))
DEEP = {"Wake": 0.01, "NREM": 0.98, "REM": 0.01}
WAITS_S = {1.0: (62.0, 51.0), 0.25: (61.75, 50.75)}
"""What after-long-rem draws between 50 and 100 s by its seed, 61.59 and 50.73 s, in whole hops."""


@pytest.fixture(params=[1.0, 0.25])
def hop_s(request) -> float:
    return request.param


def rule_of(name: str) -> Rule:
    (rule,) = load_config(ROOT / "docs" / "triggers" / f"{name}.toml").triggers
    return rule


def night(hop_s: float, *parts: tuple[str, float], **changes: object):
    """Return a night of stages and how many seconds of each."""
    hops = [(stage, round(seconds / hop_s)) for stage, seconds in parts]
    return [sight(stage, hop, hop_s, **changes) for hop, stage in enumerate(stays(*hops))]


def pulses(rule: Rule, hop_s: float, *parts: tuple[str, float], **changes: object):
    """Return from when to when, s, a rule is on in a night, and whether `on` or `sham`."""
    found = runs(play(rule, night(hop_s, *parts, **changes)))
    return [((k + 1) * hop_s, (k + 1 + n) * hop_s, action) for k, n, action in found]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_example_is_for_its_species_and_acts_only_when_armed(file):
    config = load_config(file)
    (rule,) = config.triggers
    spec = human_spec(epoch_s=30.0) if config.engine.species == "human" else mouse_spec()
    check_model(config.triggers, spec)
    config.check_modalities(spec.modalities)
    hops_per_epoch(config.staging.hop_s, spec)
    deep = "N3" if spec.species == "human" else "NREM"
    parts = (deep, 4000), ("REM", 200), (spec.stages[0], 200)
    assert pulses(rule, 1.0, *parts, armed=False) == []


def test_a_person_hears_sounds_in_n3_after_20_minutes_and_no_more_when_awake():
    rule, parts = rule_of("n3-sound"), (("N2", 600), ("N3", 900), ("W", 60))
    played = pulses(rule, 1.0, *parts, probabilities={"N3": 0.9, "N2": 0.1})
    assert (played[0][0], played[-1][1]) == (1201, 1499)  # armed at the end of the first hop
    gaps = {b[0] - a[0] for a, b in pairwise(played)}
    assert gaps == {3.0}  # 0.1 and 2.5 s in whole hops
    assert {d.ttl_s for d in play(rule, night(1.0, *parts)) if d.action == "on"} <= {0.1}
    unsure = pulses(rule, 1.0, *parts, probabilities={"N3": 0.45, "N2": 0.35, "W": 0.2})
    assert unsure == []


def test_a_person_is_cued_in_rem_ten_times_a_night_at_most():
    rule = rule_of("rem-cue")
    played = pulses(rule, 5.0, ("N2", 3600), ("REM", 3600))
    assert [p[1] - p[0] for p in played] == [10.0] * 10
    assert played[0][0] == 3660.0
    assert min(b[0] - a[1] for a, b in pairwise(played)) >= 120.0


def test_rem_is_restricted_by_pulses_of_2_s_after_2_s_of_it_again_and_again(hop_s):
    parts = ("NREM", 30), ("REM", 11), ("Wake", 9)
    assert pulses(rule_of("rem-restriction"), hop_s, *parts) == [
        (32, 34, "on"),
        (36, 38, "on"),
        (40, 41 + hop_s, "on"),
    ]


def test_a_pulse_of_rem_restriction_ends_with_rem(hop_s):
    parts = ("NREM", 30), ("REM", 2), ("Wake", 9)
    assert pulses(rule_of("rem-restriction"), hop_s, *parts) == [(32, 32 + hop_s, "on")]


def test_after_long_rem_with_short_gaps_a_pulse_of_20_minutes_comes_and_40_without(hop_s):
    parts = ("REM", 60), ("Wake", 5), ("REM", 60), ("NREM", 2000), ("REM", 130), ("NREM", 900)
    begins = 125 + WAITS_S[hop_s][0]
    assert pulses(rule_of("after-long-rem"), hop_s, *parts) == [(begins, begins + 1200, "on")]


def test_after_the_lock_out_long_rem_counts_again(hop_s):
    parts = ("REM", 120), ("NREM", 3900), ("REM", 120), ("NREM", 1500)
    first, second = 120 + WAITS_S[hop_s][0], 4140 + WAITS_S[hop_s][1]
    assert pulses(rule_of("after-long-rem"), hop_s, *parts) == [
        (first, first + 1200, "on"),
        (second, second + 1200, "on"),
    ]


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
def test_what_is_no_long_rem_or_no_time_without_it_starts_nothing(parts, hop_s):
    assert pulses(rule_of("after-long-rem"), hop_s, *parts) == []


def test_the_20_minutes_pause_while_the_animal_cannot_be_staged(hop_s):
    parts = ("REM", 120), ("NREM", 300), (ART, 4), ("NREM", 1000)
    begins = 120 + WAITS_S[hop_s][0]
    assert pulses(rule_of("after-long-rem"), hop_s, *parts) == [
        (begins, 420 + hop_s, "on"),
        (424 + hop_s, begins + 1200, "on"),
    ]


def test_nrem_is_lit_from_its_10th_second_until_it_is_over_for_3(hop_s):
    parts = ("Wake", 30), ("NREM", 40), ("Wake", 2), ("NREM", 10), ("Wake", 20)
    assert pulses(rule_of("nrem-opto"), hop_s, *parts) == [(40, 85, "on")]


def test_nrem_is_lit_in_the_first_20_minutes_of_the_hour_only(hop_s):
    parts = ("NREM", 3700), ("Wake", 10)
    assert pulses(rule_of("nrem-opto"), hop_s, *parts) == [(10, 1200, "on"), (3600, 3703, "on")]


def test_sounds_in_deep_nrem_come_every_2_6_s_in_whole_hops_and_half_of_them_are_sham(hop_s):
    rule, parts = rule_of("nrem-sound"), (("NREM", 1600), ("Wake", 20))
    assert pulses(rule, hop_s, *parts) == []  # asleep, but not sure enough
    every_s = {1.0: 3.0, 0.25: 2.75}[hop_s]
    played = pulses(rule, hop_s, *parts, probabilities=DEEP)
    # armed since the first decision, which falls at the end of the first hop
    first = 600 + hop_s
    n = 1 + int((1600 - first) / every_s)
    begins = [first + k * every_s for k in range(n)]
    assert [p[0] for p in played] == pytest.approx(begins)
    assert [p[1] - p[0] for p in played] == pytest.approx([hop_s] * n)
    assert 0.4 < sum(action == "sham" for *_, action in played) / n < 0.6
    seen = night(hop_s, *parts, probabilities=DEEP)
    lives = {d.ttl_s for d in play(rule, seen) if d.action in ("on", "sham")}
    assert lives == {0.1}  # and so long each is, whatever the hop


def test_the_same_sounds_are_sham_whatever_the_hop():
    rule, parts = rule_of("nrem-sound"), (("NREM", 1600),)
    by_hop = [
        [action for *_, action in pulses(rule, hop_s, *parts, probabilities=DEEP)]
        for hop_s in (1.0, 0.25)
    ]
    assert by_hop[0] == by_hop[1][: len(by_hop[0])]
