"""`hypnod replay` as its own process, read through LSL."""

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import edfio
import numpy as np
import pylsl
import pytest

from daemon.lsl.inlet import Inlet
from models.recordings.open import open_recording
from tests.rigs.forked import Forked
from tests.rigs.lsl import collect, stream_config, wait_until
from tests.support.recordings.xdf import XdfStream, write_streams

SFREQ = 200.0


def write_edf(path: Path, seconds: int = 20) -> Path:
    """Write two channels that hold every value once, with an annotation each second."""
    n = int(seconds * SFREQ)
    numbers = (np.arange(n) % 65536 - 32768).astype(np.float64)
    signals = [
        edfio.EdfSignal(
            x,
            SFREQ,
            label=label,
            physical_dimension=unit,
            physical_range=(-32768, 32767),
        )
        for x, label, unit in ((numbers, "EEG front", "uV"), (numbers[::-1], "EMG", "mV"))
    ]
    annotations = [edfio.EdfAnnotation(t + 0.25, 1.0, f"mark {t}") for t in range(seconds)]
    edfio.Edf(signals, annotations=annotations, data_record_duration=1).write(path)
    return path


@contextmanager
def replaying(*arguments: object) -> Iterator[Forked]:
    with Forked(["replay", *arguments], stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def summary(process: Forked) -> dict[str, Any]:
    out, err = process.communicate()
    assert process.returncode == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.parametrize("speed", ["50", "max"])
def test_every_sample_arrives_with_its_recording_time(tmp_path: Path, speed: str) -> None:
    recording = open_recording(write_edf(tmp_path / "night.edf"))
    with (
        closing(Inlet(stream_config("night", sfreq=SFREQ))) as inlet,
        replaying(recording.path, "--speed", speed, "--t0", 1000, "--json") as process,
    ):
        chunk = collect(inlet, recording.n_samples)
        found = summary(process)
    np.testing.assert_array_equal(chunk.data, recording.read(0, recording.n_samples))
    expected = 1000 + recording.timestamps(0, recording.n_samples)
    np.testing.assert_array_equal(chunk.timestamps, expected)
    assert found["t0"] == 1000
    assert found["streams"][0]["samples"] == recording.n_samples
    assert not found["interrupted"]
    assert inlet.description is not None
    assert inlet.description.ch_names == ("EEG front", "EMG")
    assert inlet.description.units == ("uV", "mV")


def test_a_real_recording_arrives_bit_for_bit(shared_data: Path) -> None:
    recording = open_recording(shared_data / "mouse_raw" / "mouse_eeg_emg_29min.edf")
    at = 0
    with (
        closing(Inlet(stream_config("mouse_eeg_emg_29min"))) as inlet,
        replaying(recording.path, "--speed", "max", "--t0", 1),
    ):

        def all_read() -> bool:
            nonlocal at
            chunk = inlet.poll()
            if chunk is not None:
                start, at = at, at + len(chunk.timestamps)
                np.testing.assert_array_equal(chunk.data, recording.read(start, at))
                np.testing.assert_array_equal(chunk.timestamps, 1 + recording.timestamps(start, at))
            return at == recording.n_samples

        wait_until(all_read, "all samples", timeout=60)


def test_max_waits_for_a_slow_reader(tmp_path: Path) -> None:
    """Ten minutes overflow an inlet's six; a reader that dawdles still gets every sample."""
    recording = open_recording(write_edf(tmp_path / "slow.edf", seconds=600))
    numbers: list[np.ndarray[Any, Any]] = []
    pause = threading.Event()
    with (
        closing(Inlet(stream_config("slow"))) as inlet,
        replaying(recording.path, "--speed", "max", "--quiet"),
    ):

        def all_read() -> bool:
            chunk = inlet.poll()
            if chunk is not None:
                numbers.append(chunk.data[:, 0])
                pause.wait(0.2)
            return sum(map(len, numbers)) >= recording.n_samples

        wait_until(all_read, "all samples", timeout=60)
    np.testing.assert_array_equal(
        np.concatenate(numbers), recording.read(0, recording.n_samples)[:, 0]
    )


def test_annotations_become_markers_at_their_times(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "marked.edf", seconds=6)
    with replaying(path, "--speed", 3, "--t0", 50, "--start", 2, "--json") as process:
        streams = {
            name: pylsl.StreamInlet(pylsl.resolve_byprop("name", name, 1, 20)[0], recover=False)
            for name in ("marked-markers", "marked")
        }
        for inlet in streams.values():
            inlet.open_stream(20)
        markers = [streams["marked-markers"].pull_sample(20) for _ in range(4)]
        found = summary(process)
    assert markers == [([f"mark {t}"], 50 + t + 0.25 - 2) for t in range(2, 6)]
    assert found["streams"][0]["markers"] == 4
    assert found["streams"][0]["samples"] == 4 * SFREQ


def test_description_names_file_and_kinds(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "described.edf", seconds=2)
    with replaying(path, "--name", "other", "--no-markers"):
        info = pylsl.resolve_byprop("name", "other", 1, 20)[0]
        assert info.source_id() == "hypnod-replay-other"
        assert info.type() == "EEG"
        full = pylsl.StreamInlet(info, recover=False).info(20)
        assert full.get_channel_types() == ["EEG", "EMG"]
        assert full.desc().child("recording").child_value("file") == "described.edf"
        assert not pylsl.resolve_byprop("name", "other-markers", 1, 0.5)


def test_a_loop_goes_on_without_a_seam_until_interrupted(tmp_path: Path) -> None:
    recording = open_recording(write_edf(tmp_path / "loop.edf", seconds=2))
    with (
        closing(Inlet(stream_config("loop"))) as inlet,
        replaying(recording.path, "--speed", 50, "--loop", "--t0", 10, "--json") as process,
    ):
        n = 3 * recording.n_samples
        chunk = collect(inlet, n)
        process.send_signal(signal.SIGINT)
        assert summary(process)["interrupted"]
    np.testing.assert_allclose(chunk.timestamps[:n], 10 + np.arange(n) / SFREQ, rtol=0, atol=1e-9)
    once = recording.read(0, recording.n_samples)
    np.testing.assert_array_equal(chunk.data[:n], np.concatenate([once] * 3))


def test_sigterm_ends_the_wait_for_a_reader(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "unread.edf", seconds=2)
    with replaying(path, "--json") as process:
        assert process.stderr is not None
        assert "waiting for a reader of unread" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert summary(process)["streams"][0]["samples"] == 0


def test_without_waiting_it_plays_to_nobody(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "alone.edf", seconds=2)
    with replaying(path, "--no-wait", "--speed", "max", "--json") as process:
        assert summary(process)["streams"][0]["samples"] == 2 * SFREQ


def test_several_files_keep_step(tmp_path: Path) -> None:
    paths = [write_edf(tmp_path / f"{name}.edf", seconds=5) for name in ("left", "right")]
    with (
        closing(Inlet(stream_config("left"))) as left,
        closing(Inlet(stream_config("right"))) as right,
        replaying(*paths, "--speed", "max", "--json") as process,
    ):
        wait_until(
            lambda: [left.poll(), right.poll()] and left.connection and right.connection, "both"
        )
        found = summary(process)
    assert [s["samples"] for s in found["streams"]] == [5 * SFREQ] * 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--start", 100), 6, "expected samples from 100 s on, found 2 s in all"),
        (("--speed", "fast"), 2, "found 'fast'"),
        (("--speed", "0"), 2, "expected a number above 0"),
    ],
)
def test_what_cannot_be_played_is_refused(
    tmp_path: Path, arguments: tuple[object, ...], code: int, message: str
) -> None:
    path = write_edf(tmp_path / "short.edf", seconds=2)
    with replaying(path, *arguments) as process:
        _, err = process.communicate()
        assert process.returncode == code
        assert message in " ".join(err.replace("│", " ").split())


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.edf"
    path.write_bytes(b"not an EDF")
    with replaying(path) as process:
        _, err = process.communicate()
        assert process.returncode == 6
        assert "broken.edf: expected" in err


def test_as_much_as_asked_for_is_played_round_and_round(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "night.edf", 4)
    options = ("--loop", "--duration", 9.5, "--speed", "max", "--t0", 1, "--json")
    with closing(Inlet(stream_config("night", sfreq=SFREQ))) as inlet, replaying(path, *options):
        chunk = collect(inlet, round(9.5 * SFREQ))
    np.testing.assert_allclose(chunk.timestamps, 1 + np.arange(1900) / SFREQ, rtol=1e-12)
    np.testing.assert_array_equal(
        chunk.data, np.tile(open_recording(path).read(0, 800), (3, 1))[:1900]
    )


def test_a_reader_that_ended_is_waited_for_until_it_is_back(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "night.edf", 600)
    with replaying(path, "--speed", "max", "--ahead", 5, "--t0", 1):
        with closing(Inlet(stream_config("night", sfreq=SFREQ))) as inlet:
            read_until = collect(inlet, round(20 * SFREQ)).timestamps[-1]
        with closing(Inlet(stream_config("night", sfreq=SFREQ))) as inlet:
            goes_on = collect(inlet, 1).timestamps[0]
    assert goes_on - read_until < 10


def test_a_stream_of_an_xdf_is_chosen(tmp_path: Path) -> None:
    data = np.zeros((640, 2), np.float32)
    racks = [XdfStream(data, labels, name=f"rack-{labels[0]}") for labels in ("AB", "CD")]
    night = write_streams(tmp_path / "night.xdf", racks)
    options = (night, "--speed", "max", "--no-wait", "--quiet", "--json")
    with replaying(*options) as process:
        assert "choose one, as in --match name=rack-A" in process.communicate()[1]
    with replaying(*options, "--match", "name=rack-C") as process:
        assert summary(process)["streams"]
    with replaying(write_edf(tmp_path / "a.edf"), "--match", "name=rack-C") as process:
        assert "expected an XDF file to choose a stream of" in process.communicate()[1]
