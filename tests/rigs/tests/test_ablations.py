import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import RecordingError
from models.scored_epochs import ScoredEpochs
from models.sdreamer.net import new_spec
from models.weights import build_model
from tests.rigs.ablations import VARIANTS, Budget, _add_noise, load_table, main
from tests.support.paths import ROOT

TINY_BUDGET = {"training": 1, "validation": 1, "test": 1, "hours": 0.04}


def _run(out: Path, only: str, **more: Any) -> None:
    main(out, **(TINY_BUDGET | {"passes": 1, "seed": 0} | more), only=[only])


@pytest.mark.training
def test_a_variant_is_trained_once_and_told_in_both_files(tmp_path: Path, scheduler: str) -> None:
    out = tmp_path / "ablations"
    options = [f"--{name}={value}" for name, value in TINY_BUDGET.items()]
    options += [f"--out={out}", "--passes=1", "--only=patch-64"]
    subprocess.run(  # as `make ablations` does; without an end where workers cannot be told
        [sys.executable, "-m", "tests.rigs.ablations", *options], check=True, cwd=ROOT, timeout=300
    )
    first = out.with_suffix(".json").read_bytes()
    _run(out, "patch-64")
    assert out.with_suffix(".json").read_bytes() == first
    _run(out, "epoch-only", scheduler=scheduler)
    text = out.with_suffix(".md").read_text()
    assert text.index(VARIANTS["baseline"].title) < text.index("| variant |")  # as not made yet
    assert text.index(VARIANTS["epoch-only"].title) < text.index(VARIANTS["patch-64"].title)
    with pytest.raises(RecordingError, match=r"expected a table of .*seed=1"):
        _run(out, "patch-64", seed=1)


def test_every_variant_is_a_net_that_differs_from_the_baseline() -> None:
    base = VARIANTS["baseline"]
    for name, variant in VARIANTS.items():
        build_model(new_spec(variant.n_context, **variant.architecture))
        changes = sum(
            getattr(variant, field) != getattr(base, field)
            for field in ("architecture", "loss", "n_context", "whole")
        )
        assert changes == (name != "baseline"), name


def test_noise_is_as_strong_as_said_and_in_one_modality() -> None:
    epochs = np.ones((50, 2, 512), np.float32)
    subject = ScoredEpochs("x", epochs, np.zeros(50, np.int64), np.ones((50, 2), bool))
    noisy = _add_noise(subject, 1, 2.0, clip=10.0)
    assert (noisy.epochs[:, 0] == 1).all()
    assert noisy.epochs[:, 1].std() == pytest.approx(2.0, rel=0.05)
    assert (epochs == 1).all()


def test_no_table_yet_is_an_empty_one(tmp_path: Path) -> None:
    assert load_table(tmp_path / "none.json", Budget(), "cpu").results == {}
