"""Training on a GPU: each precision learns, goes on after an interruption, and answers as the
processor does."""

import numpy as np
import pytest
import torch

from models.training.calibration import fit_temperatures, fold_temperatures
from models.training.devices import open_device
from models.training.evaluate import read_all
from models.training.train import TrainConfig, train
from tests.support.bundles import TINY, mouse_spec
from tests.support.training import Lines, easy_subject

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA GPU"),
]

SPEC = mouse_spec(4, **TINY)
CONFIG = TrainConfig(passes=3, batch_size=8, learning_rate=3e-3, seed=5)


@pytest.fixture(scope="module")
def subjects():
    return [easy_subject(seed) for seed in range(4)]


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_training_learns_and_goes_on(subjects, precision, tmp_path):
    with open_device("cuda", precision) as device:
        _, history = train(SPEC, subjects[:3], subjects[3:], CONFIG, device)
        assert history[-1].loss < 0.7 * history[0].loss
        assert max(p.kappa["mixed"] for p in history) > 0.8

        state = tmp_path / "state.pt"
        with pytest.raises(KeyboardInterrupt):
            train(SPEC, subjects[:3], subjects[3:], CONFIG, device, state=state, watcher=Lines(1))
        resumed = Lines()
        model, again = train(
            SPEC, subjects[:3], subjects[3:], CONFIG, device, state=state, watcher=resumed
        )
        assert resumed.before == 1
        # a GPU adds up in another order each time
        assert [p.loss for p in again] == pytest.approx([p.loss for p in history], rel=0.1)
        assert next(model.parameters()).is_cuda
        fold_temperatures(model, fit_temperatures(model, subjects[3:]))


def test_what_was_trained_on_a_gpu_answers_the_same_on_the_processor(subjects):
    with open_device("cuda", "bfloat16") as device:
        model, _ = train(SPEC, subjects[:3], subjects[3:], CONFIG, device)
    there = read_all(model, subjects[3].epochs)
    here = read_all(model.cpu(), subjects[3].epochs)
    np.testing.assert_allclose(here, there, atol=2e-3)
