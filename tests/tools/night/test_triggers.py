"""What `hypnod night` lists of triggers."""

import json

from typer.testing import CliRunner

from tests.support.nights import EVENING, iso, stage, trigger, write_journal
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


def night(tmp_path, *options):
    journal = tmp_path / "journal.sqlite"
    write_journal(journal, [*(stage(k) for k in range(9)), *DECISIONS])
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
