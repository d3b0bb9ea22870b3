"""`hypnod init` beside real streams: what it writes is a config that doctor likes."""

import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path

import edfio
import numpy as np
import pytest

from daemon.config import load_config
from tests.rigs import forked
from tests.rigs.lsl import Source
from tests.support.bundles import human_spec, make_bundle_of
from tests.support.recordings.edf import write_channels
from tests.support.recordings.xdf import XdfStream, write_streams
from tools.init.counting import count_up

CHANNELS = tuple(f"CH{i}" for i in range(1, 17))


def run(folder: Path, *arguments: str, says: str = "") -> subprocess.CompletedProcess[str]:
    return forked.run(*arguments, cwd=folder, says=says)


def test_eight_animals_of_a_stream_by_pattern(tmp_path: Path) -> None:
    with Source("Rack 1", n_channels=16, labels=CHANNELS):
        done = run(tmp_path, "init", "--eeg", "CH1", "--emg", "CH2")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "next: hypnod doctor --config hypnod.toml"
        (stream,) = load_config(tmp_path / "hypnod.toml").streams
        assert (stream.name, stream.match) == ("Rack-1", {"name": "Rack 1"})
        assert [subject.name for subject in stream.subjects] == [f"m{i}" for i in range(1, 9)]
        assert stream.subjects[7].channels == {"eeg": "CH15", "emg": "CH16"}
        checked = run(tmp_path, "doctor", "--config", "hypnod.toml")
        assert "all channels found" in checked.stdout
        again = run(tmp_path, "init", "--eeg", "CH1", "--emg", "CH2")
    assert again.returncode == 2
    assert "there already" in again.stderr


def test_it_asks_for_what_is_not_given(tmp_path: Path) -> None:
    with Source("asked", units=None), Source("asked", kind="Markers", sfreq=0, dtype="string"):
        done = run(tmp_path, "init", "a.toml", says="\n\nmV\n")
        silent = run(tmp_path, "init", "b.toml", says="EEG\nEMG\n")
        wrong = run(tmp_path, "init", "c.toml", "--unit", "furlong", "--eeg", "EEG", "--emg", "")
        missing = run(tmp_path, "init", "d.toml", "--stream", "aksed")
    assert done.returncode == 0, done.stderr
    (stream,) = load_config(tmp_path / "a.toml").streams
    assert (stream.match, stream.unit) == ({"name": "asked", "type": "EEG"}, "mV")
    assert stream.subjects[0].channels == {"eeg": "EEG", "emg": "EMG"}
    assert (silent.returncode, "expected --unit" in silent.stderr) == (2, True)
    assert wrong.returncode == 3
    assert (missing.returncode, "visible are 'asked' (type" in missing.stderr) == (5, True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.toml"]


def write_waves(path: Path, labels: Sequence[str], sfreq: int = 100) -> None:
    write_channels(path, [np.sin(np.arange(10.0 * sfreq))] * len(labels), labels, sfreq)


def test_a_recording_stands_for_its_replay(tmp_path: Path) -> None:
    write_waves(tmp_path / "night 1.edf", ("EEG1", "EMG1", "EEG2", "EMG2"))
    done = run(tmp_path, "init", "--recording", "night 1.edf", "--eeg", "EEG1", "--emg", "EMG1")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "hypnod.toml").read_text()
    assert text.startswith("# hypnod replay 'night 1.edf'\n# hypnod doctor --config hypnod.toml\n")
    (stream,) = tomllib.loads(text)["streams"]
    assert stream["match"] == {"name": "night 1"}
    assert [s["channels"]["eeg"] for s in stream["subjects"]] == ["EEG1", "EEG2"]


def write_person(path: Path) -> None:
    write_waves(path, ("EMG chin", "F3-M2", "C4-M1", "E1-M2", "E2-M2"), 64)


def test_of_a_person_the_electrodes_are_found_by_name_and_a_stage_comes_within_the_epoch(
    tmp_path: Path,
) -> None:
    write_person(tmp_path / "night.edf")
    bundle = make_bundle_of(human_spec(epoch_s=30.0), tmp_path)
    asked = ("init", "--recording", "night.edf", "--species", "human", "--bundle", str(bundle))
    done = run(tmp_path, *asked, says="\n\n")
    assert done.returncode == 0, done.stderr
    assert "of no person: EMG chin, F3-M2, E2-M2" in done.stdout
    config = load_config(tmp_path / "hypnod.toml")
    (person,) = config.streams[0].subjects
    assert (person.name, person.channels) == ("p1", {"eeg": "C4-M1", "eog": "E1-M2"})
    assert (config.engine.species, config.engine.folder) == ("human", bundle)
    assert config.staging.hop_s == 5.0
    wrong = run(tmp_path, *asked, "b.toml", "--eeg", "C4-M1", "--emg", "EMG chin")
    assert wrong.returncode == 2
    assert "expected --eeg or --eog for the species human, found --emg" in said(wrong)


def test_of_a_person_whose_eeg_no_label_names_the_eog_is_offered(tmp_path: Path) -> None:
    write_waves(tmp_path / "night.edf", ("Ch 1", "E1-M2"), 64)
    asked = ("init", "--recording", "night.edf", "--species", "human")
    done = run(tmp_path, *asked, says="Ch 1\n\n")
    assert done.returncode == 0, done.stderr
    (person,) = load_config(tmp_path / "hypnod.toml").streams[0].subjects
    assert person.channels == {"eeg": "Ch 1", "eog": "E1-M2"}


def test_a_person_is_no_mouse(tmp_path: Path) -> None:
    write_person(tmp_path / "night.edf")
    done = run(tmp_path, "init", "--recording", "night.edf", "--eeg", "C4-M1", "--emg", "EMG chin")
    assert done.returncode == 2
    assert "sleepdifformer-human stages (--species human, or species under [engine])" in said(done)
    assert not (tmp_path / "hypnod.toml").exists()


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Return what stands in the frame of an error."""
    return " ".join(done.stderr.replace("│", " ").split())


def test_two_ways_to_count_on_are_not_guessed_among(tmp_path: Path) -> None:
    """All EEGs may come first, then all EMGs."""
    write_waves(tmp_path / "night.edf", CHANNELS)
    asked = ("init", "--recording", "night.edf", "--eeg", "CH1", "--emg")
    eight = run(tmp_path, *asked, "CH9")
    assert eight.returncode == 2
    assert "--step 1 for CH2 and CH10, or --subjects 1" in " ".join(eight.stderr.split())
    two = run(tmp_path, *asked, "CH4", "--animals", "2")
    assert "--step 1 for CH2 and CH5, --step 4 for CH5 and CH8" in " ".join(two.stderr.split())
    done = run(tmp_path, *asked, "CH9", "--step", "1", "--animals", "7")
    assert "of no animal: CH8, CH16" in done.stdout
    (stream,) = load_config(tmp_path / "hypnod.toml").streams
    assert len(stream.subjects) == 7
    assert stream.subjects[6].channels == {"eeg": "CH7", "emg": "CH15"}


def test_of_two_streams_of_a_name_the_option_that_chooses_is_said(tmp_path: Path) -> None:
    given = ("--eeg", "EEG", "--emg", "EMG")
    with Source("pair", units="counts"), Source("pair", kind="A C"):
        several = run(tmp_path, "init", *given)
        done = run(tmp_path, "init", *given, "--match", "type=eeg", says="mV\n")
    assert several.returncode == 5
    assert "choose by --match type='A C' or --match type=EEG" in several.stderr
    assert "Unit; it says counts" in done.stdout
    (stream,) = load_config(tmp_path / "hypnod.toml").streams
    assert (stream.match, stream.unit) == ({"name": "pair", "type": "EEG"}, "mV")


@pytest.mark.parametrize(("given", "says"), [(["--unit", "EMG=mV"], ""), ([], "mV\n")])
def test_of_a_unit_that_one_modality_lacks_the_other_is_left_as_it_is(
    tmp_path: Path, given: list[str], says: str
) -> None:
    signals = [
        edfio.EdfSignal(np.sin(np.arange(1000.0)), 100, label=label, physical_dimension=unit)
        for label, unit in (("EEG", "uV"), ("EMG", ""))
    ]
    edfio.Edf(signals).write(tmp_path / "night.edf")
    options = ["--recording", "night.edf", "--eeg", "EEG", "--emg", "EMG", *given]
    done = run(tmp_path, "init", *options, says=says)
    assert done.returncode == 0, done.stderr
    (stream,) = load_config(tmp_path / "hypnod.toml").streams
    assert stream.unit == {"emg": "mV"}


@pytest.mark.parametrize(
    ("first", "known", "last"),
    [
        (("CH1", "CH3-CH4"), CHANNELS, ("CH13", "CH15-CH16")),
        (("CH1-CH2", ""), CHANNELS, ("CH15-CH16", "")),
        (
            ("EEG1", "EMG1-EMG2"),
            ("EEG1", "EMG1", "EMG2", "EEG2", "EMG3", "EMG4"),
            ("EEG2", "EMG3-EMG4"),
        ),
        (
            ("m01_eeg", "m01_emg"),
            ("m01_eeg", "m01_emg", "m02_eeg", "m02_emg"),
            ("m02_eeg", "m02_emg"),
        ),
        (("1", "2"), tuple("12345"), ("3", "4")),
        (("EEG", "EMG"), ("EEG", "EMG"), ("EEG", "EMG")),
    ],
)
def test_numberscount_up(first: Sequence[str], known: Sequence[str], last: Sequence[str]) -> None:
    def table(labels: Sequence[str]) -> dict[str, str]:
        return {m: label for m, label in zip(("eeg", "emg"), labels, strict=True) if label}

    animals = list(count_up(table(first), known, endless=False))
    assert (animals[0], animals[-1]) == (table(first), table(last))


def test_the_stream_of_an_xdf_that_was_chosen_is_the_one_that_is_to_be_replayed(
    tmp_path: Path,
) -> None:
    samples = np.zeros((256, 2), np.float32)
    racks = [XdfStream(samples, ("EEG1", "EMG1"), name=f"rack {k}") for k in (1, 2)]
    write_streams(tmp_path / "night.xdf", racks)
    options = ("--recording", "night.xdf", "--eeg", "EEG1", "--emg", "EMG1")
    done = run(tmp_path, "init", *options, "--match", "name=rack 2")
    assert done.returncode == 0, done.stderr
    first = (tmp_path / "hypnod.toml").read_text().splitlines()[0]
    assert first == "# hypnod replay night.xdf --match 'name=rack 2'"
