"""`hypnod doctor` as its own process, beside real streams."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pylsl
import pytest

import hypnod
from engines.select import explain_auto
from tests.rigs import forked
from tests.rigs.lsl import Source
from tests.support.bundles import human_spec, make_bundle_of
from tests.support.nights import write_journal
from tests.support.paths import ROOT
from tools.bench.board import Board


def examine(
    *arguments: object, env: dict[str, str] | None = None
) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Run doctor; return its exit code, its findings by check, and its visible streams by name."""
    return read(forked.run("doctor", "--json", *arguments, environ=env))


def read(
    done: subprocess.CompletedProcess[str],
) -> tuple[int, dict[str, Any], dict[str, Any]]:
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    findings = {finding["check"]: finding for finding in report["findings"]}
    assert report["ok"] == (done.returncode == 0)
    return done.returncode, findings, {s["name"]: s for s in report["streams"]}


def write_config(folder: Path, stream: str, eeg: str = "EEG", unit: str = "") -> Path:
    path = folder / "hypnod.toml"
    path.write_text(
        f'[[streams]]\nname = "cage"\nmatch = {{ name = "{stream}" }}\n{unit}\n'
        f'subjects = [{{ name = "m01", channels = {{ eeg = "{eeg}", emg = "EMG" }} }}]\n'
    )
    return path


def test_streams_are_listed_and_the_config_fits(tmp_path: Path) -> None:
    with Source("doctored", units=("uV", "mV"), source_id="amp-7"):
        code, findings, streams = examine("--config", write_config(tmp_path, "doctored"))
    assert streams["doctored"]["ch_names"] == ["EEG", "EMG"]
    assert streams["doctored"]["units"] == ["uV", "mV"]
    assert streams["doctored"]["sfreq"] == 500
    assert streams["doctored"]["source_id"] == "amp-7"
    assert findings["stream cage"]["level"] == "ok"
    assert findings["liblsl"]["found"].startswith(f"1.{pylsl.library_version() % 100}, ")
    assert "libzmq" in findings["zeromq"]["found"]
    assert findings["engines"]["found"].endswith(f"; auto takes {explain_auto()}")
    assert "drift" in findings["shipped bundle"]["found"]
    assert code == (findings["shipped bundle"]["level"] == "error")


@contextmanager
def playing(name: str, by_s: float, sfreq: float = 500.0) -> Iterator[None]:
    """Have a stream of declared 500 Hz that stamps by a clock so far from LSL's, as time passes."""
    stop = threading.Event()

    def play(source: Source) -> None:
        began, k = source.clock(), 0
        while not stop.wait(0.02):
            due = int((source.clock() - began) * sfreq)
            if due > k:
                source.push(due - k, timestamps=began + by_s + np.arange(k, due) / sfreq)
            k = max(k, due)

    with Source(name) as source, ThreadPoolExecutor(1) as pool:
        played = pool.submit(play, source)
        yield
        stop.set()
        played.result()


@pytest.mark.parametrize(
    ("by_s", "sfreq", "level", "found"),
    [
        (0.0, 500.0, "ok", "agree, "),
        (1e9, 500.0, "warning", "ahead of this machine's clock"),
        (0.0, 490.0, "warning", "it declares 500 Hz, its timestamps say 490.0"),
        (0.0, 250.0, "error", "expected samples at the 500 Hz that it declares, found them at 2"),
    ],
)
def test_timestamps_are_held_against_the_arrival_of_samples(
    tmp_path: Path, by_s: float, sfreq: float, level: str, found: str
) -> None:
    with playing("ticking", by_s, sfreq):
        code, findings, _ = examine("--config", write_config(tmp_path, "ticking"))
    assert found in findings["clock of cage"]["found"]
    assert findings["clock of cage"]["level"] == level
    assert findings["stream cage"]["level"] == "ok"
    assert code == (level == "error")


def test_a_missing_label_is_named_with_the_nearest(tmp_path: Path) -> None:
    with Source("labels"):
        code, findings, _ = examine("--config", write_config(tmp_path, "labels", eeg="EEG9"))
    assert code == 1
    assert "expected a channel 'EEG9', found EEG, EMG" in findings["stream cage"]["found"]
    assert findings["stream cage"]["do"]


def test_a_stream_too_slow_for_the_model_is_refused_as_the_daemon_does(tmp_path: Path) -> None:
    with Source("slow", sfreq=64.0):
        mouse, found, _ = examine("--config", config := write_config(tmp_path, "slow"))
        assert found["stream cage"]["level"] == "error"
        assert "expected a sampling rate of 100 to 4000 Hz, found 64 Hz" in str(found)
        text = config.read_text().replace("emg", "eog")
        config.write_text(
            f'{text}\n[engine]\nbundle = "{make_bundle_of(human_spec(), tmp_path)}"\n'
        )
        _, found, _ = examine("--config", config)
    assert mouse == 1
    assert "expected a sampling rate" not in str(found["stream cage"])


def test_labels_of_another_species_are_warned_of(tmp_path: Path) -> None:
    with Source("person", labels=("EEG C3-M2", "EMG")):
        _, findings, _ = examine("--config", write_config(tmp_path, "person", eeg="EEG C3-M2"))
    assert findings["stream cage"]["level"] == "warning"
    assert "sleepdifformer-human" in findings["stream cage"]["found"]


def test_a_missing_echo_line_is_named(tmp_path: Path) -> None:
    path = write_config(tmp_path, "echo")
    path.write_text(path.read_text().replace("channels =", 'echo = "TTL", channels ='))
    with Source("echo"):
        code, findings, _ = examine("--config", path)
    assert code == 1
    assert "echo of m01: expected a channel 'TTL'" in findings["stream cage"]["found"]


def test_outputs_are_looked_at_and_not_touched(tmp_path: Path) -> None:
    outputs = {
        "serial": ("none.tty", 'port = "none.tty"'),
        "osc": ("no.host.invalid:9", 'host = "no.host.invalid", port = 9'),
        "open-ephys": ("no.host.invalid:5556", 'host = "no.host.invalid"'),
        "lsl": ("name: Expected `str`", 'name = ""'),
        "laser": ("expected a driver of", ""),
    }
    with Board() as board:
        good = {"serial": f'port = "{board.port}"', "osc": 'host = "localhost", port = 9'}
        good |= {"open-ephys": "", "lsl": ""}
        options = [*good.items(), *((driver, bad) for driver, (_, bad) in outputs.items())]
        path = write_config(tmp_path, "absent")
        path.write_text(
            path.read_text()
            + '[[triggers]]\nname = "r"\nstages = ["REM"]\non_s = 1\n'
            + "".join(f'[[pulse]]\ndriver = "{d}"\noptions = {{ {o} }}\n' for d, o in options)
        )
        code, findings, _ = examine("--config", path, "--timeout", 0.5)
        assert not board.edges
    assert code == 1
    assert [findings[f"output {k}, {d}"]["level"] for k, (d, _) in enumerate(options)] == (
        ["ok"] * 4 + ["error"] * 5
    )
    for k, (driver, (word, _)) in enumerate(outputs.items(), 4):
        assert word in findings[f"output {k}, {driver}"]["found"]


def test_a_baseline_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    path = write_config(tmp_path, "absent")
    path.write_text(path.read_text().replace("channels =", 'baseline = "none.edf", channels ='))
    code, findings, _ = examine("--config", path, "--timeout", 0.5)
    assert code == 1
    assert "baseline of m01: none.edf: expected a file" in findings["baselines of cage"]["found"]


def test_a_modality_that_the_model_does_not_read_is_an_error(tmp_path: Path) -> None:
    """Also while the stream is not there, which would be another error."""
    path = write_config(tmp_path, "absent")
    path.write_text(path.read_text().replace("emg =", "ecg ="))
    code, findings, _ = examine("--config", path, "--timeout", 0.5)
    assert code == 1
    assert "expected channels for eeg and emg, found eeg, ecg" in findings["modalities"]["found"]
    assert "engine.bundle" in findings["modalities"]["do"]


def test_a_journal_of_another_format_is_an_error(tmp_path: Path) -> None:
    journal = tmp_path / "journal.sqlite"
    path = write_config(tmp_path, "absent")
    path.write_text(path.read_text() + f'[journal]\npath = "{journal}"\n')
    _, findings, _ = examine("--config", path, "--timeout", 0.5)
    assert findings["journal"]["found"].startswith(
        f"{journal}: 0 runs of the daemon so far, 0 byte"
    )
    write_journal(journal, [])
    _, findings, _ = examine("--config", path, "--timeout", 0.5)
    assert findings["journal"]["found"].startswith(f"{journal}: 1 runs of the daemon so far, ")
    with sqlite3.connect(journal) as db:
        db.execute("PRAGMA user_version = 1")
    db.close()
    code, findings, _ = examine("--config", path, "--timeout", 0.5)
    assert (code, findings["journal"]["level"]) == (1, "error")
    assert "expected a journal of format 3, found format 1" in findings["journal"]["found"]
    assert findings["journal"]["do"].startswith(f"mv {journal} ")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for three days of one mouse."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if mount.returncode:
        pytest.skip(f"needs the right to mount: {mount.stderr.decode()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_will_soon_be_full_is_a_warning(tmp_path: Path, small_disk: Path) -> None:
    path = write_config(tmp_path, "absent")
    path.write_text(path.read_text() + f'[journal]\npath = "{small_disk}/j.sqlite"\n')
    _, findings, _ = examine("--config", path, "--timeout", 0.5)
    assert findings["journal"]["level"] == "warning"
    assert (
        "MB a day to come with all subjects, 209.7 MB free: full in 3 days"
        in (findings["journal"]["found"])
    )
    assert "journal.keep_days" in findings["journal"]["do"]
    path.write_text(path.read_text() + "keep_days = 2\n")
    _, findings, _ = examine("--config", path, "--timeout", 0.5)
    assert findings["journal"]["level"] == "ok"
    assert findings["journal"]["found"].endswith(": at most about 131.3 MB")


def test_two_matching_streams_are_both_named(tmp_path: Path) -> None:
    with Source("twin", source_id="A"), Source("twin", source_id="B"):
        code, findings, _ = examine("--config", write_config(tmp_path, "twin"))
    assert code == 1
    assert "source_id 'A'" in findings["stream cage"]["found"]
    assert "source_id 'B'" in findings["stream cage"]["found"]
    assert findings["stream cage"]["do"] == 'add source_id = "A" or source_id = "B" to match'


def test_one_stream_that_two_of_the_config_match_is_told(tmp_path: Path) -> None:
    path = write_config(tmp_path, "single")
    other = path.read_text().replace("cage", "den").replace("m01", "m02")
    path.write_text(path.read_text() + other.replace('name = "single"', 'source_id = "amp-8"'))
    with Source("single", source_id="amp-8"):
        _, findings, _ = examine("--config", path)
    assert findings["streams"]["level"] == "warning"
    assert findings["streams"]["found"].startswith("'cage' and 'den' are all 'single' (type 'EEG'")


def test_two_streams_of_one_name_are_told_apart_by_their_types(tmp_path: Path) -> None:
    """As of a headband that sends EEG and acceleration."""
    with Source("twin", source_id="A"), Source("twin", source_id="A", kind="ACC"):
        _, findings, _ = examine("--config", write_config(tmp_path, "twin"))
    assert findings["stream cage"]["do"] == 'add type = "ACC" or type = "EEG" to match'


def test_what_is_visible_instead_is_named(tmp_path: Path) -> None:
    with Source("Rack 1"):
        code, findings, _ = examine("--config", write_config(tmp_path, "rack-1"))
    assert code == 1
    assert "found none: visible are 'Rack 1' (type 'EEG')" in findings["stream cage"]["found"]


def test_nothing_visible_is_a_warning_and_for_a_config_an_error(tmp_path: Path) -> None:
    _, findings, streams = examine("--timeout", 0.5)
    assert not streams
    assert findings["streams"]["level"] == "warning"
    assert "KnownPeers" in findings["streams"]["do"]
    code, findings, _ = examine("--timeout", 0.5, "--config", write_config(tmp_path, "absent"))
    assert code == 1
    assert "found none: no stream is visible" in findings["stream cage"]["found"]


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ("[staging]\nhop_s = 0.3", "staging.hop_s: expected a whole fraction of the epoch of 1 s"),
        ("[staging]\nhop_s = 0.9999999", "the epoch of 1 s, found 0.9999999 s"),
        ('[publish]\nbind = "localhost"', "publish.bind: expected tcp://address:port"),
        ('[publish]\ncatchup_bind = "tcp://*:5571"', "publish.catchup_bind: without keys"),
        (
            '[[triggers]]\nname = "a"\nstages = ["N2"]\non_s = 1',
            "trigger 'a': expected stages of Wake, NREM, REM, found 'N2'",
        ),
    ],
)
def test_what_ends_the_daemon_as_it_starts_is_an_error(
    tmp_path: Path, more: str, found: str
) -> None:
    path = write_config(tmp_path, "absent")
    path.write_text(f"{path.read_text()}\n{more}\n")
    code, findings, _ = examine("--timeout", 0.5, "--config", path)
    assert code == 1
    assert found in findings["config"]["found"]


def test_a_broken_config_is_a_finding(tmp_path: Path) -> None:
    path = write_config(tmp_path, "any", unit="n_chanels = 2")
    code, findings, _ = examine("--timeout", 0.5, "--config", path)
    assert code == 1
    assert "did you mean 'n_channels'" in findings["config"]["found"]


def test_without_liblsl_it_says_how_to_get_one(tmp_path: Path) -> None:
    """The package as it comes where its wheel carries no library."""
    package = Path(pylsl.__file__).parent
    ignore = shutil.ignore_patterns("*.so*", "__pycache__")
    shutil.copytree(package, tmp_path / "pylsl", ignore=ignore)
    done = subprocess.run(
        hypnod.command("doctor", "--json"),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    code, findings, _ = read(done)
    assert code == 1
    assert findings["liblsl"]["level"] == "error"
    assert "set PYLSL_LIB=" in findings["liblsl"]["found"]
    assert "glibc 2.35" in findings["liblsl"]["found"]


def test_a_gpu_that_crashed_is_told_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)  # as of a fake device of other tests
    marker = tmp_path / "hypnod" / "plans" / "tensorrt-fp32-12ab.failed"
    marker.parent.mkdir(parents=True)
    marker.write_text("it was ended by SIGSEGV\nlast words\n")
    _, findings, _ = examine("--timeout", "0.5", env={"XDG_CACHE_HOME": str(tmp_path)})
    assert findings["gpu"]["level"] == "warning"
    assert findings["gpu"]["found"] == "it was ended by SIGSEGV"
    assert findings["gpu"]["do"].endswith(f"rm {marker}")


def test_people_get_a_table_and_then_what_to_do() -> None:
    with Source("shown"), Source("wide", n_channels=1000, labels=[f"CH{i}" for i in range(1000)]):
        done = forked.run("doctor", environ={"COLUMNS": "200"})
    assert "visible LSL streams" in done.stdout
    assert "EEG (microvolts), EMG (microvolts)" in done.stdout
    assert "CH14 (microvolts), … 984 more …" in " ".join(done.stdout.replace("│", " ").split())
    assert re.fullmatch(r"errors: \d, warnings: \d", done.stdout.splitlines()[-1])


def test_what_streams_call_themselves_is_shown_as_it_is() -> None:
    with (
        Source("[/red] :m:", labels=["EEG [left]", "E\x1b[2JG\r\n"], units=["[/]", "µV\x1b"]),
        Source("endless", sfreq=float("inf")),
    ):
        done = forked.run("doctor", environ={"COLUMNS": "200"})
    assert "[/red] :m:" in done.stdout
    assert "EEG [left] ([/]), E [2JG (µV )" in done.stdout
    assert "(invalid: stoi)" in done.stdout  # no rate: liblsl cannot read the rest
    assert "\x1b" not in done.stdout


def test_liblsl_reads_the_example(tmp_path: Path) -> None:
    text = (ROOT / "systemd" / "lsl_api.cfg").read_text()
    config = tmp_path / "lsl_api.cfg"
    config.write_text(text.replace("= default", "= of-this-test").replace("= site", "= machine"))
    code = (
        "import pylsl; info = pylsl.StreamInfo('x', 'EEG', 1, 100, 'float32', 'x');"
        "print(pylsl.StreamOutlet(info).get_info().session_id())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"LSLAPICFG": str(config)},
    )
    assert done.stdout == "of-this-test\n"
    assert not done.stderr
