"""`hypnod train --leave-one-dataset-out`: a folder for each dataset, in layouts of their own."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from engines.bundle import open_bundle
from models.errors import RecordingError
from tests.support.bundles import human_spec, make_bundle_of
from tests.support.recordings.psg import epochs, signal_of, write_psg, write_stages
from tests.support.recordings.wfdb import write_annotations, write_record
from tests.support.training import train_options
from tools.cli import app
from tools.train.report import print_report
from tools.train.training import run

pytestmark = pytest.mark.timeout(600)  # four trainings, and an export where none is kept
STAGES = ["W", "N1", "N2", "N3", "R", "N2"] * 2
READING = "mixed live"


def write_datasets(folder: Path) -> list[Path]:
    """Write two people of HMC, two of P2018 and two of a lab."""
    for i in (1, 2):
        write_psg(folder / "hmc" / f"SN00{i}.edf", {"EEG F4-M1": 128, "EOG E1-M2": 128}, STAGES, i)
        write_stages(folder / "hmc" / f"SN00{i}_sleepscoring.edf", epochs(STAGES))
        header = folder / "p2018" / f"tr03-000{i}" / f"tr03-000{i}.hea"
        labels = ("C3-M2", "E1-M2")
        data = {x: signal_of(STAGES, 200, 10 * i + k) for k, x in enumerate(labels)}
        write_record(header, data)
        texts = [(6000 * k, stage) for k, stage in enumerate(STAGES)]
        write_annotations(header.with_suffix(".arousal"), texts)
        own = folder / "ours" / f"p{i}.edf"
        write_psg(own, {"C4": 100, "M1": 100, "LOC": 50}, STAGES, 20 + i)
        own.with_suffix(".csv").write_text(
            "onset,duration,stage\n" + "".join(f"{a},{b},{c}\n" for a, b, c in epochs(STAGES))
        )
    return [folder / name for name in ("hmc", "p2018", "ours")]


@pytest.mark.training
def test_each_dataset_is_tested_by_a_net_that_saw_nobody_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = make_bundle_of(human_spec(epoch_s=2.0), tmp_path / "start")
    dirs = tuple(write_datasets(tmp_path))
    options = train_options(dirs[0], start, tmp_path / "out", dirs=dirs, leave_out="dataset")
    report = run(msgspec.structs.replace(options, passes=1), Console(quiet=True))
    assert report is not None
    assert sorted(report.datasets) == ["hmc", "ours", "p2018"]
    assert {name: each[READING].n_epochs for name, each in report.datasets.items()} == {
        name: 2 * len(STAGES)
        for name in report.datasets  # of 30 s
    }
    assert sorted(report.subjects) == [
        *("hmc/SN001", "hmc/SN002", "ours/p1", "ours/p2", "p2018/tr03-0001", "p2018/tr03-0002")
    ]
    channels = {source.subject: source.channels for source in report.sources}
    assert channels["ours/p1"] == {"eeg": "C4-M1", "eog": "LOC-M1"}
    assert channels["p2018/tr03-0001"] == {"eeg": "C3-M2", "eog": "E1-M2"}
    assert "each with a net that never saw anybody of its dataset" in report.tested
    bundle = open_bundle(tmp_path / "out", "human")
    assert len(bundle.manifest.learnt_from) == 6
    print_report(report)
    rows = capsys.readouterr().out.splitlines()
    mean = np.mean([each[READING].accuracy for each in report.datasets.values()])
    assert any("mean of the datasets" in row and f"{mean:.3f}" in row for row in rows)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a", "--leave-one-dataset-out"], "expected a folder for each of two datasets or more"),
        (["a", "b/a", "--leave-one-dataset-out"], "of different names, found a, b/a"),
        (["a", "file", "--leave-one-dataset-out"], "expected a folder for each"),
        (["a", "b", "--leave-one-dataset-out", "--leave-one-subject-out"], "found both"),
        (["a", "b", "--simulated", "3", "--leave-one-dataset-out"], "out without --simulated"),
    ],
)
def test_what_are_no_datasets_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b/a"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, ["train", *arguments, "--out", "x"])
    assert isinstance(result.exception, RecordingError)
    assert sentence in str(result.exception)
