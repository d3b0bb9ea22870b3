import csv
import json
import sqlite3
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import edfio
import numpy as np
import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

from daemon.errors import JournalError
from daemon.journal.file import journal_path
from daemon.journal.reader import JournalReader
from daemon.messages import Features
from models.errors import RecordingError
from models.recordings.hypnograms.read import is_own, read_hypnogram
from models.stages import HUMAN, MOUSE
from tests.support.nights import (
    EVENING,
    iso,
    open_journal,
    session,
    stage,
    state,
    write_journal,
)
from tests.support.paths import ROOT
from tools.cli import app
from tools.night.record import Selection, read_records

FINAL_LAG = 4
CONFIG = json.dumps({"streams": [{"subjects": [{"name": "m1"}, {"name": "m2"}]}]})
NIGHT = ["--since", iso(EVENING), "--until", iso(EVENING + 7200)]


def said(stages, subject="m1", run="a", first=0, seq=0, utc=EVENING, finals=None, **changes):
    """All messages of a run of epochs: live at once, final later, unless a crash came first."""
    messages = []
    seqs = dict.fromkeys(("live", "final"), seq)

    def say(kind, k, name):
        epoch = first + k
        message = stage(
            seqs[kind],
            subject,
            kind=kind,
            epoch=epoch,
            stage=name,
            session=run,
            utc=iso(utc + k),
            reason="flat" if name == "UNKNOWN" else "clipped" if name == "ART" else None,
            latency_s=(0.001 + 0.001 * k) if kind == "live" else None,
            **changes,
        )
        messages.append(message)
        seqs[kind] += 1

    finals = stages if finals is None else finals
    for k, name in enumerate(stages):
        say("live", k, name)
        if k >= FINAL_LAG and k - FINAL_LAG < len(finals):
            say("final", k - FINAL_LAG, finals[k - FINAL_LAG])
    for k in range(max(0, len(stages) - FINAL_LAG), len(finals)):
        say("final", k, finals[k])
    return messages


EVENING_STAGES = ["Wake"] * 10 + ["NREM"] * 20 + ["ART"] * 5 + ["NREM"] * 5 + ["REM"] * 10
MORNING_STAGES = ["REM"] * 5 + ["Wake"] * 15


@pytest.fixture
def path(tmp_path):
    """A night with a crash in it: 50 epochs, 30 s without a daemon, 20 epochs."""
    path = tmp_path / "journal.sqlite"
    finals = EVENING_STAGES[:-FINAL_LAG]
    before = said(EVENING_STAGES, finals=finals) + said(EVENING_STAGES, "m2", finals=finals)
    write_journal(path, [state(0, session="a"), *before], session("a", EVENING, CONFIG))
    later = {"run": "b", "first": 80, "seq": len(EVENING_STAGES), "utc": EVENING + 80}
    after = said(MORNING_STAGES, **later) + said(MORNING_STAGES, "m2", **later)
    cold = state(
        1, session="b", reason="started cold: 30.0 s are missing, more", utc=iso(EVENING + 80)
    )
    write_journal(path, [cold, *after], session("b", EVENING + 80, CONFIG))
    return path


def run(*arguments):
    """Run the command; an expected error is raised, as the command line's main shows it."""
    found = CliRunner().invoke(app, ["night", *map(str, arguments)])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found


def read(path, *arguments):
    found = run(path, *arguments, "--json")
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_the_sessions_are_listed(path):
    first, second = read(path)
    assert (first["id"], second["id"]) == ("a", "b")
    assert first["started"] == iso(EVENING)
    assert first["until"] == iso(EVENING + 49)
    assert second["until"] == iso(EVENING + 99)
    assert first["subjects"] == ["m1", "m2"]
    shown = run(path).stdout
    assert "m1, m2" in shown
    assert "sdreamer-mouse" in shown


def test_a_night_with_a_crash_in_it_is_one_record(path):
    summary = read(path, *NIGHT)
    assert list(summary["subjects"]) == ["m1", "m2"]
    m1 = summary["subjects"]["m1"]
    assert (m1["epochs"], m1["live_only"], m1["sessions"]) == (70, FINAL_LAG, ["a", "b"])
    assert (m1["start"], m1["end"]) == (iso(EVENING), iso(EVENING + 100))
    figures = m1["figures"]
    assert figures["seconds"] == {"Wake": 25, "NREM": 25, "REM": 15, "ART": 5, "UNKNOWN": 0}
    assert {s: (b["n"], b["median_s"]) for s, b in figures["bouts"].items()} == {
        "Wake": (2, 12.5),
        "NREM": (1, 30),  # with the artefact in it
        "REM": (2, 7.5),
    }
    assert m1["missing_s"] == {"the daemon did not run": 30, "ART: clipped": 5}
    latencies = [0.001 * (1 + k) for k in [*range(50), *range(20)]]
    assert m1["latency_s"]["p95"] == pytest.approx(np.percentile(latencies, 95))
    assert m1["age_s"]["p50"] == pytest.approx(0.01)
    (restart,) = summary["restarts"]
    assert restart["reason"].startswith("started cold: 30.0 s")
    shown = run(path, *NIGHT).stdout
    for text in ("2 × REM (median 7.5 s)", "0:00:30 the daemon did not run", "4 epochs have no"):
        assert text in shown


def test_what_was_staged_without_a_modality_is_told(tmp_path):
    lost = {"eeg": "ok", "emg": "flat"}
    messages = [stage(k, validity=lost if k < 12 else {"eeg": "ok"}) for k in range(30)]
    messages[20:24] = [stage(k, validity={"eeg": "ok"}, lost_s={"eeg": 0.5}) for k in range(20, 24)]
    messages.append(stage(30, stage="ART", probabilities={}, validity=lost))
    path = write_journal(tmp_path / "j.sqlite", messages, session("s"))
    (m1,) = read(path, "--session", "s")["subjects"].values()
    assert m1["without_s"] == {"emg flat": 12, "eeg lost within epochs": 2}
    assert "staged without: 0:00:12 emg flat" in run(path, "--session", "s").stdout


def test_all_of_it_fits_a_terminal_of_80_characters(tmp_path):
    """The most stages there are, and names as people give them."""
    path, names = tmp_path / "j.sqlite", ("patient-7-second-night-without-drug", "m1")
    probabilities = dict.fromkeys(HUMAN, 0.2)
    said_of = [said([*HUMAN] * 9, name, "a" * 23, probabilities=probabilities) for name in names]
    config = json.dumps({"streams": [{"subjects": [{"name": name} for name in names]}]})
    write_journal(path, [m for each in said_of for m in each], session("a" * 23, EVENING, config))
    for arguments in ([], NIGHT):
        shown = run(path, *arguments).stdout.splitlines()[1:]  # the first one is the file's name
        assert max(map(len, shown)) <= 80
        assert "…" not in "".join(shown)
        assert all(name[:12] in "".join(shown) for name in names)


def test_a_session_is_a_record_too(path):
    for name in ("b", "last"):
        m1 = read(path, "--session", name, "--subject", "m1")["subjects"]["m1"]
        assert (m1["epochs"], m1["live_only"]) == (20, 0)
        assert m1["figures"]["seconds"]["Wake"] == 15
    assert read(path, "--session", "a")["subjects"]["m2"]["epochs"] == 50


def test_a_span_of_time_cuts_epochs_out(path):
    since, until = iso(EVENING + 10), iso(EVENING + 30)
    m1 = read(path, "--since", since, "--until", until)["subjects"]["m1"]
    assert m1["figures"]["seconds"]["NREM"] == 20
    assert m1["epochs"] == 20


def test_final_estimates_count_and_live_ones_where_there_is_none(tmp_path):
    live, finals = ["Wake"] * 10, ["NREM"] * 6
    path = write_journal(tmp_path / "j.sqlite", said(live, finals=finals), session("a"))
    m1 = read(path, "--session", "a")["subjects"]["m1"]
    assert m1["figures"]["seconds"]["NREM"] == 6
    assert m1["figures"]["seconds"]["Wake"] == 4


def test_times_with_a_steered_clock_do_not_overlap(tmp_path):
    messages = [stage(k, utc=iso(EVENING + k + 0.004 * (k % 2)), stage="NREM") for k in range(100)]
    path = write_journal(tmp_path / "j.sqlite", messages, session("s"))
    (record,) = read_records(JournalReader(path), Selection(), [])
    assert len(record.hypnogram.merged().stages) == 1
    assert record.durations.sum() == pytest.approx(100, abs=0.01)
    assert list(record.holes()) == []
    assert record.grid == ["NREM"] * 100


def test_epochs_that_overlap_are_no_part_of_the_record(tmp_path):
    def said(seq, hop, **changes):
        at = {"utc": iso(EVENING + 0.5 * hop), "epoch": hop // 2, "hop": hop, "hop_s": 0.5}
        return stage(seq, **at, **changes)

    messages = [said(k, k, latency_s=0.01) for k in range(20)]
    messages += [said(k, 2 * k, kind="final", stage="REM") for k in range(6)]
    path = write_journal(tmp_path / "j.sqlite", messages, session("s"))
    (record,) = read_records(JournalReader(path), Selection(), [])
    assert record.hypnogram.end == pytest.approx(10)
    assert run(path, "--session", "s", "--csv", tmp_path / "night.csv").exit_code == 0
    with (tmp_path / "night.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["hop"]), row["stage"]) for row in rows] == [
        (k, "REM" if k < 12 else "NREM") for k in range(0, 20, 2)
    ]
    assert len(record.latencies) == 20


def test_exports_say_what_the_journal_says(path, tmp_path):
    files = {kind: tmp_path / f"night.{kind}" for kind in ("csv", "edf", "tsv", "png")}
    options = [part for kind, file in files.items() for part in (f"--{kind}", str(file))]
    assert run(path, *NIGHT, "--subject", "m1", *options).exit_code == 0
    (record,) = read_records(JournalReader(path), Selection(), ["m1"])
    wanted = record.hypnogram.merged()

    first, *annotations = edfio.read_edf(files["edf"]).annotations
    assert first.text == "staged by hypnod run"
    assert is_own(files["edf"])
    assert is_own(files["csv"])
    assert is_own(files["tsv"])
    assert [a.text for a in annotations] == list(wanted.stages)
    assert [a.onset for a in annotations] == pytest.approx(wanted.onsets.tolist())
    assert edfio.read_edf(files["edf"]).starttime == datetime.fromtimestamp(EVENING).time()

    events = read_hypnogram(files["tsv"], MOUSE, subject="m1")
    assert events.stages == wanted.stages
    assert events.onsets.tolist() == pytest.approx(wanted.onsets.tolist())

    with files["csv"].open() as file:
        rows = list(csv.DictReader(file))
    assert [row["stage"] for row in rows] == EVENING_STAGES + MORNING_STAGES
    assert [row["kind"] for row in rows].count("live") == FINAL_LAG
    assert rows[50]["utc"] == iso(EVENING + 80)
    assert float(rows[50]["onset"]) == 80
    assert {row["session"] for row in rows} == {"a", "b"}
    assert float(rows[0]["p_Wake"]) == 0.8

    assert imread(files["png"]).shape[0] > 300


def test_the_picture_shows_where_a_modality_could_not_be_used(tmp_path):
    def image(name, validity):
        messages = [stage(k, validity=validity) for k in range(30)]
        path = write_journal(tmp_path / f"{name}.sqlite", messages, session("s"))
        assert run(path, "--session", "s", "--png", tmp_path / f"{name}.png").exit_code == 0
        return imread(tmp_path / f"{name}.png")

    good = image("good", {"eeg": "ok", "emg": "ok"})
    bad = image("bad", {"eeg": "ok", "emg": "flat"})
    reddish = (bad[..., 0] > 0.7) & (bad[..., 1] < 0.3) & (bad[..., 2] < 0.25)
    assert reddish.sum() > 1000
    assert not ((good[..., 0] > 0.7) & (good[..., 1] < 0.3) & (good[..., 2] < 0.25)).any()


def test_the_picture_shows_the_signals_that_the_journal_tells_of(tmp_path):
    def height(name, features):
        path = write_journal(
            tmp_path / f"{name}.sqlite",
            [stage(k, features=features) for k in range(30)],
            session("s"),
        )
        assert run(path, "--session", "s", "--png", tmp_path / f"{name}.png").exit_code == 0
        return imread(tmp_path / f"{name}.png").shape[0]

    levels = [
        None,
        Features(eeg_db=(9.0, 8.0, 7.0), emg_db=None),
        Features(eeg_db=(9.0, 8.0, 7.0), emg_db=3.0),
    ]
    nothing, eeg, both = (height(name, told) for name, told in zip("abc", levels, strict=True))
    assert nothing + 200 < eeg < both - 100


def test_several_subjects_get_a_picture_each(path, tmp_path):
    told = run(path, *NIGHT, "--png", tmp_path / "n.png").output.replace("\n", "")
    assert "n-m1.png" in told
    assert "n-m2.png" in told
    assert sorted(file.name for file in tmp_path.glob("*.png")) == ["n-m1.png", "n-m2.png"]


def test_it_reads_while_the_daemon_writes(tmp_path):
    path = tmp_path / "journal.sqlite"
    with open_journal(path, session("s")) as journal:
        for k in range(10):
            journal.write([stage(k)])
            assert read(path, "--session", "last")["subjects"]["m1"]["epochs"] == k + 1


def test_a_journal_that_one_may_only_read_is_read():
    """As a backup on a read-only disk is, and as a member of the group reads one of yesterday."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        path = write_journal(folder / "journal.sqlite", [stage(0), stage(1)], session("s"))
        path.chmod(0o444)
        folder.chmod(0o555)
        code = (
            "import os, sys; from pathlib import Path; from daemon.journal.reader import *\n"
            "if os.getuid() == 0: os.setuid(65534)\n"
            "print(JournalReader(Path(sys.argv[1])).last_seq('stage.m1.live'))"
        )
        command = [sys.executable, "-c", code, str(path)]
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (found.stdout, found.stderr) == ("1\n", "")


def test_the_default_is_the_daemons_journal(tmp_path, monkeypatch):
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    write_journal(journal_path(), [stage(0)], session("mine"))
    assert "mine" in run().stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--session", "z"], "expected a session 'z', found none"),
        (["--session", "last", "--subject", "m9"], r"expected a subject \(m1, m2\), found 'm9'"),
        (["--since", "2031-01-01"], "expected epochs of m1, m2, from 2031.* found none"),
    ],
)
def test_what_is_not_there_is_one_sentence(path, arguments, sentence):
    with pytest.raises(JournalError, match=sentence):
        run(path, *arguments)


def test_a_file_that_is_no_journal_is_one_sentence(path, tmp_path):
    with pytest.raises(JournalError, match="expected a journal, found no such file"):
        run(tmp_path / "none.sqlite")
    with pytest.raises(JournalError, match="expected a journal, found a folder"):
        run(tmp_path)
    (tmp_path / "text.sqlite").write_text("Dear diary" * 100)
    with pytest.raises(JournalError, match="expected a journal that can be read"):
        run(tmp_path / "text.sqlite")
    (tmp_path / "empty.sqlite").touch()
    with pytest.raises(JournalError, match="expected a journal with sessions, found none"):
        run(tmp_path / "empty.sqlite")
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 7")
    db.close()
    with pytest.raises(JournalError, match="expected a journal of format 3, found format 7"):
        run(path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--csv", "x.csv"],
        ["--subject", "m1"],
        ["--session", "a", "--since", "8h"],
        ["--since", "now"],
        ["--since", "1h", "--until", "2h"],
    ],
)
def test_options_that_mean_nothing_are_refused(path, arguments):
    found = run(path, *arguments)
    assert found.exit_code == 2
    assert "expected" in found.output


def test_the_journal_is_not_overwritten(path):
    with pytest.raises(RecordingError, match=r"found .* twice"):
        run(path, *NIGHT, "--csv", path)
    assert read(path)


def test_a_selection_says_what_it_is():
    assert str(Selection(session=session("a"))) == "session a"
    since = datetime(2026, 1, 31, 18, tzinfo=UTC).timestamp()
    assert str(Selection(since=since)).startswith("from 2026-01-31 ")


def damage(path, n_pages):
    """Overwrite pages in the middle of a journal, none of its index of tables."""
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = db.execute("PRAGMA page_size").fetchone()
        (total,) = db.execute("PRAGMA page_count").fetchone()
    with path.open("r+b") as file:
        file.seek(size * (total // 2))
        file.write(b"\xee" * size * n_pages)
    return size * total


@pytest.mark.parametrize("whole", [False, True])
def test_of_a_damaged_journal_is_exported_what_can_be_read(tmp_path, whole):
    path = write_journal(tmp_path / "j.sqlite", said(["Wake"] * 2000), session("a", config=CONFIG))
    if not whole:
        damage(path, 4)
    options = [path, *NIGHT, "--csv", tmp_path / "o.csv"]
    result = CliRunner().invoke(app, ["night", *map(str, options)])
    assert result.exit_code == 0, result.output
    with (tmp_path / "o.csv").open(encoding="utf-8", newline="") as stream:
        hops = {int(row["hop"]) for row in csv.DictReader(stream)}
    assert ("messages of stage.m1.live are missing" in result.stderr) == (not whole)
    assert hops == set(range(2000)) if whole else 1500 < len(hops) < 2000
    assert {0, 1999} <= hops


def test_a_journal_cut_short_is_exported_as_far_as_it_goes(tmp_path):
    path = write_journal(tmp_path / "j.sqlite", said(["Wake"] * 2000), session("a", config=CONFIG))
    size = damage(path, 0)
    with path.open("r+b") as file:
        file.truncate(size // 2 + 100)
    before = path.read_bytes()
    result = CliRunner().invoke(app, ["night", *map(str, [path, *NIGHT, "--json"])])
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["journal"] == str(path)
    assert summary["subjects"]["m1"]["epochs"] > 300
    assert summary["missing"][-1].startswith("what was after the last messages")
    assert path.read_bytes() == before
