"""`hypnod simulate`: what was simulated is what the EDF+ says."""

import json
from pathlib import Path

import edfio
import numpy as np
import pytest
from typer.testing import CliRunner

from models.errors import RecordingError
from models.recordings.hypnograms.read import read_hypnogram
from models.simulator.human.simulate import SimulatedPeople
from models.simulator.mouse.simulate import SimulatedMice
from models.stages import HUMAN, MOUSE
from tools.cli import app

SHORT = ["--minutes", "2", "--time-scale", "8", "--seed", "3", "--every-stage"]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["simulate", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize(("sfreq", "duration_s"), [(128.0, 120), (511.96, 125), (1000.5, 120)])
def test_signals_and_hypnogram_come_back(tmp_path: Path, sfreq: float, duration_s: int) -> None:
    out = tmp_path / "mice.edf"
    summary = json.loads(
        run(
            str(out),
            *SHORT,
            "--subjects",
            "2",
            "--artefacts",
            "60",
            "--sfreq",
            str(sfreq),
            "--json",
        )
    )
    truth = SimulatedMice(
        seed=3,
        duration_s=duration_s,
        sfreq=sfreq,
        n_subjects=2,
        artefacts_per_hour=60,
        time_scale=8,
        every_stage=True,
    ).record()
    edf = edfio.read_edf(out)
    assert edf.labels == truth.ch_names
    for signal, expected in zip(edf.signals, truth.data.T, strict=True):
        assert signal.sampling_frequency == pytest.approx(sfreq)
        assert signal.physical_dimension == "uV"
        np.testing.assert_allclose(signal.data, expected, atol=np.abs(expected).max() / 30000)
    for k, hypnogram in enumerate(truth.hypnograms):
        read = read_hypnogram(out, MOUSE, subject=f"m{k + 1}")
        assert tuple(read.to_epochs(1.0, duration_s)) == hypnogram
        assert summary["subjects"][f"m{k + 1}"]["REM"] == hypnogram.count("REM")
    artefacts = [a.text for a in edf.annotations if "artefact" in a.text]
    assert len(artefacts) == sum(len(subject) for subject in truth.artefacts) > 0
    assert set(artefacts) == {f"m{k} artefact {m}" for k in (1, 2) for m in ("eeg", "emg")}


def test_one_mouse_needs_no_name(tmp_path: Path) -> None:
    out = tmp_path / "mouse.edf"
    assert "NREM min" in run(str(out), *SHORT)
    assert {a.text for a in edfio.read_edf(out).annotations} == set(MOUSE)


def test_the_same_seed_writes_the_same_file(tmp_path: Path) -> None:
    for name in ("a.edf", "b.edf"):
        run(str(tmp_path / name), *SHORT)
    assert (tmp_path / "a.edf").read_bytes() == (tmp_path / "b.edf").read_bytes()


def test_wide_mice_are_written_as_they_were_simulated(tmp_path: Path) -> None:
    out = tmp_path / "mouse.edf"
    run(str(out), "--minutes", "1", "--sfreq", "128", "--wide")
    truth = SimulatedMice(seed=0, duration_s=60, sfreq=128, wide=True).record().data.T
    for signal, expected in zip(edfio.read_edf(out).signals, truth, strict=True):
        step = np.ptp(expected) / 2**15
        np.testing.assert_allclose(signal.data, expected, rtol=0, atol=step)


def test_a_file_is_only_overwritten_by_force(tmp_path: Path) -> None:
    out = tmp_path / "mouse.edf"
    out.write_text("a night's work")
    with pytest.raises(RecordingError, match="--force overwrites it"):
        run(str(out), *SHORT)
    assert out.read_text() == "a night's work"
    run(str(out), *SHORT, "--force")
    assert edfio.read_edf(out).duration == 120


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--sfreq", "333.333"], "data records of at most 60 s, found 333.333 Hz"),
        (["--sfreq", "50"], "100 to 4000 Hz, found 50"),
        (["--time-scale", "0"], "time scale"),
        (["--minutes", "0"], "expected a length above 0 in all, found 0 s"),
        (["--minutes", "0", "--hours", "0"], "expected a length above 0 in all, found 0 s"),
        (["--hours", "inf"], "expected a length above 0 in all, found inf s"),
    ],
)
def test_what_cannot_be_written_is_refused(
    tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    out = tmp_path / "mouse.edf"
    with pytest.raises(RecordingError, match=sentence):
        run(str(out), "--minutes", "1", *arguments)
    assert not out.exists()


@pytest.mark.parametrize("name", ["y.txt", "night.bdf", "night"])
def test_a_name_of_another_format_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecordingError, match=rf"expected a file name that ends in \.edf, .*{name}"):
        run(str(tmp_path / name), *SHORT)
    assert not (tmp_path / name).exists()


def test_a_missing_folder_is_refused_before_simulating(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="expected a folder"):
        run(str(tmp_path / "nowhere" / "mouse.edf"), "--hours", "1000")


def test_a_person_is_written_with_the_labels_and_stages_of_a_polysomnogram(tmp_path: Path) -> None:
    out = tmp_path / "person.edf"
    summary = json.loads(run(str(out), "--species", "human", "--minutes", "30", "--json"))
    truth = SimulatedPeople(seed=0, duration_s=1800).record()
    edf = edfio.read_edf(out)
    assert edf.labels == truth.ch_names
    assert {signal.sampling_frequency for signal in edf.signals} == {128.0}
    (stages,) = summary["subjects"].values()
    assert stages == {s: truth.hypnograms[0].count(s) for s in HUMAN} | {"artefacts": 0}
    read = read_hypnogram(out, HUMAN)
    assert read.to_epochs(1.0, 1800) == list(truth.hypnograms[0])
