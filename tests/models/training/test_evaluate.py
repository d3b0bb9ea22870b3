from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score

from daemon.config import StagingConfig
from daemon.stager import Stager
from engines.bundle import open_bundle
from engines.onnxruntime import OnnxRuntimeEngine
from engines.torch import TorchEngine
from models.base import Model
from models.recordings.lab import read_one
from models.scored_epochs import ScoredEpochs
from models.sdreamer.net import given_levels, new_spec
from models.signal.pipeline import EpochBatch
from models.signal.relative import relative_of
from models.signal.state import Adaptation, PipelineState
from models.spec import ModelSpec
from models.stages import UNSCORED
from models.training.evaluate import (
    as_answered,
    evaluate,
    evidence,
    published,
    read_all,
    tally,
)
from models.training.simulated import FIRST_UNSEEN_SEED, simulate_subject
from models.weights import load_model
from tests.support.bundles import TINY, make_bundle, mouse_grammar, mouse_spec

N_EPOCHS = 150  # more than a batch
SEEDS = (FIRST_UNSEEN_SEED, FIRST_UNSEEN_SEED + 1, FIRST_UNSEEN_SEED + 2)
SHIPPED = mouse_spec()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle"), **TINY)


@pytest.fixture(scope="module")
def model(bundle: Path) -> Model:
    return load_model(bundle)


@pytest.fixture(scope="module")
def epochs() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((N_EPOCHS, 2, 512)).astype(np.float32)


def test_reading_a_recording_gives_what_an_engine_gives_step_by_step(
    bundle: Path, model: Model, epochs: np.ndarray
) -> None:
    valid = np.random.default_rng(1).random((N_EPOCHS, 2)) < 0.9
    found = read_all(model, epochs, valid)
    assert found.shape == (N_EPOCHS, 3, 16, 3)
    with TorchEngine(open_bundle(bundle), n_rows=1) as engine:
        for k in range(N_EPOCHS):
            step = engine.step(epochs[k : k + 1], np.array([0]), valid[k : k + 1], unimodal=True)
            readable = np.isfinite(step[0])
            np.testing.assert_allclose(found[k][readable], step[0][readable], atol=1e-5)


def test_answers_are_those_of_the_pathway_that_the_daemon_would_read() -> None:
    probabilities = np.zeros((4, 3, 3), np.float32)
    probabilities[:, 0, 0] = probabilities[:, 1, 1] = probabilities[:, 2, 2] = 1
    usable = np.array([[True, True], [True, False], [False, True], [False, False]])
    answers = as_answered(SHIPPED, probabilities, usable)
    assert answers[:3, 0].argmax(-1).tolist() == [0, 1, 2]
    assert np.isnan(answers[3]).all()
    assert np.isnan(answers[:, 1:]).all(-1).tolist() == (~usable).tolist()


def test_what_is_not_usable_is_counted_apart(model: Model, epochs: np.ndarray) -> None:
    usable = np.ones((N_EPOCHS, 2), bool)
    usable[10:20, 1] = usable[15:20, 0] = False
    subject = ScoredEpochs("x", epochs, np.zeros(N_EPOCHS, np.int64), usable)
    scores = evaluate(model, [subject, subject], (0, 3))
    assert scores["mixed", 0].n_unscorable == 2 * 5
    assert scores["emg", 0].n_unscorable == scores["emg", 3].n_unscorable == 2 * 10
    assert scores["mixed", 3].n_epochs == 2 * (N_EPOCHS - 5 - 3)
    rarely = evaluate(model, [subject], (0, 3), every=4)
    assert rarely["mixed", 0].n_epochs == 38 - 1
    assert rarely["mixed", 3].n_epochs == 37 - 1


def test_with_a_grammar_the_stages_counted_are_those_of_the_stager(
    bundle: Path, model: Model, epochs: np.ndarray
) -> None:
    usable = np.random.default_rng(1).random((N_EPOCHS, 2)) < 0.9
    grammar, lag = mouse_grammar(), 3
    with TorchEngine(open_bundle(bundle), n_rows=1) as engine:
        stager = Stager(engine, {"a": ["m1"]}, StagingConfig(final_lag=lag), grammar)
        estimates = stager.stage(
            [_batch(k, *each) for k, each in enumerate(zip(epochs, usable, strict=True))]
        )
    read = read_all(model, epochs, usable)
    for kind, at in (("live", 0), ("final", lag)):
        answers = published(SHIPPED, evidence(SHIPPED, read, usable, at), at, grammar)[:, 0]
        staged = [e.probabilities for e in estimates if e.kind == kind]
        expected = [np.full(3, np.nan) if found is None else found for found in staged]
        np.testing.assert_allclose(answers, expected, atol=1e-5)
    truth = np.nan_to_num(answers).argmax(-1).astype(np.int64)
    subject = ScoredEpochs("x", epochs, np.append(truth, [UNSCORED] * lag), usable)
    found = tally(model, subject, (0, lag), grammar=grammar)["mixed", lag]
    assert found.n_unscorable == np.count_nonzero(~usable[:-lag].any(axis=1))
    assert found.confusion.trace() == found.confusion.sum() > 100


def _batch(number: int, epoch: np.ndarray, usable: np.ndarray) -> EpochBatch:
    nothing = np.zeros((1, 2))
    learnt = Adaptation(*(nothing for _ in Adaptation.__slots__))
    after = PipelineState(0.0, number + 1, number + 1.0, 0.0, 0.0, learnt, {})
    reasons = np.where(usable, "ok", "flat")[None]
    epochs, drift = epoch[None], np.full((1, 2), np.nan)
    return EpochBatch(
        *("a", number, number, epochs, usable[None], reasons, None, after, drift, nothing, epochs),
        *(nothing, np.full(1, np.nan), np.zeros(1), nothing),
    )


def test_an_experts_longer_epochs_are_counted_once_each(model: Model, epochs: np.ndarray) -> None:
    usable = np.ones((N_EPOCHS, 2), bool)
    usable[4:7] = usable[13:15] = False  # most of an epoch of 4, and half of another
    stages = np.repeat(np.arange(38) % 3, 4)[:N_EPOCHS].astype(np.int64)
    stages[20:24] = UNSCORED
    subject = ScoredEpochs("x", epochs, stages, usable, scored_in=4.0)
    found = tally(model, subject, (0, 3), as_scored=True)
    live, final = found["mixed", 0], found["mixed", 3]
    assert (live.n_unscored, live.n_unscorable) == (1, 1)
    assert live.confusion.sum(axis=1).tolist() == [13, 11, 11]
    assert final.confusion.sum() == live.confusion.sum() - 1  # its last three are not read again
    answers = as_answered(SHIPPED, read_all(model, epochs, usable)[:, :, -1], usable)
    assert live.bins[:, 1].sum() == pytest.approx(
        sum(
            np.nanmean(answers[k : k + 4, 0], axis=0).max()
            for k in range(0, N_EPOCHS - 3, 4)
            if k not in (4, 20)
        ),
        rel=1e-5,
    )


def _subject(epochs: np.ndarray, stages: np.ndarray) -> ScoredEpochs:
    return ScoredEpochs("x", epochs, stages, np.ones(epochs.shape[:2], bool))


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
    assert by_live["mixed", 3].n_epochs == N_EPOCHS - 3
    assert set(by_live) == {(p, lag) for p in ("mixed", "eeg", "emg") for lag in (0, 3)}


@pytest.mark.xfail(
    reason="in ten minutes of simulated mice today's bundle has κ 0.45: docs/accuracy.md",
    strict=True,
)
def test_shipped_bundle_stages_simulated_mice_it_never_saw() -> None:
    bundle = open_bundle()
    subjects = [_unseen(seed, bundle.spec) for seed in SEEDS]
    stages = np.stack([subject.stages for subject in subjects])
    epochs, usable = (
        np.stack([getattr(subject, name) for subject in subjects], axis=1)
        for name in ("epochs", "usable")
    )
    with OnnxRuntimeEngine(bundle, n_rows=len(SEEDS), n_read=1) as engine:
        rows = np.arange(len(SEEDS))
        answers = [
            engine.step(*each, unimodal=True)[:, :, -1].argmax(-1)
            for each in zip(epochs, [rows] * len(epochs), usable, strict=True)
        ]
    found = np.stack(answers, axis=-1)  # (subjects, pathways, epochs)
    kappas = [cohen_kappa_score(stages.ravel(), found[:, i].ravel()) for i in range(3)]
    assert kappas[0] >= 0.8
    assert min(kappas[1:]) > 0.4


def test_shipped_bundle_is_small_and_given_levels_of_the_packaged_population() -> None:
    bundle = open_bundle()
    assert bundle.spec == given_levels(new_spec(dropout=0.0), relative_of("mouse"))
    assert sum(file.stat().st_size for file in bundle.path.iterdir()) < 20e6


def _unseen(seed: int, spec: ModelSpec) -> ScoredEpochs:
    """Ten minutes of a simulated mouse with every stage in them."""
    mouse = simulate_subject("mouse", seed, 1 / 6, 512.0, artefacts_per_hour=0.0, every_stage=True)
    return read_one(mouse, spec)
