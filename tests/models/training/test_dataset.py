import numpy as np

from models.scored_epochs import ScoredEpochs
from models.training.dataset import draw_colours, draw_masks, iterate_windows, n_windows
from tests.support.bundles import TINY, mouse_spec
from tests.support.signals import LEVELS

SPEC = mouse_spec(4, **TINY)


def _numbered(n_epochs: int, name: str = "x") -> ScoredEpochs:
    """A subject whose samples and stages are the number of their epoch."""
    numbers = np.arange(n_epochs)
    epochs = np.broadcast_to(numbers[:, None, None], (n_epochs, 2, 512)).astype(np.float32)
    return ScoredEpochs(name, epochs, numbers, np.ones((n_epochs, 2), bool))


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


def test_colours_shift_what_is_relative_to_the_population_and_nothing_else() -> None:
    relative, K = LEVELS.relative, len(LEVELS.relative.recent_s) + 1
    drawn = draw_colours(LEVELS, 5000, np.random.default_rng(0)).reshape(5000, 2, K, -1)
    n, n_bands = relative.n_own[0], relative.n_bands[0]
    shares = drawn[:, 0, :, n : n + n_bands]
    np.testing.assert_array_equal(shares, np.repeat(shares[:, :1], K, axis=1))
    assert not drawn[:, 0, :, :n].any()
    assert not drawn[:, 1].any()
    inner = shares[:, 0, n_bands // 2]
    assert abs(inner.std() - 1) < 0.1
    neighbours = np.corrcoef(inner, shares[:, 0, n_bands // 2 + 1])[0, 1]
    far = np.corrcoef(shares[:, 0, 0], shares[:, 0, -1])[0, 1]
    assert neighbours > 0.8 > 0.2 > far


def test_a_subject_has_one_colour_a_pass() -> None:
    size = (40, 2, LEVELS.n_inputs)
    stages, usable = np.arange(40), np.ones((40, 2), bool)
    subject = ScoredEpochs("x", np.zeros(size, np.float32), stages, usable)
    rng = np.random.default_rng(0)
    passes = [
        np.concatenate([b.epochs for b in iterate_windows(LEVELS, [subject], 2, rng)])
        for _ in range(2)
    ]
    for found in passes:
        np.testing.assert_array_equal(found, np.broadcast_to(found[:1, :1], found.shape))
        assert found.any()
    assert not np.array_equal(passes[0][0, 0], passes[1][0, 0])
