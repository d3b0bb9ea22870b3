import tomllib
from pathlib import Path

import pytest

from daemon.config import Config, StreamConfig, load_config, parse_config
from daemon.journal.file import journal_path
from models.errors import ConfigError
from tests.support.paths import ROOT

TOML = """\
[[streams]]
name = "cage"
match = { type = "EEG" }
subjects = [{ name = "m1", channels = { eeg = "E1", emg = "M1-M2" } }]
"""


def many_subjects(n, stream="cage"):
    subjects = [f'{{ name = "m_{k}", channels = {{ eeg = "E{k}" }} }}' for k in range(n)]
    match = f'name = "{stream}"\nmatch = {{ name = "{stream}" }}'
    return f"[[streams]]\n{match}\nsubjects = [{', '.join(subjects)}]\n"


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
            "expected only the keys name, type, source_id and hostname, found {'tpye': 'EEG'}",
        ),
        (TOML.replace('{ type = "EEG" }', "{}"), "match: expected table of length >= 1, found {}"),
        (
            TOML.replace('"cage"', '"a b"'),
            "streams[0].name: expected a name of at most 100 letters",
        ),
        (
            TOML.replace("match", "unit = 'kV'\nmatch"),
            "unit: expected one of 'V', 'mV', 'µV', 'uV'",
        ),
        (TOML.replace('"E1"', "3"), "channels[...]: expected str, found [3, 'M1-M2']"),
        (TOML + "[metrics]\nport = 70000", "metrics.port: expected int <= 65535, found 70000"),
        (TOML + "[staging]\nhop_s = 0", "staging.hop_s: expected float >= 0.05, found 0"),
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
        ("a = " + "[" * 100_000, "expected TOML, found it nested too deeply"),
        ("[" + "a." * 100_000 + "a]", "expected TOML, found it nested too deeply"),
        ("a = " + "9" * 5000, "expected TOML, found a syntax error"),
        (TOML + f"[log]\n{'x' * 9999} = 1", "xxx' in log; known are: level, format"),
        (TOML + "[staging]\nhop_s = 1e-9", "staging.hop_s: expected float >= 0.05, found 1e-09"),
        (TOML + "[staging]\nstall_s = inf", "staging.stall_s: expected float <= 3600.0, found inf"),
        (TOML + "[publish]\nheartbeat_s = nan", "publish.heartbeat_s: expected float >= 0.05"),
        (
            TOML + f"[publish]\nhigh_water_mark = {2**40}",
            "high_water_mark: expected int <= 1000000",
        ),
        (TOML + "[engine]\nthreads = 100000", "engine.threads: expected int <= 64, found 100000"),
        (TOML + f"[staging]\nfinal_lag = {9**99}", "staging.final_lag: expected int <= 10000"),
        (
            TOML + '[journal]\npath = "a\\u0000b"',
            "journal.path: expected a path, found a character",
        ),
        (
            TOML + f"[journal]\npath = '{'ä' * 150}'",
            "journal.path: expected a path of at most 3900",
        ),
        (TOML.replace('"m1",', f'"m1", baseline = "{"a/" * 3000}",'), "baseline of m1: expected"),
        (many_subjects(1001), "streams[0].subjects: expected array of length <= 1000, found [{"),
        (
            "".join(many_subjects(600, f"s{k}").replace("m_", f"{k}_") for k in range(2)),
            "expected at most 1000 subjects, found 1200",
        ),
        (
            TOML.replace('"M1-M2"', '"E1"'),
            "stream 'cage': expected every channel once, found twice: E1",
        ),
        (
            TOML + TOML.replace("cage", "den").replace("m1", "m2"),
            "streams 'cage' and 'den': expected another LSL stream for each",
        ),
        (
            TOML + TOML.replace("cage", "den").replace("m1", "m2").replace("EEG", "eeg"),
            "streams 'cage' and 'den': expected another LSL stream for each",
        ),
        (
            TOML.replace("type =", "name = 'x', type =")
            + TOML.replace("cage", "den").replace("m1", "m2"),
            "what matches {'name': 'x', 'type': 'EEG'} matches {'type': 'EEG'}",
        ),
        (
            TOML + "[publish]\nbind = 'tcp://127.0.0.1:5571'",
            "publish.catchup_bind: expected another address than publish.bind",
        ),
        (
            TOML + "[quality.eeg]\nmin_rms_uv = 10\nmax_abs_uv = 10",
            "quality.eeg: expected min_rms_uv below max_abs_uv, found 10 and 10",
        ),
    ],
)
def test_a_mistake_is_one_sentence(text, sentence):
    with pytest.raises(ConfigError) as raised:
        parse_config(text, "f.toml")
    assert str(raised.value).startswith("f.toml: ")
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 1000


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml: expected a readable TOML file"):
        load_config(tmp_path / "nowhere.toml")


def test_a_file_without_an_end_is_not_read_for_ever():
    with pytest.raises(ConfigError, match=r"^/dev/zero: expected a TOML file of at most"):
        load_config(Path("/dev/zero"))


def test_two_animals_may_share_a_reference():
    shared = TOML.replace("}]", '}, { name = "m2", channels = { eeg = "E2-M2" } }]')
    assert len(parse_config(shared.replace('"E1"', '"E1-M2"'), "f").streams[0].subjects) == 2


@pytest.mark.parametrize("path", ["~/journal.sqlite", "~nobody-of-this-name/j", ""])
def test_a_journal_in_a_home_that_nobody_knows_is_one_sentence(monkeypatch, path):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("os.getuid", lambda: 4_000_000)
    with pytest.raises(ConfigError, match=r"^journal\.path: expected a home folder for ~"):
        journal_path(path, {})


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
    for section in set(content) - {"streams", "triggers", "pulse", "notify"}:
        for key in getattr(config, section).__struct_fields__:
            assert key in content[section] or f"\n# {key} = " in text
    for key in StreamConfig.__struct_fields__:
        assert key in content["streams"][0] or f"\n# {key} = " in text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_file_may_begin_with_the_mark_that_windows_editors_write(tmp_path, encoding):
    path = tmp_path / "hypnod.toml"
    path.write_text(TOML, encoding=encoding)
    assert load_config(path) == parse_config(TOML, "f.toml")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_named(tmp_path, encoding):
    path = tmp_path / "hypnod.toml"
    path.write_text("# Käfig\n" + TOML, encoding=encoding)
    with pytest.raises(ConfigError, match=r"expected TOML in UTF-8, .* save it as UTF-8"):
        load_config(path)
