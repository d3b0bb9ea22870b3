import pytest

from daemon.config import parse_config
from daemon.trigger.rules import check_model
from models.errors import ConfigError
from tests.support.bundles import mouse_spec

STREAM = """\
[[streams]]
name = "cage"
match = { type = "EEG" }
subjects = [
  { name = "m1", channels = { eeg = "E1", emg = "M1" } },
  { name = "m2", channels = { eeg = "E2", emg = "M2" } },
]
"""
RULE = '[[triggers]]\nname = "a"\nstages = ["REM"]\non_s = 2\n'
YOKED = '[[triggers]]\nname = "b"\non_s = 2\nsubjects = ["m2"]\n'
FOLLOWS = 'yoked_to = { rule = "a", subject = "m1" }\n'
FIRST = 'subjects = ["m1"]\n'
OUTPUT = '[[pulse]]\ndriver = "lsl"\n'


def test_three_keys_are_a_rule_that_is_off_until_it_is_armed():
    (rule,) = parse_config(STREAM + RULE, "f.toml").triggers
    assert rule.armed == "by hand"
    assert rule.pathways == ("mixed",)
    assert rule.is_for("m1")
    assert rule.is_for("m2")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (RULE + "dwel_s = 3", "unknown key 'dwel_s' in triggers[0]; did you mean 'dwell_s'?"),
        (RULE.replace("on_s = 2", ""), "triggers[0]: expected the key 'on_s', found none"),
        (RULE.replace("= 2", "= 0"), "triggers[0].on_s: expected float > 0.0, found 0"),
        (RULE.replace("= 2", "= inf"), "triggers[0].on_s: expected float <= 86400.0, found inf"),
        (RULE + "dwell_s = nan", "dwell_s: expected float >= 0.0, found nan"),
        (RULE + "refractory_s = [1, nan]", "refractory_s[1]: expected float >= 0.0, found nan"),
        (RULE + "probability = 1.2", "probability: expected float <= 1.0, found 1.2"),
        (RULE.replace('["REM"]', "[]"), "stages: expected stages, each once, or yoked_to, found n"),
        (RULE.replace('["REM"]', '["REM", "REM"]'), "each once, or yoked_to, found REM, REM"),
        (RULE.replace('["REM"]', '["ART"]'), "each once, or yoked_to, found ART"),
        (RULE + "dwell_s = 2\ngap_s = 2", "gap_s: expected less than dwell_s, 2 s, found 2"),
        (RULE + "refractory_s = [9, 3]", "refractory_s: expected the lower limit first"),
        (RULE + "wait_s = [50, 100]", 'expected hold = "time" with wait_s'),
        (
            RULE + 'wait_s = 3\nhold = "time"\ndwell_s = 9\ngap_s = 4',
            "wait_s: expected more than gap_s, 4 s, found 3",
        ),
        (RULE + 'hold = "time"\nexit_s = 3', 'exit_s with hold = "stage" only'),
        (RULE.replace('"a"', '"a\\n"'), "triggers[0].name: expected"),
        (RULE + "minutes = [20, 20]", "minutes: expected a beginning and another end"),
        (RULE + "minutes = [60, 0]", "minutes: expected a beginning and another end"),
        (RULE + "hours = [24, 0]", "hours: expected a beginning and another end"),
        (RULE + "hours = [20, 25]", "hours[1]: expected float <= 24.0, found 25"),
        (RULE + "per_hour = 9\nper_night = 8", "per_hour: expected at most per_night, 8, found 9"),
        (RULE + 'time_zone = "Mars"', "time_zone: expected one such as Europe/Paris, found 'Mars'"),
        (RULE + RULE, "expected every trigger's name once, found twice: a"),
        (RULE + 'subjects = ["m3"]', "trigger 'a': expected subjects of the streams, found 'm3'"),
        (RULE + FOLLOWS, "triggers[0]: expected yoked_to without stages, found both"),
        (YOKED + FOLLOWS, "expected yoked_to a rule that is not yoked itself, found 'a'"),
        (
            RULE + 'subjects = ["m2"]\n' + YOKED + FOLLOWS,
            "expected yoked_to a subject of the rule 'a', found 'm1'",
        ),
        (
            RULE + YOKED.replace('subjects = ["m2"]', "") + FOLLOWS,
            "expected subjects other than 'm1', which it is yoked to, found it among them",
        ),
        (RULE + OUTPUT + 'rules = ["b"]', "pulse 'lsl': expected rules of a, found 'b'"),
        (
            RULE + OUTPUT + 'subjects = ["m3"]',
            "pulse 'lsl': expected subjects of m1, m2, found",
        ),
        (
            RULE + FIRST + OUTPUT + 'rules = ["a"]\nsubjects = ["m2"]',
            "pulse 'lsl': expected a trigger for one of its subjects, found none that would switch",
        ),
    ],
)
def test_a_contradiction_is_refused_in_one_sentence(text, sentence):
    with pytest.raises(ConfigError) as found:
        parse_config(STREAM + text, "f.toml")
    assert sentence in str(found.value)
    assert str(found.value).startswith("f.toml: ")


def test_an_output_may_stay_where_there_is_no_rule_for_a_night():
    assert parse_config(STREAM + OUTPUT, "f.toml").pulse


def test_a_yoked_rule_needs_no_stages():
    config = parse_config(STREAM + RULE + FIRST + YOKED + FOLLOWS, "f.toml")
    assert config.triggers[1].yoked_to.subject == "m1"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('species = "human"\n', r"species 'human', found one for 'mouse': correct .*\[engine\]"),
        ('pathways = ["eog"]\n', "expected pathways of mixed, eeg, emg, found 'eog'"),
    ],
)
def test_a_rule_for_another_model_is_refused(text, sentence):
    rules = parse_config(STREAM + RULE + text, "f.toml").triggers
    with pytest.raises(ConfigError, match=sentence):
        check_model(rules, mouse_spec())


def test_a_stage_that_the_model_does_not_know_is_refused():
    rules = parse_config(STREAM + RULE.replace("REM", "N3"), "f.toml").triggers
    with pytest.raises(ConfigError, match="expected stages of Wake, NREM, REM, found 'N3'"):
        check_model(rules, mouse_spec())
