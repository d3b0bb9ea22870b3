import numpy as np

from models.recordings.lab import read_one
from models.spec import Band, ModelSpec
from models.stages import HUMAN, UNSCORED
from models.training.simulated import draw_sfreq, simulate_many, simulate_subject
from tests.support.bundles import TINY, mouse_spec

SPEC = mouse_spec(4, **TINY)


def test_simulated_mice_have_one_stage_per_epoch_and_are_reproducible() -> None:
    first, second = (list(simulate_many(SPEC, [3, 4], 0.05)) for _ in range(2))
    assert [s.name for s in first] == ["simulated-3", "simulated-4"]
    for a, b in zip(first, second, strict=True):
        assert a.epochs.shape == (180, 2, 512)
        assert a.stages.shape == (180,)
        assert (a.stages != UNSCORED).all()
        np.testing.assert_array_equal(a.epochs, b.epochs)
    assert not np.array_equal(first[0].epochs, first[1].epochs)


def test_mice_simulated_two_at_once_are_the_same_in_half_the_memory() -> None:
    packed = list(simulate_many(SPEC, range(3), 0.02, processes=2))
    for seed, b in enumerate(packed):
        a = read_one(simulate_subject("mouse", seed, 0.02, draw_sfreq("mouse", seed)), SPEC)
        assert (a.name, b.epochs.dtype) == (b.name, np.float16)
        np.testing.assert_array_equal(a.epochs.astype(np.float16), b.epochs)
        np.testing.assert_array_equal(a.stages, b.stages)
        np.testing.assert_array_equal(a.usable, b.usable)


def test_an_artefact_that_the_checks_find_is_masked_and_leaves_the_amplitude_alone() -> None:
    found = read_one(simulate_subject("mouse", 5, 0.75, 1000.0, every_stage=True), SPEC)
    assert (~found.usable).sum(axis=0).tolist() == [8, 0]  # one, and while the filter rings of it


def test_wide_mice_are_others_at_the_same_rates() -> None:
    usual, wide = (list(simulate_many(SPEC, [3, 4], 0.05, wide=w)) for w in (False, True))
    for a, b in zip(usual, wide, strict=True):
        assert (a.name, a.epochs.shape) == (b.name, b.epochs.shape)
        assert np.isfinite(b.epochs).all()
        assert not np.array_equal(a.epochs, b.epochs)


def test_no_wide_mouse_is_so_faint_that_its_unit_is_doubted() -> None:
    """Compressed or averaged, the EMG of these two was a fifth of a µV: none could be read."""
    mice = list(simulate_many(SPEC, (124, 136), 0.02, wide=True))
    assert all(mouse.usable.mean() > 0.9 for mouse in mice)


def test_people_are_simulated_for_a_spec_of_people_alike() -> None:
    spec = ModelSpec(
        model="sleepdifformer",
        species="human",
        stages=HUMAN,
        modalities=("eeg", "eog"),
        pathways=("mixed", "eeg"),
        bands=(Band(0.3, 35.0), Band(0.3, 35.0)),
        sfreq=100.0,
        epoch_s=30.0,
        n_context=20,
        token_shape=(16,),
    )
    (found,) = simulate_many(spec, [5], 1.5)
    assert found.epochs.shape == (180, 2, 3000)
    assert set(found.stages.tolist()) == set(range(len(HUMAN)))
    assert found.usable.mean() > 0.8
