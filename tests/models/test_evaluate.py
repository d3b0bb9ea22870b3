from pathlib import Path

import numpy as np
import pytest
import torch

from engines.bundle import open_bundle
from engines.torch import TorchEngine
from models.checkpoint import load_model
from models.dataset import simulate_subjects
from models.evaluate import evaluate, read_all, score
from models.sdreamer import SDreamer
from models.stages import UNSCORED
from models.subject import Subject
from tests.support.bundles import TINY, make_bundle, mouse_spec

N_EPOCHS = 150  # more than a batch


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle"), **TINY)


@pytest.fixture(scope="module")
def model(bundle: Path) -> SDreamer:
    return load_model(bundle)


@pytest.fixture(scope="module")
def epochs() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((N_EPOCHS, 2, 512)).astype(np.float32)


def test_reading_a_recording_gives_what_an_engine_gives_step_by_step(
    bundle: Path, model: SDreamer, epochs: np.ndarray
) -> None:
    valid = np.random.default_rng(1).random((N_EPOCHS, 2)) < 0.9
    found = read_all(model, epochs, valid)
    assert found.shape == (N_EPOCHS, 3, 16, 3)
    with TorchEngine(open_bundle(bundle), n_rows=1) as engine:
        for k in range(N_EPOCHS):
            step = engine.step(epochs[k : k + 1], np.array([0]), valid[k : k + 1], unimodal=True)
            readable = np.isfinite(step[0])
            np.testing.assert_allclose(found[k][readable], step[0][readable], atol=1e-5)


def test_scores_are_those_of_the_confusion_matrix() -> None:
    stages = np.array([0, 0, 0, 1, 1, 2, UNSCORED])
    probabilities = np.eye(3, dtype=np.float32)[[0, 0, 1, 1, 1, 0, 2]]
    scores = score(stages, probabilities)
    np.testing.assert_array_equal(scores.confusion, [[2, 1, 0], [0, 2, 0], [1, 0, 0]])
    assert scores.accuracy == pytest.approx(4 / 6)
    assert scores.kappa == pytest.approx((4 / 6 - 15 / 36) / (1 - 15 / 36))
    assert scores.macro_f1 == pytest.approx((2 / 3 + 4 / 5 + 0) / 3)


def _subject(epochs: np.ndarray, stages: np.ndarray) -> Subject:
    return Subject("x", epochs, stages, np.ones(epochs.shape[:2], bool))


def test_lag_reads_the_same_epochs_later(bundle: Path, epochs: np.ndarray) -> None:
    model = load_model(bundle)
    usual = np.log(read_all(model, epochs)[:, 0]).mean(axis=(0, 1))
    with torch.no_grad():  # else this random net always finds the same stage
        model.heads["mixed"][-1].bias.sub_(torch.from_numpy(usual))
    probabilities = read_all(model, epochs)
    live = probabilities[:, 0, -1].argmax(-1).astype(np.int64)
    late = probabilities[3:, 0, -4].argmax(-1).astype(np.int64)
    assert not np.array_equal(live[:-3], late)
    by_live = evaluate(model, [_subject(epochs, live)], (0, 3))
    by_late = evaluate(model, [_subject(epochs, np.append(late, [UNSCORED] * 3))], (0, 3))
    assert by_live["mixed", 0].accuracy == by_late["mixed", 3].accuracy == 1.0
    assert by_live["mixed", 3].confusion.sum() == N_EPOCHS - 3
    assert set(by_live) == {(p, lag) for p in ("mixed", "eeg", "emg") for lag in (0, 3)}


def test_shipped_bundle_stages_mice_it_never_saw() -> None:
    bundle = open_bundle()
    subjects = list(simulate_subjects(bundle.spec, [900_000, 900_002], 0.25))
    scores = evaluate(load_model(bundle.path), subjects)
    assert bundle.spec == mouse_spec(dropout=0.0)
    assert sum(file.stat().st_size for file in bundle.path.iterdir()) < 20e6
    assert scores["mixed", 0].kappa >= 0.85
    assert min(scores["eeg", 0].kappa, scores["emg", 0].kappa) > 0.5
