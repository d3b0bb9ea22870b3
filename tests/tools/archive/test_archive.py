"""`hypnod archive` over a real cluster of processes, which are killed."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pyarrow.dataset as ds
import pytest
from distributed import Client
from typer.testing import CliRunner

import hypnod
from models.errors import ConfigError, RecordingError, UnitError
from models.recordings.hypnogram import Hypnogram
from models.recordings.writers import write_csv
from tests.support.archive import run_without_rights, write_night
from tools.archive.errors import ArchiveError
from tools.archive.folder import ArchiveFolder
from tools.archive.jobs import find_jobs
from tools.archive.rules import ArchiveRules
from tools.archive.running import keep
from tools.cli import app
from tools.cluster import open as opening
from tools.cluster.errors import ClusterError, WorkersLostError


def worker_pids(cluster):
    with Client(cluster, set_as_default=False) as client:
        return [*client.run(os.getpid).values()]


def test_an_archive_from_files_to_the_cohort(tmp_path, cluster, archive):
    lab, out = tmp_path / "lab", tmp_path / "out"
    for k in (1, 2, 3):
        write_night(lab / f"m{k}" / "night.edf", seconds=20, seed=k)
    (lab / "broken.edf").write_bytes(b"no EDF at all")
    at = ("--scheduler", cluster.scheduler_address)
    sentence, printed = archive("score", lab, "--out", out, *at, fails_with=RecordingError)
    assert "found 1 that cannot be" in sentence
    told = json.loads(printed)
    assert (told["recordings"], told["done"], told["skipped"]) == (4, 3, 0)
    assert told["animal_hours"] == pytest.approx(60 / 3600)
    (problem,) = told["problems"]
    assert problem["recording"] == "lab/broken.edf"
    assert problem["state"] == "refused"
    assert "expected an EDF or BDF header" in problem["sentence"]
    # again: nothing is done, not even a worker asked
    _, printed = archive("score", lab, "--out", out, fails_with=RecordingError)
    assert json.loads(printed)["skipped"] == 4
    write_night(lab / "broken.edf")
    told = archive("score", lab, "--out", out, *at)
    assert (told["done"], told["skipped"], told["problems"]) == (1, 3, [])
    write_night(lab / "m1" / "again.edf")
    told = archive("score", lab / "m1", "--out", out, *at)  # its part of the same archive
    assert (told["recordings"], told["done"], told["skipped"]) == (2, 1, 1)
    assert archive("status", out)["left_over"] == []
    (lab / "m1" / "again.edf").unlink()
    archive("score", lab / "m1", "--out", out)
    status = archive("status", out)
    assert (status["recordings"], status["done"], status["waiting"]) == (4, 4, 0)
    assert status["left_over"] == ["lab/m1/again.edf"]
    archive("score", lab / "m1" / "night.edf", "--out", out, fails_with=ConfigError)
    os.utime(lab / "m1" / "night.edf", ns=(1, 1))
    (lab / "m2" / "night.edf").unlink()
    status = archive("status", out)
    assert (status["changed"], status["gone"]) == (["lab/m1/night.edf"], ["lab/m2/night.edf"])

    rows = archive("summary", out, "--csv", tmp_path / "cohort.csv")
    assert [row["subject"] for row in rows] == ["broken", "m1", "m2", "m3"]
    first = rows[1]["stages"]
    assert sum(stage["seconds"] for stage in first.values()) == 20
    opened = ds.dataset(out, format="parquet", exclude_invalid_files=True).to_table()
    names = {"lab/broken.edf", *(f"lab/m{k}/night.edf" for k in (1, 2, 3)), "lab/m1/again.edf"}
    assert {*opened["recording"].to_pylist()} == names  # the one that is left over, too
    lines = (tmp_path / "cohort.csv").read_text("utf-8").splitlines()
    assert len(lines) == 1 + 4 * 5  # three stages, ART and UNKNOWN
    assert lines[0].startswith("recording,subject,start,hours,stage,seconds,share,bouts")


def test_an_archive_is_held_against_experts(tmp_path, cluster, archive, bundle):
    lab, out = tmp_path / "lab", tmp_path / "out"
    for k in (1, 2):
        write_night(lab / f"m{k}" / "night.edf", seconds=40, seed=k)
        stages = ["Wake", "NREM"] * 20
        write_csv(lab / f"m{k}" / "night.csv", Hypnogram.from_epochs(stages, 1.0))
    write_night(lab / "m3" / "night.edf")
    archive("score", lab, "--out", out, "--scheduler", cluster.scheduler_address)
    found = archive("evaluate", out)
    assert found["recordings"] == 2
    assert [Path(path).parent.name for path in found["left_out"]] == ["m3"]
    words = ["evaluate", str(lab), "--bundle", str(bundle), "--skip-unscored", "--json"]
    expected = json.loads(CliRunner().invoke(app, words).stdout)
    assert len(found["results"]) == len(expected["results"]) == 4
    for one, other in zip(found["results"], expected["results"], strict=True):
        assert one["kind"] == other["kind"]
        assert one["pooled"]["confusion"] == other["pooled"]["confusion"]
        assert one["pooled"]["kappa"] == pytest.approx(other["pooled"]["kappa"])
        assert {*one["subjects"]} == {"m1", "m2"}
    folder = ArchiveFolder(out)
    unscored = folder.read("lab/m3/night.edf")
    follows = msgspec.structs.replace(unscored.follows, bundle="0" * 64)
    folder.write(msgspec.structs.replace(unscored, follows=follows))
    words = ["archive", "evaluate", str(out), "--bundle", str(bundle)]
    assert "staged 1 more: --bundle names it" in CliRunner().invoke(app, words).stderr
    folder.write(unscored)
    estimates = ArchiveFolder(out).estimates_path("lab/m1/night.edf")
    content = bytearray(estimates.read_bytes())
    content[100] ^= 1
    estimates.write_bytes(content)
    assert archive("evaluate", out)["recordings"] == 1
    (lab / "m3").chmod(0)
    for command, told in (("status", "or out of reach"), ("evaluate", "not compared")):
        words = ["archive", command, str(out), *(["--bundle", str(bundle)] * (command != "status"))]
        ran = run_without_rights(*words)
        assert ran.returncode == 0, ran.stderr
        assert f"{told}: " in ran.stdout + ran.stderr
        assert "lab/m3/night.edf" in ran.stdout + ran.stderr
    (lab / "m3").chmod(0o755)
    os.utime(lab / "m2" / "night.edf", ns=(1, 1))
    assert archive("evaluate", out)["recordings"] == 1  # of another time, not of another content
    write_night(lab / "m2" / "night.edf", seconds=40, seed=9)
    said, _ = archive("evaluate", out, fails_with=RecordingError)
    assert "lab/m2/night.edf: expected the recording that was staged, found that it has" in said


def test_killed_workers_lose_nothing_and_double_nothing(tmp_path, archive, bundle, cluster):
    """200 files, one of which is broken; whatever worker is there is killed again and again."""
    lab, out = tmp_path / "lab", tmp_path / "out"
    night = write_night(lab / "n000.edf", seconds=6)
    for k in range(1, 199):
        shutil.copyfile(night, lab / f"n{k:03}.edf")
    (lab / "n199.edf").write_bytes(night.read_bytes()[:700])
    done, chosen, killed = threading.Event(), random.Random(0), []

    def kill():
        for wanted in (10, 60, 110, 160):
            while not done.wait(0.05):
                if len(list(out.glob("lab/*.json"))) >= wanted:
                    killed.append(chosen.choice(worker_pids(cluster)))
                    os.kill(killed[-1], signal.SIGKILL)
                    break

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        _, printed = archive(
            *("score", lab, "--out", out, "--scheduler", cluster.scheduler_address),
            fails_with=RecordingError,
        )
    finally:
        done.set()
        killer.join()
    assert len(killed) == 4
    told = json.loads(printed)
    assert told["done"] == 199
    assert [problem["recording"] for problem in told["problems"]] == ["lab/n199.edf"]
    folder = ArchiveFolder(out)
    sidecars = [folder.read(f"lab/n{k:03}.edf") for k in range(200)]
    assert [s.state for s in sidecars] == ["done"] * 199 + ["refused"]
    estimates = {folder.estimates_path(s.recording).read_bytes() for s in sidecars[:-1]}
    assert len({s.estimates.rows for s in sidecars[:-1]}) == 1
    assert len(estimates) == 199  # each names its recording
    assert archive("status", out)["done"] == 199


def test_a_slow_worker_holds_up_nothing_but_its_own(tmp_path, archive, cluster):
    lab, out = tmp_path / "lab", tmp_path / "out"
    night = write_night(lab / "n00.edf", seconds=6)
    for k in range(1, 20):
        shutil.copyfile(night, lab / f"n{k:02}.edf")
    done, slow = threading.Event(), worker_pids(cluster)[0]

    def hold():
        while not done.is_set():
            os.kill(slow, signal.SIGSTOP)
            done.wait(0.3)
            os.kill(slow, signal.SIGCONT)
            done.wait(0.03)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        told = archive("score", lab, "--out", out, "--scheduler", cluster.scheduler_address)
    finally:
        done.set()
        holder.join()
    assert (told["done"], told["problems"]) == (20, [])


def test_a_recording_that_ends_every_worker_is_one_row(tmp_path):
    write_night(tmp_path / "lab" / "a.edf")
    ((job,), _, _) = find_jobs([tmp_path / "lab"], ArchiveRules(), None, tmp_path / "out")
    folder = ArchiveFolder(tmp_path / "out")
    estimates = folder.estimates_path(job.name)  # of what the recording was before
    estimates.parent.mkdir(parents=True)
    estimates.touch()
    kept = keep(folder, job, WorkersLostError("expected it to live"))
    assert not estimates.exists()
    assert (kept.state, folder.read(job.name)) == ("failed", kept)
    kept = keep(folder, job, UnitError("they look like mV: give --unit EEG=mV"))
    assert kept.sentence.endswith("--unit EEG=mV; in an archive by its entry in archive.toml")
    kept = keep(folder, job, ValueError("odd\nindeed"))
    assert kept.sentence == "expected it to be staged, found ValueError: odd indeed"


def test_two_runs_on_one_folder_are_one_too_many(tmp_path, archive):
    write_night(tmp_path / "lab" / "a.edf")
    folder = ArchiveFolder(tmp_path / "out")
    with folder.held():
        said, _ = archive("score", tmp_path / "lab", "--out", folder.path, fails_with=ArchiveError)
        assert "found another: " in said
        assert f"process {os.getpid()}" in said
        assert f"process {os.getpid()}" in folder.running()
    assert folder.running() is None
    theirs = folder.path / ".night.edf.part"  # of who copies a recording, should it lie here
    for draft in (theirs, folder.path / ".n.edf.parquet.77.part"):
        draft.touch()
    with folder.held():
        assert not (folder.path / ".n.edf.parquet.77.part").exists()
        assert theirs.exists()


def test_no_scheduler_is_one_sentence(tmp_path, archive, monkeypatch):
    monkeypatch.setattr(opening, "_CONNECT_S", 1)
    write_night(tmp_path / "lab" / "a.edf")
    said, _ = archive(
        *("score", tmp_path / "lab", "--out", tmp_path / "out"),
        *("--scheduler", "tcp://127.0.0.1:9"),
        fails_with=ClusterError,
    )
    assert said.startswith("--scheduler: expected a Dask scheduler at tcp://127.0.0.1:9, found: ")


def in_a_mount_namespace(script, folder, command):
    """Run a script of the shell that may mount; its $0 is the folder, its $@ the command."""
    within = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*within, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs a mount namespace")
    return subprocess.run(
        [*within, "sh", "-c", script, str(folder), *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_a_full_disk_ends_the_run_and_what_is_done_stays(tmp_path, bundle):
    """In a real file system without room, on workers of this run's own."""
    lab, out = tmp_path / "lab", tmp_path / "out"
    out.mkdir()
    for k in range(12):
        write_night(lab / f"n{k:02}.edf", seconds=40, seed=k)
    command = hypnod.command(
        *("archive", "score", str(lab), "--out", str(out), "--bundle", str(bundle)),
        *("--workers", "1"),
    )
    script = 'mount -t tmpfs -o size=100k none "$0" && "$@"; code=$?; ls -A "$0/lab"; exit $code'
    done = in_a_mount_namespace(script, out, command)
    assert done.returncode == 14, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("hypnod: ")
    assert "expected a place to write to, found: " in last
    assert "No space left on device" in last
    left = done.stdout.split()
    assert 0 < len([name for name in left if name.endswith(".json")]) < 12
    assert not [name for name in left if name.endswith(".part")]


def test_a_disk_that_was_full_before_is_one_sentence(tmp_path):
    write_night(tmp_path / "lab" / "a.edf")
    out = tmp_path / "out"
    out.mkdir()
    command = hypnod.command("archive", "score", str(tmp_path / "lab"), "--out", str(out))
    script = 'mount -t tmpfs -o size=4k none "$0" && head -c 4096 /dev/zero > "$0/full"; "$@"'
    done = in_a_mount_namespace(script, out, command)
    assert done.returncode == 14, done.stderr
    assert done.stderr.startswith(f"hypnod: {out}: expected a folder to write to, found: ")


@pytest.mark.parametrize("missing", ["pyarrow", "distributed"])
def test_without_the_extra_it_says_what_to_install(tmp_path, archive, monkeypatch, missing):
    for module in ("running", "staging", "estimates", "evaluating"):
        monkeypatch.delitem(sys.modules, f"tools.archive.{module}", raising=False)
    for module in [m for m in sys.modules if m.split(".")[0] == missing] or [missing]:
        monkeypatch.setitem(sys.modules, module, None)
    write_night(tmp_path / "lab" / "a.edf")
    said, _ = archive("score", tmp_path / "lab", "--out", tmp_path / "o", fails_with=ConfigError)
    assert "pip install 'hypnod[cluster]'" in said
