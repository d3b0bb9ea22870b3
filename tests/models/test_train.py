from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from models import sdreamer
from models.errors import WeightsError
from models.sdreamer import SDreamer
from models.subject import Subject
from models.train import TrainConfig, learning_rate, split_seeds, train
from tests.support.bundles import TINY, mouse_spec

SPEC = mouse_spec(4, **TINY)
CONFIG = TrainConfig(passes=3, batch_size=8, learning_rate=3e-3, bfloat16=False, seed=5)


def _subject(seed: int, n_epochs: int = 240) -> Subject:
    """Bouts of three stages that differ in the EEG's frequency and the EMG's amplitude."""
    rng = np.random.default_rng(seed)
    stages = np.repeat(rng.permutation(np.arange(n_epochs // 8) % 3), 8)
    t = np.arange(512) / 512
    eeg = np.sin(2 * np.pi * (np.array([20.0, 2.0, 7.0])[stages, None] * t + rng.random()))
    emg = rng.standard_normal((n_epochs, 512)) * np.array([3.0, 1.0, 0.3])[stages, None]
    epochs = np.stack([eeg, emg], axis=1).astype(np.float32)
    return Subject(str(seed), epochs, stages, np.ones((n_epochs, 2), bool))


@pytest.fixture(scope="module")
def subjects() -> list[Subject]:
    return [_subject(seed) for seed in range(4)]


def _same(a: SDreamer, b: SDreamer) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def test_training_learns_and_an_interrupted_run_ends_the_same(
    subjects: list[Subject], tmp_path: Path
) -> None:
    lines: list[str] = []
    whole = train(SPEC, subjects[:3], subjects[3:], CONFIG, report=lines.append)
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in lines]
    kappas = [float(line.split("mixed ")[1].split(",")[0]) for line in lines]
    assert losses[-1] < 0.7 * losses[0]
    assert max(kappas) > 0.8
    assert not whole.training

    def interrupt(line: str) -> None:
        if line.startswith("pass 1"):
            raise KeyboardInterrupt

    state = tmp_path / "run" / "state.pt"
    with pytest.raises(KeyboardInterrupt):
        train(SPEC, subjects[:3], subjects[3:], CONFIG, state=state, report=interrupt)
    resumed: list[str] = []
    model = train(SPEC, subjects[:3], subjects[3:], CONFIG, state=state, report=resumed.append)
    assert resumed == lines[1:]
    assert _same(model, whole)
    assert [path.name for path in state.parent.iterdir()] == ["state.pt"]


def test_best_pass_is_kept_and_no_progress_stops_the_run(subjects: list[Subject]) -> None:
    lines: list[str] = []
    config = msgspec.structs.replace(CONFIG, passes=9, patience=2, learning_rate=0.0)
    model = train(SPEC, subjects[:1], subjects[3:], config, report=lines.append)
    assert len(lines) == 3
    torch.manual_seed(config.seed)
    untrained = sdreamer.build(SPEC)
    assert _same(model, untrained)


def test_state_of_another_net_is_refused(subjects: list[Subject], tmp_path: Path) -> None:
    state = tmp_path / "state.pt"
    config = msgspec.structs.replace(CONFIG, passes=1)
    train(SPEC, subjects[:1], subjects[3:], config, state=state)
    other = mouse_spec(5, **TINY)
    with pytest.raises(WeightsError, match="expected a run of the same net"):
        train(other, subjects[:1], subjects[3:], config, state=state)


def test_learning_rate_rises_once_and_falls_to_zero_over_all_steps() -> None:
    config = TrainConfig(learning_rate=1.0, warmup=0.1)
    rates = np.array([learning_rate(step, 100, config) for step in range(100)])
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert (np.diff(rates[10:]) < 0).all()
    assert rates[-1] < 0.01
    assert rates.max() == 1.0


def test_no_subject_is_in_two_parts() -> None:
    parts = split_seeds(20, seed=3)
    assert [len(part) for part in parts] == [16, 2, 2]
    assert len({seed for part in parts for seed in part}) == 20
    assert not {seed for part in split_seeds(20, seed=4) for seed in part} & set(parts[0])
