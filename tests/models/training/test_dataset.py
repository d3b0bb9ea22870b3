import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.signal.conditioning import Conditioner
from models.signal.epochs import EpochBuffer
from models.subject import Subject
from models.training.dataset import (
    condition,
    draw_masks,
    epoch_starts,
    iterate_windows,
    n_windows,
    simulate_packed,
    simulate_subjects,
)
from tests.support.bundles import TINY, mouse_spec

SPEC = mouse_spec(4, **TINY)
RATES = [128.0, 250.0, 256.0, 500.0, 511.96, 512.0, 1000.0]


@pytest.mark.parametrize("sfreq", RATES)
def test_epochs_are_those_a_live_stream_gives(sfreq: float) -> None:
    rng = np.random.default_rng(0)
    data = 100.0 * rng.standard_normal((round(6.3 * sfreq), 4))
    live = Conditioner(SPEC, sfreq, 2)
    buffer = EpochBuffer(sfreq, live.n_in, SPEC.epoch_s, 4)
    expected, times = [], np.arange(len(data)) / sfreq
    for chunk in np.array_split(np.arange(len(data)), 37):
        filtered = live.filter(data[chunk])
        buffer.append(times[chunk], data[chunk], filtered, after_gap=False, arrived=0.0)
        expected += [
            live.normalise(live.resample(cut.filtered), np.ones((2, 2), bool))
            for cut in buffer.pop()
        ]
    found = condition(SPEC, data, sfreq)
    np.testing.assert_array_equal(found, np.stack(expected, axis=1))
    assert found.shape == (2, 6, 2, 512)


@given(sfreq=st.floats(100, 4000), n_samples=st.integers(0, 20_000))
def test_starts_follow_the_time_grid(sfreq: float, n_samples: int) -> None:
    n_in = round(sfreq)
    starts = epoch_starts(n_samples, sfreq, 1.0, n_in)
    expected = [math.ceil(k * sfreq - 0.382) for k in range(n_samples)]
    assert starts.tolist() == [i for i in expected if i + n_in <= n_samples]


def test_simulated_subjects_have_one_stage_per_epoch_and_are_reproducible() -> None:
    first, second = (list(simulate_subjects(SPEC, [3, 4], 0.05)) for _ in range(2))
    assert [s.name for s in first] == ["simulated-3", "simulated-4"]
    for a, b in zip(first, second, strict=True):
        assert a.epochs.shape == (180, 2, 512)
        assert a.stages.shape == (180,)
        np.testing.assert_array_equal(a.epochs, b.epochs)
    assert not np.array_equal(first[0].epochs, first[1].epochs)


def test_mice_simulated_two_at_once_are_the_same_in_half_the_memory() -> None:
    alone = list(simulate_subjects(SPEC, range(3), 0.02))
    packed = list(simulate_packed(SPEC, range(3), 0.02, processes=2))
    assert [s.name for s in packed] == [s.name for s in alone]
    for a, b in zip(alone, packed, strict=True):
        assert b.epochs.dtype == np.float16
        np.testing.assert_array_equal(a.epochs.astype(np.float16), b.epochs)
        np.testing.assert_array_equal(a.stages, b.stages)


def _numbered(n_epochs: int, name: str = "x") -> Subject:
    """A subject whose samples and stages are the number of their epoch."""
    numbers = np.arange(n_epochs)
    epochs = np.broadcast_to(numbers[:, None, None], (n_epochs, 2, 512)).astype(np.float32)
    return Subject(name, epochs, numbers, np.ones((n_epochs, 2), bool))


def test_windows_hold_consecutive_epochs_and_their_stages_once_a_pass() -> None:
    subjects = [_numbered(42), _numbered(3), _numbered(21)]
    batches = list(iterate_windows(SPEC, subjects, 4, np.random.default_rng(1)))
    stages = np.concatenate([batch.stages for batch in batches])
    assert len(stages) == n_windows(subjects, 4) == 9 + 0 + 4
    assert (np.diff(stages, axis=1) == 1).all()
    for batch in batches:
        np.testing.assert_array_equal(batch.epochs[:, :, 0, 0], batch.stages)
        assert batch.mask.shape == (len(batch.stages), 4, 2)
    counts = np.bincount(stages.ravel())
    assert counts.max() <= 2  # of two subjects


def test_windows_follow_from_the_seed_and_offsets_differ_between_passes() -> None:
    subjects = [_numbered(200)]
    starts = [
        np.concatenate([b.stages for b in iterate_windows(SPEC, subjects, 8, rng)])[:, 0]
        for rng in (np.random.default_rng([0, p]) for p in (0, 0, 1, 2, 3, 4))
    ]
    np.testing.assert_array_equal(starts[0], starts[1])
    assert len({int(s.min()) % 4 for s in starts}) > 1


def test_masks_show_what_a_live_stream_may_lack() -> None:
    mask = draw_masks(4000, 16, 2, np.random.default_rng(0))
    complete = mask.all(axis=(1, 2)).mean()
    no_emg = (~mask[..., 1].any(axis=1) & mask[..., 0].any(axis=1)).mean()
    either = mask.any(axis=-1)
    warming_up = (~either[:, :4].any(axis=1)).mean()
    assert 0.3 < complete < 0.7
    assert 0.02 < no_emg < 0.1
    assert 0.05 < warming_up < 0.2
    assert mask.mean() > 0.7
