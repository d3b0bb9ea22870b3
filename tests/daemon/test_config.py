import tomllib

import pytest

from daemon.config import Config, StreamConfig, load_config, parse_config
from models.errors import ConfigError
from tests.support.paths import ROOT

TOML = """\
[[streams]]
name = "cage"
match = { type = "EEG" }
subjects = [{ name = "m1", channels = { eeg = "E1", emg = "M1-M2" } }]
"""


def test_ten_lines_are_enough_and_the_rest_has_defaults():
    config = parse_config(TOML, "f.toml")
    assert config.streams[0].subjects[0].channels == {"eeg": "E1", "emg": "M1-M2"}
    assert config.publish.bind.startswith("tcp://127.0.0.1")
    assert config.metrics.host == "127.0.0.1"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            TOML.replace("match", "mtach"),
            "unknown key 'mtach' in streams[0]; did you mean 'match'?",
        ),
        (TOML.replace("{ name", "{ nmae"), "in streams[0].subjects[0]; did you mean 'name'?"),
        (TOML + "[quality.eeg]\nmax_abs = 1", "in quality.eeg; did you mean 'max_abs_uv'?"),
        (TOML + "[enigne]", "unknown key 'enigne' in the top level; did you mean 'engine'?"),
        (TOML + "[log]\nxyz = 1", "unknown key 'xyz' in log; known are: level, format"),
        (
            TOML.replace("type =", "tpye ="),
            "(name|type|source_id|hostname)$', found {'tpye': 'EEG'}",
        ),
        (TOML.replace('{ type = "EEG" }', "{}"), "match: expected table of length >= 1, found {}"),
        (TOML.replace('"cage"', '"a b"'), "streams[0].name: expected str matching regex"),
        (
            TOML.replace("match", "unit = 'kV'\nmatch"),
            "unit: expected one of 'V', 'mV', 'µV', 'uV'",
        ),
        (TOML.replace('"E1"', "3"), "channels[...]: expected str, found [3, 'M1-M2']"),
        (TOML + "[metrics]\nport = 70000", "metrics.port: expected int <= 65535, found 70000"),
        (TOML + "[staging]\nhop_s = 0", "staging.hop_s: expected float > 0.0, found 0"),
        (TOML + "[quality.emg]\nmin_rms_uv = 1", "quality.emg: expected the key 'max_abs_uv'"),
        (TOML + TOML, "expected every stream name once, found twice: cage"),
        (TOML + TOML.replace("cage", "den"), "every subject name once, found twice: m1"),
        ("streams = []", "expected at least one [[streams]], found none"),
        (
            TOML.replace('{ name = "m1", channels = { eeg = "E1", emg = "M1-M2" } }', ""),
            "one subject",
        ),
        ("streams = 3", "streams: expected array, found 3"),
        ("[log]", "the top level: expected the key 'streams', found none"),
        ("a = [", "expected TOML, found a syntax error"),
    ],
)
def test_a_mistake_is_one_sentence(text, sentence):
    with pytest.raises(ConfigError) as raised:
        parse_config(text, "f.toml")
    assert str(raised.value).startswith("f.toml: ")
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml: expected a readable TOML file"):
        load_config(tmp_path / "nowhere.toml")


def test_the_hash_is_of_the_values_not_of_the_text():
    hash_ = parse_config(TOML, "a").hash
    assert parse_config("# a comment\n" + TOML + "[log]\nlevel = 'info'", "b").hash == hash_
    assert parse_config(TOML + "[log]\nlevel = 'debug'", "b").hash != hash_
    assert len(hash_) == 12


def test_the_example_is_valid_and_shows_every_key_with_its_default():
    example = ROOT / "systemd" / "hypnod.toml"
    config = load_config(example)
    text = example.read_text("utf-8")
    content = tomllib.loads(text)
    assert config == Config(streams=config.streams)
    assert set(content) == set(Config.__struct_fields__)
    for section in set(content) - {"streams", "triggers", "pulse"}:
        for key in getattr(config, section).__struct_fields__:
            assert key in content[section] or f"\n# {key} = " in text
    for key in StreamConfig.__struct_fields__:
        assert key in content["streams"][0] or f"\n# {key} = " in text
