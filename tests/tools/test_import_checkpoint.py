"""`hypnod import` as a person runs it; what it makes is in tests/models/test_golden.py."""

import subprocess
from pathlib import Path

import torch

from tests.rigs import forked


def import_with(*options: str | Path) -> subprocess.CompletedProcess[str]:
    return forked.run("import", *options)


def test_what_is_no_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.ones(2, 2)}, tmp_path / "x.pth")
    done = import_with(tmp_path / "x.pth", "--out", tmp_path / "lab")
    assert done.returncode == 4
    assert done.stderr.strip().count("\n") == 0
    assert f"{tmp_path / 'x.pth'}: expected the names of the weights of one of" in done.stderr
    assert not (tmp_path / "lab").exists()


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "night.edf").touch()
    done = import_with(tmp_path / "x.pth", "--out", tmp_path)
    assert done.returncode == 2
    assert "expected a new folder" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["night.edf"]
