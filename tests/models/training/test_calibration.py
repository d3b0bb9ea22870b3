from pathlib import Path

import msgspec
import numpy as np
import onnxruntime as ort
import pytest
import torch

from models.base import Model
from models.graphs import step_inputs
from models.recordings.agreement import compare
from models.recordings.scores import score, tally
from models.scored_epochs import ScoredEpochs
from models.simulator.mouse.hypnogram import draw_hypnogram
from models.spec import ALL_FILE
from models.stages import MOUSE, UNSCORED
from models.training.calibration import (
    BETAS,
    _fit_beta,
    _fit_published,
    fit_grammar,
    fit_temperatures,
    fold_temperatures,
)
from models.training.evaluate import (
    encode_all,
    evidence,
    in_scored_epochs,
    published,
    read_windows,
)
from models.training.export import export_bundle
from tests.support.bundles import TINY, make_bundle, mouse_grammar, mouse_spec, random_model

SPEC = mouse_spec(5, **TINY)
TEMPERATURES = {"mixed": 2.5, "eeg": 0.5, "emg": 1.0}


def _inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    epochs = torch.randn(3, 2, 512, generator=generator)
    tokens = torch.nn.functional.normalize(torch.randn(3, 4, 2, 16, generator=generator), dim=-1)
    return epochs, tokens, torch.ones(3, 5, 2, dtype=torch.bool)


@torch.no_grad()
def _logits(model: Model) -> torch.Tensor:
    epochs, tokens, mask = _inputs()
    window = torch.cat([tokens, model.encode(epochs, mask[:, -1])[:, None]], 1)
    return torch.stack(model.read(window, mask), 1)


def test_exported_probabilities_are_those_of_logits_over_the_temperature(tmp_path: Path) -> None:
    model = random_model(SPEC, seed=1)
    expected = _logits(model) / torch.tensor([2.5, 0.5, 1.0])[:, None, None]
    fold_temperatures(model, TEMPERATURES)
    like = make_bundle(tmp_path, 5, **TINY)
    export_bundle(model, SPEC, tmp_path / "b", "b", {}, temperatures=TEMPERATURES, like=like)
    session = ort.InferenceSession(tmp_path / "b" / ALL_FILE, providers=["CPUExecutionProvider"])
    feeds = (*_inputs(), torch.arange(5))
    *pathways, _ = session.run(
        None, {name: x.numpy() for name, x in zip(step_inputs(SPEC), feeds, strict=True)}
    )
    np.testing.assert_allclose(np.stack(pathways, 1), expected.softmax(-1), atol=1e-5)


def _too_sure(model: Model) -> ScoredEpochs:
    """A subject whose stages are drawn from the net's own probabilities at temperature 3."""
    rng = np.random.default_rng(0)
    epochs = rng.standard_normal((3000, 2, 512)).astype(np.float32)
    usable = np.ones((3000, 2), bool)
    logits = np.concatenate(
        [x[:, :, -1] for x, _ in read_windows(model, encode_all(model, epochs, usable), usable)]
    )
    p = torch.from_numpy(logits[:, 0] / 3.0).softmax(-1).numpy()
    stages = (rng.random((3000, 1)) > p.cumsum(-1)).sum(-1).clip(0, 2)
    return ScoredEpochs("x", epochs, stages.astype(np.int64), usable)


def test_the_temperature_is_found_and_folded_away() -> None:
    model = random_model(SPEC, seed=1)
    fold_temperatures(model, dict.fromkeys(SPEC.pathways, 0.2))  # so that it tells stages apart
    subject = _too_sure(model)
    found = fit_temperatures(model, [subject], masks=False, balance=False)
    assert found["mixed"] == pytest.approx(3.0, rel=0.1)
    fold_temperatures(model, found)
    again = fit_temperatures(model, [subject], masks=False, balance=False)
    assert again["mixed"] == pytest.approx(1.0, abs=1e-3)


def test_stages_weigh_as_in_training() -> None:
    """What is likely for a subject of other shares is not for mice."""
    model = random_model(SPEC, seed=1)
    fold_temperatures(model, dict.fromkeys(SPEC.pathways, 0.2))
    subject = _too_sure(model)
    as_it_is, as_mice = (
        fit_temperatures(model, [subject], masks=False, balance=b)["mixed"] for b in (False, True)
    )
    assert as_mice != pytest.approx(as_it_is, rel=1e-3)


def test_every_third_epoch_tells_nearly_the_same_temperature() -> None:
    model = random_model(SPEC, seed=1)
    fold_temperatures(model, dict.fromkeys(SPEC.pathways, 0.2))
    subject = _too_sure(model)
    found = fit_temperatures(model, [subject], masks=False, balance=False, every=3)
    assert found["mixed"] == pytest.approx(3.0, rel=0.15)
    thinned = ScoredEpochs("x", subject.epochs, subject.stages.copy(), subject.usable)
    thinned.stages[np.arange(3000) % 3 != 0] = UNSCORED
    assert found == pytest.approx(fit_temperatures(model, [thinned], masks=False, balance=False))


def test_without_scored_epochs_nothing_is_changed() -> None:
    model = random_model(SPEC, seed=1)
    epochs = np.zeros((20, 2, 512), np.float32)
    subject = ScoredEpochs("x", epochs, np.full(20, UNSCORED), np.ones((20, 2), bool))
    assert fit_temperatures(model, [subject]) == dict.fromkeys(SPEC.pathways, 1.0)


def _noisy(spread: float) -> tuple[ScoredEpochs, np.ndarray]:
    """A simulated night of 1 s epochs scored in 4 s, and what a poor net reads of its windows."""
    rng = np.random.default_rng(2)
    truth = np.array([MOUSE.index(s) for s in draw_hypnogram(rng, 2 * 3600, every_stage=True)])
    logits = spread * rng.standard_normal((len(truth), 3)) + 2.0 * np.eye(3)[truth]
    said = torch.from_numpy(logits).softmax(-1).numpy().astype(np.float32)
    before = np.tile(said[:1], (3, 1))
    windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([before, said]), 4, axis=0)
    read = np.repeat(windows.transpose(0, 2, 1)[:, None], 3, axis=1)
    stages = np.repeat(truth[::4], 4)[: len(truth)].astype(np.int64)
    usable = np.ones((len(truth), 2), bool)
    return ScoredEpochs("x", np.empty((len(truth), 0)), stages, usable, scored_in=4.0), read


@pytest.mark.parametrize("lag", [0, 3])
def test_the_power_is_the_least_of_those_that_stage_as_well_as_any(lag: int) -> None:
    subject, read = _noisy(2.0)
    found = _fit_beta(SPEC, [subject], [read], lag, mouse_grammar())
    merits = {}
    for beta in BETAS:
        said = evidence(SPEC, read, subject.usable, lag)[:, 0]
        answers = published(SPEC, said, lag, mouse_grammar(beta, beta))
        n = len(answers) // 4 * 4
        means = answers[:n].reshape(-1, 4, 3).mean(axis=1)
        stages = [MOUSE[s] for s in means.argmax(axis=1)]
        agreed = compare([MOUSE[s] for s in subject.stages[:n:4]], stages, MOUSE)
        merits[beta] = (agreed.kappa + agreed.f1["REM"]) / 2
    assert found == min(b for b in BETAS if merits[b] >= max(merits.values()) - 0.002)
    assert 0.05 < found < 1.0
    assert merits[found] > merits[1.0] + 0.01


@pytest.mark.parametrize("lag", [0, 3])
def test_what_is_published_is_as_sure_as_it_is_right(lag: int) -> None:
    subject, read = _noisy(2.0)
    read = np.repeat(read, 4, axis=0)  # four epochs say the same, as windows that overlap do
    stages, usable = np.repeat(subject.stages, 4), np.ones((len(read), 2), bool)
    subject = ScoredEpochs("x", np.empty((len(read), 0)), stages, usable)
    grammar = mouse_grammar(1.0, 1.0)
    temperature = _fit_published(SPEC, [subject], [read], lag, grammar)
    assert temperature > 1.1
    tempered = msgspec.structs.replace(
        grammar, temperature_live=temperature, temperature_final=temperature
    )
    said = evidence(SPEC, read, subject.usable, lag)[:, 0]
    before, after = (
        score(tally(*in_scored_epochs(SPEC, subject, published(SPEC, said, lag, g))), MOUSE)
        for g in (grammar, tempered)
    )
    assert after.ece is not None
    assert before.ece is not None
    assert after.ece < 0.5 * before.ece
    assert after.ece < 0.03


def test_a_grammar_is_for_mice_and_without_scored_epochs_takes_the_evidence_whole() -> None:
    model = random_model(SPEC, seed=1)
    epochs = np.zeros((20, 2, 512), np.float32)
    subject = ScoredEpochs("x", epochs, np.full(20, UNSCORED), np.ones((20, 2), bool))
    grammar = fit_grammar(model, [subject], 3)
    assert grammar == mouse_grammar(1.0, 1.0)
    model.spec = msgspec.structs.replace(SPEC, species="human")
    assert fit_grammar(model, [subject], 3) is None
