"""What `hypnod night` lists of triggers."""

import json

import msgspec
import pytest
from typer.testing import CliRunner

from tests.support.nights import (
    EVENING,
    echo,
    iso,
    pulse,
    session,
    stage,
    trigger,
    write_journal,
)
from tools.cli import app

DECISIONS = [
    trigger(0),
    trigger(1, "on", age_s=0.02),
    trigger(2, "on"),
    trigger(3),
    trigger(4, "refused", reason="refractory for another 3.2 s"),
    trigger(5, "refused", reason="refractory for another 2.2 s"),
    trigger(6, "sham", pulse=1, age_s=0.04),
    trigger(7),
    trigger(8, "on", pulse=2, age_s=0.03),
]


CONFIG = json.dumps(
    {
        "streams": [{"subjects": [{"name": "m1", "echo": "TTL"}]}],
        "pulse": [{"driver": "serial"}, {"driver": "lsl"}],
    }
)


def numbered(messages):
    return [msgspec.structs.replace(m, seq=seq) for seq, m in enumerate(messages)]


DID = numbered(
    [
        pulse("on", 2.001),
        pulse("on", 2.003, output=1, driver="lsl"),
        pulse("off", 4.001),
        pulse("sham", 7.002, pulse=1, output=1, driver="lsl"),
        pulse("on", 6.0, decided_in="before", pulse=9),  # of no decision in this journal
    ]
)
SAW = numbered(
    [
        echo(True, 2.002),
        echo(False, 4.002),
        echo(True, 5.5),  # nobody had decided so
        echo(False, 5.6),
        echo(True, 7.5),  # in a sham pulse
        echo(False, 7.6),
    ]
)


def night(tmp_path, *options, more=(), config="{}"):
    journal = tmp_path / "journal.sqlite"
    messages = [*(stage(k) for k in range(9)), *DECISIONS, *more]
    write_journal(journal, messages, session(config=config))
    result = CliRunner().invoke(app, ["night", str(journal), "--session", "s", *options])
    assert result.exit_code == 0, result.output
    return result.output


def test_every_pulse_is_listed_with_how_long_and_how_late_it_was(tmp_path):
    (found,) = json.loads(night(tmp_path, "--json"))["triggers"]
    assert (found["rule"], found["subject"]) == ("rem", "m1")
    pulses = [(p["start"], p["duration_s"], p["sham"], p["latency_s"]) for p in found["pulses"]]
    assert pulses == [
        (iso(EVENING + 2), 2.0, False, 0.02),
        (iso(EVENING + 7), 1.0, True, 0.04),
        (iso(EVENING + 9), 2.0, False, 0.03),  # nothing came after it: until its time to live
    ]
    assert found["refused"] == {"refractory for another … s": 2}


def test_a_person_reads_a_line_for_each(tmp_path):
    text = night(tmp_path)
    assert "m1  rem: 2 pulses, 4.0 s, 1 sham; latency p50 30.0 ms" in text
    assert "refused 2 × refractory for another … s" in text
    assert text.count("REM for 2 s") == 3


def test_what_outputs_did_and_what_was_seen_is_beside_each_pulse(tmp_path):
    told = json.loads(night(tmp_path, "--json", more=[*DID, *SAW], config=CONFIG))
    first, sham, last = told["triggers"][0]["pulses"]
    assert first["done"] == [
        {"output": 0, "driver": "serial", "on_s": 0.001, "off_s": 2.001},
        {"output": 1, "driver": "lsl", "on_s": 0.003, "off_s": None},
    ]
    assert first["seen"] == {"high_s": 0.002, "low_s": 2.002}
    assert sham["done"] == [{"output": 1, "driver": "lsl", "on_s": 0.002, "off_s": None}]
    assert (last["done"], last["seen"], last["has_echo"]) == ([], None, True)
    assert told["strays"] == [
        {"subject": "m1", "start": iso(EVENING + 5.5), "duration_s": 0.1},
        {"subject": "m1", "start": iso(EVENING + 7.5), "duration_s": 0.1},
    ]


def test_a_person_reads_what_became_of_each(tmp_path):
    text = night(tmp_path, more=[*DID, *SAW], config=CONFIG)
    first, _, last = (line for line in text.splitlines() if "REM for 2 s" in line)
    assert first.endswith(
        "REM for 2 s; serial on +1.0 ms, off +2001.0 ms; lsl on +3.0 ms, off –; "
        "seen +2.0 ms to +2002.0 ms"
    )
    assert last.endswith("no output told of it; NOT SEEN on its echo line")
    assert "lsl marked +2.0 ms" in text
    assert "echo lines were high 2 times though no rule had decided so:" in text


def test_a_line_that_stays_high_is_seen_in_the_pulse_that_it_began_in(tmp_path):
    stuck = numbered([echo(True, 2.002)])
    told = json.loads(night(tmp_path, "--json", more=stuck, config=CONFIG))
    first, _, last = told["triggers"][0]["pulses"]
    assert first["seen"] == {"high_s": 0.002, "low_s": None}
    assert last["seen"] == {"high_s": -6.998, "low_s": None}
    # and from the one pulse to the next nobody had decided so
    assert told["strays"] == [{"subject": "m1", "start": iso(EVENING + 4), "duration_s": 5.0}]


@pytest.mark.parametrize(
    ("low_at", "strays"),
    [
        (4.4, []),  # a pin without a word goes low by itself
        (5.5, [{"subject": "m1", "start": iso(EVENING + 4), "duration_s": 1.5}]),
    ],
)
def test_a_line_that_stays_high_after_its_pulse_is_told_of(tmp_path, low_at, strays):
    late = numbered([echo(True, 2.002), echo(False, low_at)])
    told = json.loads(night(tmp_path, "--json", more=late, config=CONFIG))
    assert told["strays"] == strays


def test_a_line_that_is_still_high_at_the_end_is_told_of(tmp_path):
    stuck = numbered([echo(True, 2.002)])
    over = [trigger(k) for k in range(9, 14)]
    told = json.loads(night(tmp_path, "--json", more=[*stuck, *over], config=CONFIG))
    assert told["strays"] == [
        {"subject": "m1", "start": iso(EVENING + 4), "duration_s": 5.0},
        {"subject": "m1", "start": iso(EVENING + 10), "duration_s": None},
    ]
