from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from models.base import Model
from models.errors import RecordingError, WeightsError
from models.grammar import equilibrium, grammar_of
from models.scored_epochs import ScoredEpochs
from models.training.dataset import iterate_windows
from models.training.devices import Device
from models.training.evaluate import read_all
from models.training.train import TrainConfig, learning_rate, paper_recipe, train
from models.weights import build_model
from tests.support.bundles import TINY, mouse_spec, random_model
from tests.support.training import Lines, easy_subject

SPEC = mouse_spec(4, **TINY)
CPU = Device(torch.device("cpu"), torch.float32)
CONFIG = TrainConfig(passes=3, batch_size=8, learning_rate=3e-3, seed=5, balance=False)


@pytest.fixture(scope="module")
def subjects() -> list[ScoredEpochs]:
    return [easy_subject(seed) for seed in range(4)]


def _same(a: Model, b: Model) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def test_training_learns_and_an_interrupted_run_ends_the_same(
    subjects: list[ScoredEpochs], tmp_path: Path
) -> None:
    whole, history = train(SPEC, subjects[:3], subjects[3:], CONFIG, CPU)
    assert [p.number for p in history] == [1, 2, 3]
    assert history[-1].loss < 0.7 * history[0].loss
    assert max(p.kappa["mixed"] for p in history) > 0.8
    assert not whole.training

    state = tmp_path / "run" / "state.pt"
    with pytest.raises(KeyboardInterrupt):
        train(SPEC, subjects[:3], subjects[3:], CONFIG, CPU, state=state, watcher=Lines(1))
    resumed = Lines()
    model, again = train(
        SPEC, subjects[:3], subjects[3:], CONFIG, CPU, state=state, watcher=resumed
    )
    assert again == history
    assert (resumed.before, resumed.passes) == (1, history[1:])
    assert _same(model, whole)
    assert [path.name for path in state.parent.iterdir()] == ["state.pt"]


@pytest.mark.parametrize("balance", [True, False])
def test_a_net_that_sees_nothing_says_how_often_mice_are_in_a_stage(balance: bool) -> None:
    """Or, unless stages are to weigh that, how often the subject was."""
    rng = np.random.default_rng(0)
    stages, usable = rng.integers(3, size=1200), np.ones((1200, 2), bool)
    silent = ScoredEpochs("x", np.zeros((1200, 2, 512), np.float32), stages, usable)
    config = msgspec.structs.replace(CONFIG, balance=balance)
    model, _ = train(SPEC, [silent], [silent], config, CPU)
    said = read_all(model, silent.epochs[:50], usable[:50])[:, 0, -1].mean(axis=0)
    expected = equilibrium(grammar_of("mouse", 1.0, 1.0)) if balance else np.full(3, 1 / 3)
    np.testing.assert_allclose(said, expected, atol=0.08)


def test_a_pass_that_was_told_is_kept(subjects: list[ScoredEpochs], tmp_path: Path) -> None:
    state, told = tmp_path / "state.pt", Lines(at_once=True)
    with pytest.raises(KeyboardInterrupt):
        train(SPEC, subjects[:1], subjects[3:], CONFIG, CPU, state=state, watcher=told)
    again = Lines()
    _, history = train(SPEC, subjects[:1], subjects[3:], CONFIG, CPU, state=state, watcher=again)
    assert (told.passes, again.before) == (history[:1], 1)


def test_best_pass_is_kept_and_no_progress_stops_the_run(subjects: list[ScoredEpochs]) -> None:
    config = msgspec.structs.replace(CONFIG, passes=9, patience=2, learning_rate=0.0)
    model, history = train(SPEC, subjects[:1], subjects[3:], config, CPU)
    assert len(history) == 3
    torch.manual_seed(config.seed)
    untrained = build_model(SPEC)
    assert _same(model, untrained)


def test_a_net_to_start_from_is_trained_on(subjects: list[ScoredEpochs]) -> None:
    config = msgspec.structs.replace(CONFIG, passes=1, learning_rate=0.0, seed=7)
    start = random_model(SPEC, seed=3)
    model, _ = train(SPEC, subjects[:1], subjects[3:], config, CPU, start=start)
    assert _same(model, start)


def test_a_share_of_the_weights_that_it_starts_from_is_kept(subjects: list[ScoredEpochs]) -> None:
    start = build_model(SPEC)
    config = msgspec.structs.replace(CONFIG, passes=1)
    found = []
    for keep in (0.0, 0.25):
        part = msgspec.structs.replace(config, keep=keep)
        model, history = train(SPEC, subjects[:3], subjects[3:], part, CPU, start=start)
        assert history[1].kappa["mixed"] > history[0].kappa["mixed"]
        found.append(model.state_dict())
    for name, before in start.state_dict().items():
        torch.testing.assert_close(found[1][name], 0.25 * before + 0.75 * found[0][name])


def test_what_learns_nothing_better_stays_as_it_was(subjects: list[ScoredEpochs]) -> None:
    start, _ = train(SPEC, subjects[:3], subjects[3:], CONFIG, CPU)
    config = msgspec.structs.replace(CONFIG, passes=9, patience=2, learning_rate=1.0)
    told = Lines()
    model, history = train(SPEC, subjects[:1], subjects[3:], config, CPU, start=start, watcher=told)
    assert [p.number for p in history] == [0, 1, 2]
    assert (history[0].loss, told.passes) == (None, history)
    assert all(p.kappa["mixed"] < history[0].kappa["mixed"] for p in history[1:])
    assert _same(model, start)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"spec": mouse_spec(5, **TINY)}, "found one that differs in its net and weights to start"),
        ({"batch_size": 4}, "in its settings; remove it"),
        ({"subject": 1, "batch_size": 4}, "in its settings and subjects; remove it"),
        ({"start": random_model(SPEC, seed=4)}, "in its weights to start from; remove it"),
    ],
)
def test_state_of_another_run_is_refused(
    subjects: list[ScoredEpochs], tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    state = tmp_path / "state.pt"
    config, start = msgspec.structs.replace(CONFIG, passes=1), random_model(SPEC, seed=3)
    train(SPEC, subjects[:1], subjects[3:], config, CPU, state=state, start=start)
    spec, who = changes.pop("spec", SPEC), changes.pop("subject", 0)
    start = changes.pop("start", start if spec == SPEC else random_model(spec, seed=3))
    config = msgspec.structs.replace(config, **changes)
    with pytest.raises(WeightsError, match=sentence) as refused:
        train(spec, subjects[who : who + 1], subjects[3:], config, CPU, state=state, start=start)
    assert len(str(refused.value)) < 200 + len(str(state))


@pytest.mark.parametrize("content", [b"", b"x" * 300, b"PK\x03\x04"])
def test_a_damaged_state_is_one_sentence(
    subjects: list[ScoredEpochs], tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(WeightsError, match=r"state\.pt: expected a run to go on with, found a dam"):
        train(SPEC, subjects[:1], subjects[3:], CONFIG, CPU, state=tmp_path / "state.pt")


def test_subjects_without_a_whole_window_are_refused(subjects: list[ScoredEpochs]) -> None:
    short = easy_subject(0, 8)
    short = ScoredEpochs("x", short.epochs[:7], short.stages[:7], short.usable[:7])
    with pytest.raises(RecordingError, match=r"of at least 8 epochs, .* found 7 in the longest"):
        train(SPEC, [short], subjects[3:], CONFIG, CPU)


def test_the_papers_recipe_draws_no_masks_and_half_a_cosine(subjects: list[ScoredEpochs]) -> None:
    (batch, *_) = iterate_windows(SPEC, subjects, 50, np.random.default_rng(0), masks=False)
    assert batch.mask.all()
    paper = paper_recipe(SPEC.model)
    assert learning_rate(0, 100, paper) == paper.learning_rate == 1e-3
    assert learning_rate(50, 100, paper) == pytest.approx(0.5e-3)


def test_learning_rate_rises_once_and_falls_to_zero_over_all_steps() -> None:
    config = TrainConfig(learning_rate=1.0, warmup=0.1)
    rates = np.array([learning_rate(step, 100, config) for step in range(100)])
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert (np.diff(rates[10:]) < 0).all()
    assert rates[-1] < 0.01
    assert rates.max() == 1.0
