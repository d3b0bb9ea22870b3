"""Training in several processes; there is no GPU where this runs, so they are processors'."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.errors import SpecError
from models.training.devices import Device, open_device
from models.weights import build_model
from tests.support import two_processes
from tests.support.paths import ROOT


@pytest.mark.timeout(300)  # three processes load torch
@pytest.mark.training
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", two_processes.__file__, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (first, kappa), (second, of_second) = (
        torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)
    )
    assert kappa == of_second
    assert all(torch.equal(first[name], second[name]) for name in first)
    device = Device(torch.device("cpu"), torch.float32)
    alone, history = two_processes.run(device)
    assert kappa == pytest.approx([each.kappa["mixed"] for each in history], abs=0.02)
    for name, weights in alone.state_dict().items():
        torch.testing.assert_close(first[name], weights, atol=1e-4, rtol=0, msg=name)
    torch.manual_seed(two_processes.CONFIG.seed)
    untrained = build_model(two_processes.SPEC).state_dict()
    assert not torch.allclose(
        first["sequence.pool.weight"], untrained["sequence.pool.weight"], atol=1e-3
    )
    assert (tmp_path / "state.pt").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused_and_not_needed() -> None:
    refused = pytest.raises(SpecError, match="expected a CUDA GPU and a torch for it, found none")
    with refused, open_device("cuda"):
        pass
    with open_device("auto", "float32") as device:
        assert str(device) == "cpu, float32"
